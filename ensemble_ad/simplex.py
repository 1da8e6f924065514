"""Simplex noise on feature grids (Perlin 2001; used for anomalies by AnoDDPM, Wyatt et al. 2022).

The noise is smooth over the cells of a picture and independent between channels, unlike Gaussian noise, which is rough
over the cells. It is evaluated on a slice of the three-dimensional lattice, all cells and channels at once.
"""

import torch
from torch import Tensor

SKEW, UNSKEW = 1 / 3, 1 / 6
_EDGES = torch.tensor(
    [[x, y, z] for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if abs(x) + abs(y) + abs(z) == 2],
    dtype=torch.float32,
)


def simplex_fields(channels: int, grid: tuple[int, int], frequency: float, generator: torch.Generator) -> Tensor:
    """Return noise `[channels, h, w]` with mean about 0 and standard deviation about 1.

    `frequency` is in lattice cells along the longer side of the grid.

    >>> simplex_fields(2, (8, 16), 4.0, torch.Generator().manual_seed(0)).shape
    torch.Size([2, 8, 16])
    """
    height, width = grid
    step = frequency / max(grid)
    offset = torch.rand(channels, 3, generator=generator) * 256
    rows = torch.arange(height)[None, :, None] * step + offset[:, 0, None, None]
    columns = torch.arange(width)[None, None, :] * step + offset[:, 1, None, None]
    depth = offset[:, 2, None, None].expand(channels, height, width)
    table = torch.randperm(256, generator=generator)
    points = torch.stack([rows.expand_as(depth), columns.expand_as(depth), depth], dim=-1)
    return simplex_noise(points, table) / STANDARD_DEVIATION


STANDARD_DEVIATION = 0.388
"""Of `simplex_noise` over uniformly drawn points (measured on ten million; tested)."""


def simplex_noise(points: Tensor, table: Tensor) -> Tensor:
    """Three-dimensional simplex noise in about [-1, 1] at `points` `[..., 3]`; `table` is a permutation of 0 .. 255."""
    corner = (points + points.sum(-1, keepdim=True) * SKEW).floor()
    local = points - (corner - corner.sum(-1, keepdim=True) * UNSKEW)
    order = local.argsort(-1, descending=True)
    total = torch.zeros(points.shape[:-1])
    step = torch.zeros_like(points)
    for number in range(4):  # the four corners of the simplex, one axis further each time, the largest coordinate first
        if number:
            step = step.scatter(-1, order[..., number - 1 : number], 1.0)
        distance = local - step + number * UNSKEW
        total += _corner(distance, (corner + step).long(), table)
    return total * 76


def _corner(distance: Tensor, lattice: Tensor, table: Tensor) -> Tensor:
    """What one corner adds: a radial falloff times the projection on its own gradient."""
    hashed = torch.zeros_like(lattice[..., 0])
    for axis in range(3):
        hashed = table[(hashed + lattice[..., axis]) & 255]
    gradient = _EDGES[hashed % len(_EDGES)]
    falloff = (0.5 - distance.square().sum(-1)).clamp(min=0)
    return falloff**4 * (gradient * distance).sum(-1)
