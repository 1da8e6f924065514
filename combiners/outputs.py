"""Calibrated outputs of several detectors -> one, pixel by pixel or picture by picture, by fixed rules.

`OUTPUT_COMBINERS` has these and the stackers of `combiners.stacking`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from torch import Tensor

from combiners.protocol import OutputCombiner, check_members, check_values
from combiners.stacking import LogisticRegression, RandomForest


class Fixed:
    """Gives a rule that learns nothing its `fit`, `state` and `restore`."""

    def fit(self, normal: Tensor) -> Self:  # noqa: ARG002
        """Learn nothing."""
        return self

    def state(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> Self:  # noqa: ARG002
        """Nothing to take back."""
        return self


@dataclass(eq=False)
class Mean(Fixed):
    """Mean of the members.

    >>> Mean().transform(torch.tensor([[0.0, 2.0], [1.0, 4.0]]))
    tensor([0.5000, 3.0000])
    """

    def transform(self, values: Tensor) -> Tensor:
        """`[M, *shape]` -> `[*shape]`."""
        return values.mean(0)


@dataclass(eq=False)
class WeightedMean(Fixed):
    """Mean of the members by given weights.

    >>> WeightedMean((3, 1)).transform(torch.tensor([[0.0, 2.0], [1.0, 4.0]]))
    tensor([0.2500, 2.5000])
    """

    weights: tuple[float, ...]
    """One per member, none below 0 and one above; only their proportions count."""

    def check(self) -> None:
        """Raise ValueError for parameters out of range."""
        if min(self.weights, default=0.0) < 0 or not 0 < sum(self.weights) < float("inf"):
            raise ValueError(f"expected weights of at least 0, one of them above 0, got {list(self.weights)}")

    def transform(self, values: Tensor) -> Tensor:
        """`[M, *shape]` -> `[*shape]`; ValueError where weights do not fit the members."""
        self.check()
        weights = torch.tensor(self.weights, dtype=values.dtype)
        if len(weights) != len(values):
            raise ValueError(f"expected one weight for each of {len(values)} detectors, got {len(weights)}")
        return torch.tensordot(weights / weights.sum(), values, dims=1)


@dataclass(eq=False)
class Maximum(Fixed):
    """Largest of the members: anomalous is what any of them calls so."""

    def transform(self, values: Tensor) -> Tensor:
        """`[M, *shape]` -> `[*shape]`."""
        return values.amax(0)


@dataclass(eq=False)
class Median(Fixed):
    """Median of the members; with an even number the mean of the two in the middle, so that of two it is their mean."""

    def transform(self, values: Tensor) -> Tensor:
        """`[M, *shape]` -> `[*shape]`."""
        ordered = values.sort(0).values
        return (ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2


@dataclass(eq=False)
class MajorityVote:
    """Share of the members that call it anomalous: a step function with M + 1 values, so rankings have many ties."""

    quantile: float = 0.99
    """Of a member's normal values; above it the member votes anomalous. In [0, 1]."""
    thresholds_: Tensor | None = field(default=None, init=False, repr=False)
    """`[M]`, set by fit."""

    def check(self) -> None:
        """Raise ValueError for parameters out of range."""
        if not 0 <= self.quantile <= 1:
            raise ValueError(f"expected a quantile in [0, 1], got {self.quantile}")

    def fit(self, normal: Tensor) -> Self:
        """Set every member's threshold by values `[M, K]` of normal pictures."""
        self.check()
        values = check_values(normal).double().numpy()
        self.thresholds_ = torch.from_numpy(np.quantile(values, self.quantile, axis=1)).to(normal.dtype)
        return self

    def transform(self, values: Tensor) -> Tensor:
        """`[M, *shape]` -> `[*shape]`: 0, 1/M, 2/M .. 1."""
        thresholds = self._learned
        check_members(values, len(thresholds))
        return (values > thresholds.view(-1, *[1] * (values.ndim - 1))).to(values.dtype).mean(0)

    def state(self) -> dict[str, Tensor]:
        """The thresholds."""
        return {"thresholds": self._learned}

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Take back what `state` gave."""
        self.thresholds_ = state["thresholds"]
        return self

    @property
    def _learned(self) -> Tensor:
        if self.thresholds_ is None:
            raise RuntimeError("MajorityVote is not fitted: call fit(normal) or restore(state) first")
        return self.thresholds_


OUTPUT_COMBINERS: dict[str, type[OutputCombiner]] = {
    "mean": Mean,
    "weighted_mean": WeightedMean,
    "maximum": Maximum,
    "median": Median,
    "majority_vote": MajorityVote,
    "logistic_regression": LogisticRegression,
    "random_forest": RandomForest,
}
"""Name in YAML and on the command line -> class."""
