"""Pictures as OpenCV takes them."""

import numpy as np
import torch
from torch import Tensor


def eight_bit(images: Tensor) -> np.ndarray:
    """RGB uint8 [N, H, W, 3] of pictures `[N, 3, H, W]` in [0, 1].

    >>> eight_bit(torch.full((1, 3, 2, 2), 0.5))[0, 0, 0].tolist()
    [128, 128, 128]
    """
    levels = (images.cpu().float() * 255).round_().to(torch.uint8)
    return levels.permute(0, 2, 3, 1).contiguous().numpy()
