"""Feature maps -> one row per cell, in memory while small, in a memory-mapped scratch file when large."""

import tempfile
from collections.abc import Callable, Iterable
from operator import length_hint
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

BYTES_IN_MEMORY = 2**30
"""More than this goes to a file that the system pages in and out, so memory does not grow with the data set."""


class Gathered(NamedTuple):
    """All cells of all pictures, and how a picture is divided."""

    rows: Tensor
    """`[n, C]`."""
    grid: tuple[int, int]
    """(h, w)."""


def as_rows(maps: Tensor) -> Tensor:
    """`[N, C, h, w]` -> `[N * h * w, C]`, picture by picture, row by row.

    >>> as_rows(torch.arange(8.0).view(1, 2, 2, 2)).tolist()
    [[0.0, 4.0], [1.0, 5.0], [2.0, 6.0], [3.0, 7.0]]
    """
    return maps.permute(0, 2, 3, 1).flatten(0, 2)


def as_grid(rows: Tensor, like: Tensor) -> Tensor:
    """`[N * h * w, C]` -> `[N, C, h, w]` with the N, h and w of `like`."""
    count, height, width = like.shape[0], like.shape[2], like.shape[3]
    return rows.unflatten(0, (count, height, width)).permute(0, 3, 1, 2).contiguous()


def gather_rows(batches: Iterable[Tensor], embed: Callable[[Tensor], Tensor] = lambda maps: maps) -> Gathered:
    """Apply `embed` to each batch and collect the rows of its `[N, C, h, w]`; ValueError when there is no batch.

    >>> gather_rows([torch.zeros(2, 3, 4, 4), torch.ones(1, 3, 4, 4)]).rows.shape
    torch.Size([48, 3])
    """
    count, blocks, filled = length_hint(batches), [], 0
    scratch: Tensor | None = None
    grid = (0, 0)
    for batch in batches:
        maps = embed(batch)
        grid, block = (maps.shape[2], maps.shape[3]), as_rows(maps)
        if filled == 0 and count * block.nbytes > BYTES_IN_MEMORY:
            scratch = _scratch((count * len(block), block.shape[1]))
        if scratch is None:
            blocks.append(block)
        else:
            scratch[filled : filled + len(block)] = block
        filled += len(block)
    if filled == 0:
        raise ValueError("expected normal pictures to fit on, got none")
    return Gathered(torch.cat(blocks) if scratch is None else scratch[:filled], grid)


def _scratch(shape: tuple[int, int]) -> Tensor:
    """A float32 tensor in a file that has no name, so nothing is left behind even by a kill."""
    file = tempfile.TemporaryFile()  # noqa: SIM115, open for as long as the tensor lives
    return torch.from_numpy(np.memmap(file, np.float32, "w+", shape=shape))
