"""How far a description lies from the normal ones, where it has more entries than there are normal pictures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

FLAT = 1e-6
"""Share of the largest standard deviation below which an entry counts as constant over the normal pictures."""


@dataclass(eq=False)
class Mahalanobis:
    """Mahalanobis distance with Ledoit and Wolf's shrunk covariance of standardised entries.

    Source: Ledoit and Wolf, A well-conditioned estimator for large-dimensional covariance matrices, 2004. The shrinkage
    is theirs (scikit-learn's `LedoitWolf`); the D x D matrix is never formed: all of it is in the N rows.

    >>> rows = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    >>> Mahalanobis().fit(rows).judge(rows)[0].shape
    torch.Size([50])
    """

    mean_: Tensor = field(init=False, repr=False)
    """float64 `[D]`."""
    unit_: Tensor = field(init=False, repr=False)
    """float64 `[D]`: what counts as a difference of one where the normal pictures show no direction."""
    directions_: Tensor = field(init=False, repr=False)
    """float64 `[R, D]`: how much less counts along each direction in which normal pictures do differ."""

    def fit(self, rows: Tensor) -> Self:
        """Learn from descriptions `[N, D]` of normal pictures; raises ValueError for fewer than two."""
        if rows.ndim != 2 or len(rows) < 2:
            raise ValueError(f"expected descriptions [N, D] of at least two normal pictures, got {list(rows.shape)}")
        rows = rows.double()
        mean = rows.mean(0)
        spread = rows.std(0, correction=0)
        spread = torch.where(spread > FLAT * spread.max(), spread, spread.max().clamp(min=FLAT))
        centred = (rows - mean) / spread
        shrinkage, variance = shrinkage_of(centred)
        floor = max(shrinkage * variance, FLAT)
        _, singular, directions = torch.linalg.svd(centred, full_matrices=False)
        along = (1 - shrinkage) * singular.square() / len(rows) + floor
        self.mean_, self.unit_ = mean, spread * floor**0.5
        self.directions_ = directions * (1 - floor / along).sqrt()[:, None]
        return self

    def judge(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """`[N, D]` -> distances `[N]`, and the pull of each entry `[N, D]`: half the squared distance's derivative.

        The product of a row's pull with its difference to the mean adds up to the squared distance: an entry's share.
        """
        if rows.ndim != 2 or rows.shape[1] != len(self.mean_):
            raise ValueError(f"expected descriptions [N, {len(self.mean_)}], got {list(rows.shape)}")
        standard = (rows.double() - self.mean_) / self.unit_
        left = standard - (standard @ self.directions_.T) @ self.directions_
        squared = (left * standard).sum(1)
        return squared.clamp(min=FLAT).sqrt(), left / self.unit_

    def state(self) -> dict[str, Tensor]:
        """Mean, unit and directions."""
        return {"mean": self.mean_, "unit": self.unit_, "directions": self.directions_}

    @classmethod
    def restored(cls, state: Mapping[str, Tensor]) -> Self:
        """Return the one that gave `state`."""
        found = cls()
        found.mean_, found.unit_, found.directions_ = state["mean"], state["unit"], state["directions"]
        return found


def shrinkage_of(centred: Tensor) -> tuple[float, float]:
    """Centred rows `[N, D]` -> Ledoit and Wolf's shrinkage in [0, 1], and the mean variance of an entry.

    What needs D x D numbers in the paper's formula is a sum over pairs of rows: with S = X'X / N,
    ||S||² = ||XX'||² / N², and the sum over entries of mean(x_i² x_j²) is the mean of |x|⁴.
    """
    count, entries = centred.shape
    lengths = centred.square().sum(1)
    variance = float(lengths.mean()) / entries
    size = float((centred @ centred.T).square().sum()) / count**2
    noise = (float(lengths.square().mean()) - size) / count
    away = size - entries * variance**2
    return (1.0 if away <= 0 else min(1.0, max(0.0, noise / away))), variance
