"""An image score from how a map looks: not only its largest value, but how much, how scattered, how rugged."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import cv2
import numpy as np
import torch
from torch import Tensor

from extractors.ranges import check_range
from scorers.mahalanobis import Mahalanobis

NAMES = ("maximum", "mean", "deviation", "mean of the top", "area above", "total variation", "regions above")


@dataclass(eq=False)
class MapDescriptors:
    """Mahalanobis distance of seven numbers of an anomaly map.

    After StructCore (Chae et al., 2026, arXiv 2602.17048), with Ledoit and Wolf's covariance in place of a diagonal
    one: the seven go up and down together. Two-sided: a map that is calmer than any normal one is unusual, too.

    >>> maps = torch.rand(9, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> MapDescriptors().fit(maps).score(maps).shape
    torch.Size([9])
    """

    top: float = 0.01
    """Share of the pixels whose mean is one of the numbers, in (0, 1]."""
    quantile: float = 0.99
    """Share of the normal pixels below the threshold of area and regions, in (0, 1)."""
    threshold_: Tensor = field(init=False, repr=False)
    """A number, set by fit."""
    normal_: Mahalanobis = field(init=False, repr=False)
    """Of the descriptors, set by fit."""

    def check(self) -> None:
        """Raise ValueError for parameters out of range."""
        check_range(self, "top", "quantile", above=0, most=1)

    def fit(self, maps: Tensor) -> Self:
        """Learn from maps `[N, H, W]` of unseen normal pictures; raises ValueError for fewer than two."""
        self.check()
        values = maps.flatten().sort().values
        self.threshold_ = values[min(len(values) - 1, int(len(values) * self.quantile))]
        self.normal_ = Mahalanobis().fit(self._described(maps))
        return self

    def score(self, maps: Tensor) -> Tensor:
        """`[N, H, W]` -> `[N]`; higher is more anomalous."""
        return self.normal_.judge(self._described(maps))[0].float()

    def state(self) -> dict[str, Tensor]:
        """Threshold and distribution."""
        return {"threshold": self.threshold_, **self.normal_.state()}

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Take back what `state` gave."""
        self.threshold_, self.normal_ = state["threshold"], Mahalanobis.restored(state)
        return self

    def _described(self, maps: Tensor) -> Tensor:
        return descriptors(maps, float(self.threshold_), self.top)


def descriptors(maps: Tensor, threshold: float, top: float) -> Tensor:
    """Maps `[N, H, W]` -> `[N, 7]` as `NAMES` says.

    Regions are 8-connected pixels above `threshold`; the total variation is the mean absolute difference to the right
    and lower neighbour.

    >>> descriptors(torch.tensor([[[0.0, 1.0], [0.0, 0.0]]]), threshold=0.5, top=0.25).tolist()
    [[1.0, 0.25, 0.4330126941204071, 1.0, 0.25, 1.0, 1.0]]
    """
    flat, above = maps.flatten(1), maps > threshold
    largest = flat.topk(max(1, round(flat.shape[1] * top)), dim=1).values
    regions = [cv2.connectedComponents(one.numpy().astype(np.uint8))[0] - 1 for one in above]
    columns = [
        flat.amax(1),
        flat.mean(1),
        flat.std(1, correction=0),
        largest.mean(1),
        above.flatten(1).float().mean(1),
        maps.diff(dim=1).abs().mean((1, 2)) + maps.diff(dim=2).abs().mean((1, 2)),
        torch.tensor(regions).to(maps),
    ]
    return torch.stack(columns, dim=1)
