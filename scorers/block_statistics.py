"""What the blocks of a spatial pyramid hold, and how much of it is each cell's doing."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from scorers.pyramid import blocks, membership

TINY = 1e-12
"""Keeps the slopes of roots finite in a constant block."""


class Statistics(NamedTuple):
    """Of pictures, each `[N, C, blocks]`."""

    mean: Tensor
    deviation: Tensor
    upper: Tensor
    """Mean of the largest values, which are all from `high` on."""
    lower: Tensor
    """Mean of the smallest values, which are all up to `low`."""
    power: Tensor
    """Power mean of the absolute values."""
    high: Tensor
    low: Tensor

    @property
    def rows(self) -> Tensor:
        """`[N, 5 C blocks]`: mean, deviation, upper, lower and power, one after the other."""
        return torch.stack(self[:5], dim=1).flatten(1)


@dataclass(frozen=True)
class BlockStatistics:
    """Five numbers of every channel and block."""

    pyramid: tuple[int, ...]
    """Blocks per side of each level."""
    tail: float
    """Share of a block's cells that are its upper or lower tail."""
    power: float
    """Exponent of the power mean."""

    def of(self, features: Tensor) -> Statistics:
        """Features `[N, C, h, w]` -> their statistics.

        >>> found = BlockStatistics(pyramid=(1,), tail=0.5, power=1).of(torch.tensor([[[[0.0, 1.0], [2.0, 5.0]]]]))
        >>> found.rows
        tensor([[2.0000, 1.8708, 3.5000, 0.5000, 2.0000]])
        """
        found = [self._of_block(ordered) for ordered in _ordered(self._blocks(features))]
        mean, deviation, upper, lower, high, low = (torch.stack(column, dim=2) for column in zip(*found))
        strength = features.flatten(2).abs().pow(self.power) @ self._inside(features).T
        return Statistics(mean, deviation, upper, lower, (strength + TINY).pow(1 / self.power), high, low)

    def effects(self, features: Tensor, found: Statistics, slopes: Tensor, change: Tensor) -> Tensor:
        """By how much a number that depends on the statistics goes down with each cell's change, to first order.

        The chain rule by hand: autograd takes three times as long.

        Args:
            features: `[N, C, h, w]`.
            found: their statistics.
            slopes: `[N, 5 C blocks]`, how the number depends on each entry of `found.rows`.
            change: `[N, C, h, w]`, what is taken from each cell.

        Returns:
            `[N, h, w]`.
        """
        mean, deviation, upper, lower, power = slopes.unflatten(1, (5, features.shape[1], -1)).unbind(1)
        inside, values = self._inside(features), features.flatten(2)
        spread = deviation / found.deviation
        strength = values.abs().pow(self.power - 1).copysign(values)
        slope = (mean - spread * found.mean) @ inside + values * (spread @ inside)
        slope += strength * ((power * found.power.pow(1 - self.power)) @ inside)
        counts = torch.tensor([self._count(block[0, 0].numel()) for block in self._blocks(features)])
        levels = [side * side for side in self.pyramid]
        for compare, limits, weights in (
            (np.greater_equal, found.high, upper / counts),
            (np.less_equal, found.low, lower / counts),
        ):
            for covered, limit, weight in zip(inside.split(levels), limits.split(levels, 2), weights.split(levels, 2)):
                covers = (covered > 0).to(values)
                beyond = compare(values.numpy(), (limit @ covers).numpy())
                slope += torch.from_numpy(beyond * (weight @ covers).numpy())  # numpy takes half of torch's time
        return (slope.view_as(features) * change).sum(1)

    def _of_block(self, ordered: Tensor) -> tuple[Tensor, ...]:
        count = self._count(ordered.shape[2])
        mean = ordered.mean(2)
        deviation = ((ordered - mean[..., None]).square().mean(2) + TINY).sqrt()  # a tenth of torch.var's time
        upper, lower = ordered[..., -count:], ordered[..., :count]
        return mean, deviation, upper.mean(2), lower.mean(2), upper[..., 0], lower[..., -1]

    def _blocks(self, maps: Tensor) -> list[Tensor]:
        return [block for side in self.pyramid for block in blocks(maps, side)]

    def _count(self, cells: int) -> int:
        return max(1, round(cells * self.tail))

    def _inside(self, features: Tensor) -> Tensor:
        return membership((features.shape[2], features.shape[3]), self.pyramid).to(features)


def _ordered(blocks: Sequence[Tensor]) -> list[Tensor]:
    """The values of each block `[N, C, h, w]` in ascending order, `[N, C, h * w]`, by as many threads as torch has.

    NumPy sorts ten times as fast as torch.topk, with one thread, and lets others work meanwhile.
    """

    def ordered(block: Tensor) -> Tensor:
        return torch.from_numpy(np.sort(block.flatten(2).numpy(), axis=2))

    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        return list(threads.map(ordered, blocks))
