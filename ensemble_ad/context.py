"""What a cell is told of its picture: a part can be normal by itself and wrong where, or beside what, it is.

The code of a picture is the mean of its cells; places are sines and cosines of half a turn and of a whole turn along
each axis, so that near cells are told nearly the same.
"""

from math import pi
from typing import Literal

import torch
from torch import Tensor

Context = Literal["none", "position", "picture", "both"]

PLACE_CHANNELS = 8
"""Sine and cosine, of two frequencies, along two axes."""


def places(grid: tuple[int, int]) -> Tensor:
    """Return `[h * w, 8]`: where each cell is, row by row.

    >>> places((1, 2)).shape
    torch.Size([2, 8])
    """
    height, width = grid
    down, across = (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width
    angles = torch.stack(torch.meshgrid(down, across, indexing="ij"), dim=2).flatten(0, 1) * pi
    return torch.cat([wave(angles * turns) for turns in (1, 2) for wave in (torch.sin, torch.cos)], dim=1)


def codes(rows: Tensor, grid: tuple[int, int]) -> Tensor:
    """Cells `[N * h * w, C]` -> codes of their pictures `[N, C]`."""
    return rows.unflatten(0, (-1, grid[0] * grid[1])).mean(1)


def with_context(rows: Tensor, grid: tuple[int, int], context: Context, code_std: Tensor) -> Tensor:
    """Cells `[N * h * w, C]` of whole pictures -> `[N * h * w, C + K]`: themselves, then code and place.

    Codes are divided by `code_std`, `[]`, so that they weigh as much as the cells.

    >>> with_context(torch.ones(8, 3), (2, 2), "both", torch.tensor(1.0)).shape
    torch.Size([8, 14])
    """
    parts = [rows]
    cells = grid[0] * grid[1]
    if context in ("picture", "both"):
        parts.append((codes(rows, grid) / code_std).repeat_interleave(cells, dim=0))
    if context in ("position", "both"):
        parts.append(places(grid).repeat(len(rows) // cells, 1))
    return torch.cat(parts, dim=1) if len(parts) > 1 else rows


def context_channels(channels: int, context: Context) -> int:
    """How many channels `with_context` adds to `channels`."""
    return (channels if context in ("picture", "both") else 0) + (
        PLACE_CHANNELS if context in ("position", "both") else 0
    )
