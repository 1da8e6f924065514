"""The blocks of a spatial pyramid: the whole picture, its quarters, their quarters ..."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor


def blocks(maps: Tensor, side: int) -> list[Tensor]:
    """`[N, C, h, w]` -> `side` x `side` blocks `[N, C, *, *]` of nearly equal size, row by row.

    >>> [tuple(block.shape[2:]) for block in blocks(torch.zeros(1, 1, 3, 4), 2)]
    [(2, 2), (2, 2), (1, 2), (1, 2)]
    """
    return [block for row in maps.tensor_split(side, dim=2) for block in row.tensor_split(side, dim=3)]


def block_numbers(grid: Sequence[int], side: int) -> Tensor:
    """Grid (h, w) -> int64 `[h * w]`: which of the `side` x `side` blocks each cell lies in.

    >>> block_numbers((2, 3), 2).tolist()
    [0, 0, 1, 2, 2, 3]
    """
    numbers = torch.empty(1, 1, *grid, dtype=torch.int64)
    for number, block in enumerate(blocks(numbers, side)):
        block.fill_(number)
    return numbers.flatten()


@lru_cache(maxsize=8)
def membership(grid: tuple[int, int], pyramid: tuple[int, ...]) -> Tensor:
    """Grid (h, w) -> float32 `[blocks, h * w]`: 1 / cells of the block where a cell is in it, else 0.

    >>> membership((1, 2), (1,)).tolist()
    [[0.5, 0.5]]
    """
    levels = []
    for side in pyramid:
        inside = torch.nn.functional.one_hot(block_numbers(grid, side), side * side).T.float()
        levels.append(inside / inside.sum(1, keepdim=True))
    return torch.cat(levels)


def check_pyramid(features: Tensor, pyramid: Sequence[int]) -> None:
    """Raise ValueError where a level has more blocks per side than features `[N, C, h, w]` have cells."""
    least = min(features.shape[2:])
    if max(pyramid) > least:
        raise ValueError(f"expected at most {least} blocks per side in pyramid, as many as cells, got {tuple(pyramid)}")
