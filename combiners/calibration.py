"""One scale for the outputs of different detectors, learned from values of normal pictures alone.

Every calibration is a strictly rising function per member, so a member's own ranking stays as it is. A member whose
normal values are spread over nothing by a calibration's own measure is scaled by their standard deviation; one that
gives a single value is centred only, with a warning.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from torch import Tensor

from combiners.protocol import Calibration, check_members, check_values

log = logging.getLogger(__name__)

NORMAL_CONSISTENT = 1.4826
"""Median absolute deviation -> standard deviation, of a Gaussian."""
KNOTS = 16_384
"""Points of an empirical distribution that are kept at most."""


@dataclass(eq=False)
class Scaling:
    """`(value - shift) / scale` per member; what shift and scale are, a subclass says in `measure`."""

    shift_: Tensor | None = field(default=None, init=False, repr=False)
    """`[M]`, set by fit."""
    scale_: Tensor | None = field(default=None, init=False, repr=False)
    """`[M]`, above zero, set by fit."""

    def check(self) -> None:
        """Raise ValueError for parameters out of range; here there are none."""

    def fit(self, normal: Tensor) -> Self:
        """Learn from values `[M, K]` of normal pictures; raises ValueError for other shapes, NaN or infinity."""
        self.check()
        values = check_values(normal).double().numpy()
        measured = [self.measure(member) for member in values]
        spreads = [spread_or_else(spread, values[index], index) for index, (_, spread) in enumerate(measured)]
        self.shift_ = torch.tensor([shift for shift, _ in measured], dtype=torch.float32)
        self.scale_ = torch.tensor(spreads, dtype=torch.float32)
        return self

    def measure(self, values: np.ndarray) -> tuple[float, float]:  # noqa: ARG002, it is replaced
        """Values `[K]` of one member -> its centre and its spread."""
        raise TypeError(f"{type(self).__name__} is a Scaling and must define measure(values)")

    def transform(self, values: Tensor) -> Tensor:
        """`[M, *shape]` -> the same shape, on one scale."""
        if self.shift_ is None or self.scale_ is None:
            raise RuntimeError(f"{type(self).__name__} is not fitted: call fit(normal) or restore(state) first")
        check_members(values, len(self.shift_))
        each = (-1,) + (1,) * (values.ndim - 1)
        return (values - self.shift_.view(each)) / self.scale_.view(each)

    def state(self) -> dict[str, Tensor]:
        """Shift and scale of every member."""
        if self.shift_ is None or self.scale_ is None:
            raise RuntimeError(f"{type(self).__name__} is not fitted: call fit(normal) first")
        return {"shift": self.shift_, "scale": self.scale_}

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Take back what `state` gave."""
        self.shift_, self.scale_ = state["shift"], state["scale"]
        return self


@dataclass(eq=False)
class ZScore(Scaling):
    """Mean -> 0, standard deviation -> 1.

    >>> ZScore().fit(torch.tensor([[0.0, 2.0]])).transform(torch.tensor([[4.0]]))
    tensor([[3.]])
    """

    def measure(self, values: np.ndarray) -> tuple[float, float]:
        """Mean and standard deviation."""
        return float(values.mean()), float(values.std())


@dataclass(eq=False)
class Robust(Scaling):
    """Median -> 0, median absolute deviation x 1.4826 -> 1: a few odd normal values do not change it."""

    def measure(self, values: np.ndarray) -> tuple[float, float]:
        """Median and consistent median absolute deviation."""
        median = np.median(values)
        return float(median), float(NORMAL_CONSISTENT * np.median(np.abs(values - median)))


@dataclass(eq=False)
class TrimmedZ(Scaling):
    """Mean and standard deviation of the middle of the values alone."""

    lower: float = 0.2
    """Quantile below which values are left out."""
    upper: float = 0.8
    """Quantile above which values are left out."""

    def check(self) -> None:
        """Raise ValueError for parameters out of range."""
        _check_quantiles(self.lower, self.upper)

    def measure(self, values: np.ndarray) -> tuple[float, float]:
        """Mean and standard deviation between the two quantiles, both included."""
        low, high = _quantiles(values, self.lower, self.upper)
        middle = values[(low <= values) & (values <= high)]
        return (float(middle.mean()), float(middle.std())) if len(middle) else ((low + high) / 2, 0.0)


@dataclass(eq=False)
class Quantile(Scaling):
    """Two quantiles of the normal values -> 0 and `level`, a straight line through them.

    This is how EfficientAD brings its two maps together (Batzner et al., WACV 2024, section 3.4).
    """

    lower: float = 0.9
    """This quantile becomes 0."""
    upper: float = 0.995
    """This one becomes `level`."""
    level: float = 0.1
    """Above zero."""

    def check(self) -> None:
        """Raise ValueError for parameters out of range."""
        _check_quantiles(self.lower, self.upper)
        if not 0 < self.level < float("inf"):
            raise ValueError(f"expected a level above 0, got {self.level}")

    def measure(self, values: np.ndarray) -> tuple[float, float]:
        """The lower quantile, and the distance to the upper one divided by `level`."""
        low, high = _quantiles(values, self.lower, self.upper)
        return low, (high - low) / self.level


@dataclass(eq=False)
class Rank:
    """Empirical distribution function: the share of normal values at or below a value.

    It is exact at every normal value, ties included, and rises in a straight line between two neighbours. Beyond the
    largest, where an empirical distribution stays at 1 and would tie all anomalies, it goes on by one per distance
    between median and largest value; below the smallest likewise. Of more than 16,384 normal values so many quantiles
    are kept.
    """

    knots_: tuple[Tensor, ...] | None = field(default=None, init=False, repr=False)
    """One `[n]` float64 per member, rising, set by fit."""
    shares_: tuple[Tensor, ...] | None = field(default=None, init=False, repr=False)
    """One `[n]` float64 per member: the share of normal values at or below each knot."""
    tails_: Tensor | None = field(default=None, init=False, repr=False)
    """`[M, 2]`: how far below the smallest and beyond the largest knot one more unit lies."""

    def fit(self, normal: Tensor) -> Self:
        """Learn from values `[M, K]` of normal pictures; raises ValueError for other shapes, NaN or infinity."""
        values = np.sort(check_values(normal).double().numpy(), axis=1)
        count = values.shape[1]
        picked = np.linspace(0, count - 1, min(count, KNOTS)).round().astype(int)
        knots, shares, tails = [], [], []
        for index, member in enumerate(values):
            distinct = np.unique(member[picked])
            knots.append(torch.from_numpy(distinct))
            shares.append(torch.from_numpy(np.searchsorted(member, distinct, side="right") / count))
            median = float(np.median(member))
            reach = (median - member[0], member[-1] - median)
            tails.append([spread_or_else(float(length), member, index) for length in reach])
        self.knots_, self.shares_ = tuple(knots), tuple(shares)
        self.tails_ = torch.tensor(tails, dtype=torch.float64)
        return self

    def transform(self, values: Tensor) -> Tensor:
        """`[M, *shape]` -> the same shape, float32: 0 to 1 within the normal values, beyond on both sides."""
        knots, shares, tails = self._learned
        check_members(values, len(knots))
        ranked = [
            _rank(member.double().numpy(), points.numpy(), heights.numpy(), *reach.tolist())
            for member, points, heights, reach in zip(values, knots, shares, tails)
        ]
        return torch.from_numpy(np.stack(ranked)).float()

    def state(self) -> dict[str, Tensor]:
        """The distribution of every member."""
        knots, shares, tails = self._learned
        named = {f"knots.{index}": points for index, points in enumerate(knots)}
        return named | {f"shares.{index}": heights for index, heights in enumerate(shares)} | {"tails": tails}

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Take back what `state` gave."""
        self.tails_ = state["tails"]
        self.knots_ = tuple(state[f"knots.{index}"] for index in range(len(self.tails_)))
        self.shares_ = tuple(state[f"shares.{index}"] for index in range(len(self.tails_)))
        return self

    @property
    def _learned(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], Tensor]:
        if self.knots_ is None or self.shares_ is None or self.tails_ is None:
            raise RuntimeError("Rank is not fitted: call fit(normal) or restore(state) first")
        return self.knots_, self.shares_, self.tails_


CALIBRATIONS: dict[str, type[Calibration]] = {
    "robust": Robust,
    "z_score": ZScore,
    "trimmed_z": TrimmedZ,
    "quantile": Quantile,
    "rank": Rank,
}
"""Name in YAML -> class."""


def spread_or_else(spread: float, values: np.ndarray, member: int) -> float:
    """Return `spread` unless it is zero up to rounding: then the standard deviation of `values` `[K]`, or at last 1.

    >>> spread_or_else(0.0, np.array([0.0, 0.0, 0.0, 4.0]), member=0) == 3**0.5
    True
    """
    rounding = 1e-12 * float(np.abs(values).max())
    for candidate in (spread, float(values.std())):
        if candidate > rounding:
            return candidate
    log.warning("member %d gives the value %g for all that is normal: it is centred, not scaled", member + 1, values[0])
    return 1.0


def _check_quantiles(lower: float, upper: float) -> None:
    if not 0 <= lower < upper <= 1:
        raise ValueError(f"expected quantiles 0 <= lower < upper <= 1, got {lower} and {upper}")


def _quantiles(values: np.ndarray, lower: float, upper: float) -> tuple[float, float]:
    low, high = np.quantile(values, [lower, upper])
    return float(low), float(high)


def _rank(values: np.ndarray, knots: np.ndarray, shares: np.ndarray, below: float, beyond: float) -> np.ndarray:
    inside = np.interp(values, knots, shares)
    return inside + np.maximum(values - knots[-1], 0) / beyond - np.maximum(knots[0] - values, 0) / below
