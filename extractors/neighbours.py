"""Exact nearest neighbours by matrix products, in chunks."""

import torch
from torch import Tensor

CHUNK_BYTES = 64 * 2**20
"""Size of one block of the distance matrix: fits the cache hierarchy, bounds the memory."""


def nearest(queries: Tensor, bank: Tensor, count: int = 1) -> tuple[Tensor, Tensor]:
    """Return the `count` nearest rows of `bank` `[b, C]` to each of `queries` `[q, C]`: squared distances, and indices.

    Both are `[q, count]`, nearest first; distances are Euclidean. The bank may be float16; arithmetic is float32.
    Raises ValueError unless 1 <= count <= b.

    >>> nearest(torch.tensor([[0.0], [4.0]]), torch.tensor([[1.0], [5.0]]))[1].tolist()
    [[0], [1]]
    """
    if not 1 <= count <= len(bank):
        raise ValueError(f"expected 1 <= neighbours <= {len(bank)} remembered patches, got {count}")
    bank = bank.float()
    squares = bank.square().sum(1)
    rows = max(1, CHUNK_BYTES // (4 * len(bank)))
    found = [_chunk(block, bank, squares, count) for block in queries.split(rows)]
    return torch.cat([distance for distance, _ in found]), torch.cat([index for _, index in found])


def _chunk(queries: Tensor, bank: Tensor, squares: Tensor, count: int) -> tuple[Tensor, Tensor]:
    partial = torch.addmm(squares[None], queries, bank.T, alpha=-2)
    if count == 1:
        least, index = partial.min(1, keepdim=True)
    else:
        least, index = partial.topk(count, largest=False)
    return (least + queries.square().sum(1, keepdim=True)).clamp_(min=0), index
