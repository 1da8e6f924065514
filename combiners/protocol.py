"""What a combiner promises."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, Self

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
