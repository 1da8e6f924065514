"""Statistics of the whole picture's features: is this mixture of contents, in these places, a normal one?"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from extractors.ranges import check_range
from scorers.block_statistics import BlockStatistics
from scorers.mahalanobis import Mahalanobis
from scorers.pyramid import check_pyramid
from scorers.whole_picture import WholePicture, check_grid

BATCH = 32
"""Pictures described at once."""


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
        self.normal_ = Mahalanobis().fit(torch.cat([self._statistics.of(part).rows for part in features.split(BATCH)]))

    def judge(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features `[N, C, h, w]` -> scores of cells `[N, h, w]` and of pictures `[N]`."""
        check_grid(features, self.mean_.shape[1:])
        found = self._statistics.of(features)
        distances, pull = self.normal_.judge(found.rows)
        slopes = (pull / distances[:, None]).to(features)
        return self._statistics.effects(features, found, slopes, features - self.mean_), distances.float()

    @property
    def _statistics(self) -> BlockStatistics:
        return BlockStatistics(self.pyramid, self.tail, self.power)
