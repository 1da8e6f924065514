"""Pictures as OpenCV takes them."""

import cv2
import numpy as np
from torch import Tensor


def eight_bit(images: Tensor) -> np.ndarray:
    """RGB uint8 [N, H, W, 3] of pictures `[N, 3, H, W]` in [0, 1].

    >>> import torch
    >>> eight_bit(torch.full((1, 3, 2, 2), 0.5))[0, 0, 0].tolist()
    [128, 128, 128]
    """
    levels = (images.cpu().float() * 255).numpy()
    return np.stack([cv2.merge([cv2.convertScaleAbs(plane) for plane in picture]) for picture in levels])
