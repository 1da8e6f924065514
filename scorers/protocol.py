"""What every global scorer promises; tests/test_scorer_contract.py holds each entry of SCORERS to it."""

from collections.abc import Iterable, Mapping
from typing import Protocol, Self

from torch import Tensor


class GlobalScorer(Protocol):
    """Judges the picture as a whole: parts that are normal one by one may be wrong together.

    The half of `extractors.protocol.Method` that decides. It has no `features`: what it sees does not lie in single
    cells, so it can be a member of output ensembles, or stand alone, but not be fused cell by cell.
    """

    def check(self) -> None:
        """Raise ValueError for parameters out of range, at once and before any picture is read; `fit` does it first."""
        ...

    def fit(self, images: Iterable[Tensor]) -> Self:
        """Learn from batches of normal images `[N, 3, H, W]` that can be iterated more than once; forgets the past."""
        ...

    def detect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """`[N, 3, H, W]` -> maps `[N, H, W]` that say where, and image scores `[N]`; higher is more anomalous."""
        ...

    def anomaly_map(self, images: Tensor) -> Tensor:
        """`[N, 3, H, W]` -> `[N, H, W]`: the first half of `detect`."""
        ...

    def image_score(self, images: Tensor) -> Tensor:
        """`[N, 3, H, W]` -> `[N]`: the second half of `detect`."""
        ...

    def state(self) -> dict[str, Tensor]:
        """All that `fit` learned, as named tensors for a safetensors file."""
        ...

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Take back what `state` gave; the results afterwards are bit-identical."""
        ...
