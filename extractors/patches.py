"""Locally aware patch features: the embedding that PatchCore and SimpleNet share.

Two published forms of "average each 3 x 3 neighbourhood, bring the layers to one grid, concatenate":

- `official`: the released PatchCore and SimpleNet code. Each neighbourhood is flattened to C * 9 numbers (zero padding
  outside the map) and pooled adaptively to `dimension` numbers per layer, coarser layers are resized as neighbourhoods,
  and the stacked layers are pooled again to `dimension`. Adaptive pooling mixes adjacent channels.
- `concatenation`: average pooling 3 x 3, bilinear resize, concatenation of all channels (anomalib's reading).
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Embedding = Literal["official", "concatenation"]


def embedding_channels(channels: Sequence[int], embedding: Embedding, dimension: int) -> int:
    """Return the C of `embed`.

    >>> embedding_channels((512, 1024), "concatenation", 1024)
    1536
    """
    return dimension if embedding == "official" else sum(channels)


def embed(maps: Sequence[Tensor], embedding: Embedding, dimension: int, neighbourhood: int = 3) -> Tensor:
    """Layers `[N, C_i, h_i, w_i]` -> patch features `[N, C, h, w]` on the first layer's grid.

    >>> embed([torch.rand(2, 4, 8, 8), torch.rand(2, 6, 4, 4)], "concatenation", 0).shape
    torch.Size([2, 10, 8, 8])
    """
    if embedding == "official":
        return _official(maps, dimension, neighbourhood)
    grid = maps[0].shape[2:]
    pooled = [F.avg_pool2d(layer, neighbourhood, 1, neighbourhood // 2) for layer in maps]
    return torch.cat([_resize(layer, grid) for layer in pooled], dim=1)


def _official(maps: Sequence[Tensor], dimension: int, neighbourhood: int) -> Tensor:
    height, width = maps[0].shape[2:]
    layers = []
    for layer in maps:
        patches = F.unfold(layer, neighbourhood, padding=neighbourhood // 2)  # [N, C * 9, h_i * w_i]
        patches = _resize(patches.unflatten(2, layer.shape[2:]), (height, width)).flatten(2)
        layers.append(F.adaptive_avg_pool1d(patches.transpose(1, 2), dimension))  # [N, h * w, dimension]
    pooled = F.adaptive_avg_pool1d(torch.cat(layers, dim=2), dimension)
    return pooled.transpose(1, 2).unflatten(2, (height, width)).contiguous()


def _resize(layer: Tensor, grid: Sequence[int]) -> Tensor:
    if tuple(layer.shape[2:]) == tuple(grid):
        return layer
    return F.interpolate(layer, tuple(grid), mode="bilinear", align_corners=False)
