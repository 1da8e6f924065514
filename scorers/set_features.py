"""The picture as a set of features: its distribution along random directions, without regard to order."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from extractors.ranges import check_range
from extractors.rows import as_rows
from scorers.mahalanobis import Mahalanobis
from scorers.pyramid import block_numbers, check_pyramid
from scorers.whole_picture import WholePicture, check_grid

CELLS = 20_000
"""Cells from which quantiles are taken, evenly spaced among all."""


@dataclass(eq=False)
class SetFeatures(WholePicture):
    """Mahalanobis distance of cumulative histograms along random projections.

    SINBAD (Cohen, Tzachor and Hoshen, 2023, arXiv 2302.12245), with covariance shrunk as Ledoit and Wolf do in place of
    a choice of principal components, and sets of the blocks of a pyramid in place of crops. A histogram is a mean over
    cells, so a cell's share of the distance is exact to first order: that is the map.
    """

    projections: int = 100
    """Random directions."""
    bins: int = 20
    """Steps of each cumulative histogram, at most 255, at evenly spaced quantiles of the normal cells."""
    pyramid: tuple[int, ...] = (1, 2)
    """Blocks per side of each level; each block is a set."""
    seed: int = 0
    """Draws the directions."""
    directions_: Tensor = field(init=False, repr=False)
    """`[C, projections]`, set by fit."""
    edges_: Tensor = field(init=False, repr=False)
    """`[projections, bins]`: upper ends, rising, set by fit."""
    grid_: Tensor = field(init=False, repr=False)
    """(h, w) of the features learned from, set by fit."""
    normal_: Mahalanobis = field(init=False, repr=False)
    """Of the histograms, set by fit."""

    def check_parameters(self) -> None:
        """Raise ValueError for parameters out of range."""
        check_range(self, "projections", "pyramid", least=1)
        check_range(self, "bins", least=2, most=255)

    def learn(self, features: Tensor) -> None:
        """Learn from features `[N, C, h, w]` of normal pictures."""
        check_pyramid(features, self.pyramid)
        self.grid_ = torch.tensor(features.shape[2:])
        self.directions_ = _directions(features, self.projections, self.seed)
        rows = as_rows(features)
        sampled = rows[:: -(-len(rows) // CELLS)] @ self.directions_
        places = torch.arange(1, self.bins + 1) / (self.bins + 1) * (len(sampled) - 1)
        self.edges_ = sampled.sort(0).values[places.round().long()].T.contiguous()
        self.normal_ = Mahalanobis().fit(self._histograms(self._bins(features)))

    def judge(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features `[N, C, h, w]` -> scores of cells `[N, h, w]` and of pictures `[N]`."""
        check_grid(features, self.grid_.tolist())
        bins = self._bins(features)
        distances, pull = self.normal_.judge(self._histograms(bins))
        slopes = (pull / distances[:, None]).float()
        usual = (slopes * self.normal_.mean_.float()).unflatten(1, (-1, self.projections * self.bins)).sum(2)
        steps = slopes.unflatten(1, (-1, self.projections, self.bins)).flip(3).cumsum(3).flip(3)
        steps = F.pad(steps, (0, 1))  # beyond the last edge: in no step
        cells, first = torch.zeros(len(features), bins.shape[2]), 0
        for side in self.pyramid:
            number, last = block_numbers(features.shape[2:], side), first + side * side
            table = steps[:, first:last].transpose(1, 2).flatten(2)  # [N, projections, blocks * (bins + 1)]
            share = table.gather(2, number * (self.bins + 1) + bins).sum(1) - usual[:, first:last][:, number]
            cells += share / number.bincount()[number]
            first = last
        return cells.unflatten(1, features.shape[2:]), distances.float()

    def _bins(self, features: Tensor) -> Tensor:
        """`[N, C, h, w]` -> `[N, projections, h * w]`: how many edges lie below each cell's value."""
        values = (self.directions_.T @ features.flatten(2)).numpy()
        found = np.zeros(values.shape, np.uint8)
        for edge in self.edges_.numpy().T:  # a few edges: four times as fast as searching
            found += (values > edge[:, None]).view(np.uint8)
        return torch.from_numpy(found).long()

    def _histograms(self, bins: Tensor) -> Tensor:
        """`[N, projections, cells]` -> `[N, blocks * projections * bins]`: share of a block's cells up to each edge."""
        levels = []
        for side in self.pyramid:
            number = block_numbers(self.grid_.tolist(), side)
            counts = torch.zeros(*bins.shape[:2], side * side * (self.bins + 1))
            counts.scatter_add_(2, number * (self.bins + 1) + bins, torch.ones(1).expand(bins.shape))
            shares = counts.unflatten(2, (side * side, -1)).cumsum(3) / number.bincount()[:, None]
            levels.append(shares[..., :-1].transpose(1, 2).flatten(1))
        return torch.cat(levels, dim=1)


def _directions(features: Tensor, count: int, seed: int) -> Tensor:
    """Random unit directions `[C, count]` of channels brought to unit variance."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(features.shape[1], count, generator=generator)
    spread = features.transpose(0, 1).flatten(1).std(1).clamp(min=torch.finfo(features.dtype).tiny)
    return directions / directions.norm(dim=0) / spread[:, None]
