"""How much of each cell of a grid the defects of a picture cover."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from data_loco import Sample
from data_loco.loading import to_size


def covered(samples: Sequence[Sample], grid: tuple[int, int], share: float) -> Tensor:
    """Return bool `[N, h, w]`: the cells of a grid (h, w) of which at least `share`, in (0, 1], is defective."""
    found = []
    for sample in samples:
        union = np.zeros(sample.shape(), np.uint8)
        for defect in sample.defects():
            union[defect.mask] = 255
        found.append(torch.from_numpy(to_size(union, grid) >= round(share * 255)))
    return torch.stack(found)
