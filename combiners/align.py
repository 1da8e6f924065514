"""Maps of different stride -> one grid."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

FINEST = 32
"""Cells along the shorter side of the default grid at most: stride 8 on a 256-pixel picture."""


def common_grid(grids: Sequence[Sequence[int]], finest: int = FINEST) -> tuple[int, int]:
    """Return the finest of `grids` (h, w), coarsened in proportion until its shorter side is at most `finest`.

    >>> common_grid([(8, 8), (16, 16)]), common_grid([(64, 128), (8, 16)])
    ((16, 16), (32, 64))
    """
    height, width = max(grids, key=lambda grid: grid[0] * grid[1])
    shrink = max(1.0, min(height, width) / finest)
    return round(height / shrink), round(width / shrink)


def resize(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """`[N, C, h, w]` -> `[N, C, *grid]`: bilinear to a finer grid, averages of the covered cells to a coarser one.

    >>> import torch
    >>> resize(torch.zeros(1, 2, 8, 8), (4, 4)).shape
    torch.Size([1, 2, 4, 4])
    """
    if maps.ndim != 4:
        raise ValueError(f"expected feature maps [N, C, h, w], got {list(maps.shape)}")
    if tuple(maps.shape[2:]) == grid:
        return maps
    coarser = grid[0] < maps.shape[2] or grid[1] < maps.shape[3]
    return F.interpolate(maps, grid, mode="bilinear", align_corners=False, antialias=coarser)
