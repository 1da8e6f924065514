"""What a combiner promises."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, Self, runtime_checkable

from torch import Tensor


class FeatureCombiner(Protocol):
    """Many extractors' features -> one tensor; M members, N images, C channels, h x w cells."""

    def fit(self, features: Iterable[Sequence[Tensor]]) -> Self:
        """Learn from batches of normal training features, each M tensors `[N, C_i, h_i, w_i]`; forgets the past."""
        ...

    def transform(self, features: Sequence[Tensor]) -> Tensor:
        """M tensors `[N, C_i, h_i, w_i]` -> `[N, C, h, w]`."""
        ...

    def state(self) -> dict[str, Tensor]:
        """All that `fit` learned, as named tensors."""
        ...

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Take back what `state` gave."""
        ...


class Calibration(Protocol):
    """Outputs of M detectors -> one scale."""

    def fit(self, normal: Tensor) -> Self:
        """Learn from values `[M, K]` of normal pictures, the same K pixels or pictures for every member."""
        ...

    def transform(self, values: Tensor) -> Tensor:
        """`[M, *shape]` -> the same shape; strictly rising in every member's value."""
        ...

    def state(self) -> dict[str, Tensor]:
        """All that `fit` learned, as named tensors."""
        ...

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Take back what `state` gave."""
        ...


class OutputCombiner(Protocol):
    """Calibrated outputs of M detectors -> one; maps and image scores alike, every pixel by itself."""

    def fit(self, normal: Tensor) -> Self:
        """Learn from calibrated values `[M, K]` of normal pictures; a fixed rule learns nothing."""
        ...

    def transform(self, values: Tensor) -> Tensor:
        """`[M, *shape]` -> `[*shape]`; higher is more anomalous."""
        ...

    def state(self) -> dict[str, Tensor]:
        """All that was learned, as named tensors."""
        ...

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Take back what `state` gave."""
        ...


@runtime_checkable
class Stacker(OutputCombiner, Protocol):
    """An output combiner that also learns from labelled values: of synthetic anomalies, never of the test split."""

    seed: int
    """Draws the examples, and whatever the training draws."""

    def learn(self, values: Tensor, labels: Tensor) -> Self:
        """Learn from calibrated values `[M, K]` and what they are, bool `[K]`: True is anomalous."""
        ...


def check_values(values: Tensor) -> Tensor:
    """Return `values` if they are finite numbers `[M, K]`, K of at least 1, else say what came.

    >>> import torch
    >>> check_values(torch.zeros(2, 5)).shape
    torch.Size([2, 5])
    """
    if values.ndim != 2 or min(values.shape) < 1:
        raise ValueError(f"expected values [M, K] of at least one member and picture, got {list(values.shape)}")
    if not values.isfinite().all():
        raise ValueError("expected finite values, got NaN or infinity")
    return values


def check_members(values: Tensor, members: int) -> Tensor:
    """Return `values` `[M, *shape]` if M is `members`, else say what came."""
    if values.ndim < 1 or len(values) != members:
        raise ValueError(f"expected the values of {members} detectors, [{members}, ...], got {list(values.shape)}")
    return values
