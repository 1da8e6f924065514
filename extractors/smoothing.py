"""From scores per cell to a smooth map of the picture's size.

Bilinear upsampling and Gaussian smoothing are both linear and act along each axis by itself: together they are one
small matrix per axis, so a 32 x 32 grid becomes a smoothed 256 x 256 map in two matrix products.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from torch import Tensor
from torch.nn import functional as F

PUBLISHED_SIGMA = 4.0
"""Standard deviation in pixels used by PatchCore, SimpleNet and RD4AD."""


def to_picture(cells: Tensor, size: Sequence[int], sigma: float = PUBLISHED_SIGMA) -> Tensor:
    """`[N, h, w]` -> `[N, H, W]`: bilinear (align_corners=False), then Gaussian with `sigma` pixels (0: none).

    Equals torch's interpolate and then scipy.ndimage.gaussian_filter (reflecting border, cut at 4 sigma) to rounding.

    >>> to_picture(torch.ones(2, 4, 6), (16, 24)).shape
    torch.Size([2, 16, 24])
    """
    if cells.ndim != 3:
        raise ValueError(f"expected scores per cell [N, h, w], got {list(cells.shape)}")
    rows = _axis(cells.shape[1], size[0], sigma).to(cells)
    columns = _axis(cells.shape[2], size[1], sigma).to(cells)
    return rows @ cells @ columns.T


def gaussian(maps: Tensor, sigma: float = PUBLISHED_SIGMA) -> Tensor:
    """Smooth `[N, H, W]` as scipy.ndimage.gaussian_filter does (reflecting border, cut at 4 sigma)."""
    if sigma == 0:
        return maps
    return torch.from_numpy(gaussian_filter(maps.cpu().numpy(), (0, sigma, sigma))).to(maps)


@lru_cache(maxsize=32)
def _axis(cells: int, pixels: int, sigma: float) -> Tensor:
    """`[pixels, cells]`: what each cell adds to each pixel along one axis."""
    unit = torch.eye(cells, dtype=torch.float64)
    upsampled = F.interpolate(unit[None], pixels, mode="linear", align_corners=False)[0].T
    smooth = gaussian_filter1d(upsampled.numpy(), sigma, axis=0) if sigma else upsampled.numpy()
    return torch.from_numpy(smooth).float()
