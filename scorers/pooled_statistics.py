"""Statistics of the whole picture's features: is this mixture of contents, in these places, a normal one?"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from extractors.ranges import check_range
from scorers.mahalanobis import Mahalanobis
from scorers.pyramid import blocks, check_pyramid
from scorers.whole_picture import WholePicture, check_grid

BATCH = 32
"""Pictures described at once."""
TINY = 1e-12
"""Keeps the slopes of roots finite in a constant block."""


@dataclass(eq=False)
class PooledStatistics(WholePicture):
    """Mahalanobis distance of statistics pooled over a spatial pyramid.

    Sources: one mean per channel and its Mahalanobis distance are PUAD's (Sugawara and Imamura, ICIP 2024); power means
    and means of both tails beside the mean are UniSLAD's. The published ones pool the whole picture only
    (`pyramid: [1]`); a finer level tells where things are as well.

    The map is the first-order effect on the distance of replacing a cell's features by what normal pictures have there.
    """

    pyramid: tuple[int, ...] = (1, 2, 4)
    """Blocks per side of each level; 1 is the whole picture."""
    tail: float = 0.1
    """Share of a block's cells whose mean is the upper or lower tail, in (0, 0.5]."""
    power: float = 3.0
    """Exponent of the power mean of absolute values, at least 1."""
    mean_: Tensor = field(init=False, repr=False)
    """`[C, h, w]`: mean features of the normal pictures, set by fit."""
    normal_: Mahalanobis = field(init=False, repr=False)
    """Of the statistics, set by fit."""

    def check_parameters(self) -> None:
        """Raise ValueError for parameters out of range."""
        check_range(self, "pyramid", least=1)
        check_range(self, "tail", above=0, most=0.5)
        check_range(self, "power", least=1)

    def learn(self, features: Tensor) -> None:
        """Learn from features `[N, C, h, w]` of normal pictures."""
        check_pyramid(features, self.pyramid)
        self.mean_ = features.mean(0)
        self.normal_ = Mahalanobis().fit(torch.cat([self._rows(part) for part in features.split(BATCH)]))

    def judge(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features `[N, C, h, w]` -> scores of cells `[N, h, w]` and of pictures `[N]`."""
        check_grid(features, self.mean_.shape[1:])
        with torch.enable_grad():
            parts = [part.detach().requires_grad_() for part in self._blocks(features)]
            rows = self._described(parts)
            distances, pull = self.normal_.judge(rows.detach())
            slopes = torch.autograd.grad(rows, parts, (pull / distances[:, None]).to(rows))
        cells = torch.zeros_like(features[:, :1])
        changes = self._blocks(features - self.mean_)
        for there, slope, change in zip(self._blocks(cells), slopes, changes):
            there += (slope * change).sum(1, keepdim=True)
        return cells[:, 0], distances.float()

    def _rows(self, features: Tensor) -> Tensor:
        return self._described(self._blocks(features))

    def _blocks(self, maps: Tensor) -> list[Tensor]:
        return [block for side in self.pyramid for block in blocks(maps, side)]

    def _described(self, parts: Sequence[Tensor]) -> Tensor:
        return torch.cat([statistics(part.flatten(2), self.tail, self.power) for part in parts], dim=1)


def statistics(block: Tensor, tail: float, power: float) -> Tensor:
    """`[N, C, cells]` -> `[N, 5 C]`: mean, standard deviation, mean of the upper and lower tail, power mean.

    >>> statistics(torch.tensor([[[0.0, 1.0, 2.0, 5.0]]]), tail=0.5, power=1)
    tensor([[2.0000, 1.8708, 3.5000, 0.5000, 2.0000]])
    """
    cells = block.shape[2]
    count = max(1, round(cells * tail))
    ordered = np.sort(block.detach().numpy(), axis=2)  # ten times as fast as torch.topk, which has more to return
    low, high = (torch.from_numpy(ordered[:, :, [place]]) for place in (count - 1, cells - count))
    mean = block.mean(2)
    parts = [
        mean,
        ((block - mean[:, :, None]).square().mean(2) + TINY).sqrt(),
        high[:, :, 0] + ((block - high) * (block >= high)).sum(2) / count,  # the mean of the `count` largest
        low[:, :, 0] + ((block - low) * (block <= low)).sum(2) / count,
        (block.abs().pow(power).mean(2) + TINY).pow(1 / power),
    ]
    return torch.cat(parts, dim=1)
