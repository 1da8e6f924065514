"""What every extractor promises; tests/test_extractor_contract.py holds each entry of EXTRACTORS to it."""

from collections.abc import Iterable, Mapping
from typing import Protocol, Self

from torch import Tensor


class Extractor(Protocol):
    """A method cut before its decision layer.

    Images are RGB float32 in [0, 1], `[N, 3, H, W]`; each extractor normalises for itself. A batch of four gives what a
    batch of one and a batch of three give.
    """

    @property
    def channels(self) -> int:
        """C of `features`, known before `fit`."""
        ...

    @property
    def stride(self) -> int:
        """Image pixels per feature cell along each axis, known before `fit`."""
        ...

    def check(self) -> None:
        """Raise ValueError for parameters out of range, at once and before any picture is read; `fit` does it first."""
        ...

    def fit(self, images: Iterable[Tensor]) -> Self:
        """Learn from batches of normal images that can be iterated more than once; a second fit forgets the first."""
        ...

    def features(self, images: Tensor) -> Tensor:
        """`[N, 3, H, W]` -> `[N, C, ceil(H / stride), ceil(W / stride)]`, without gradient."""
        ...

    def state(self) -> dict[str, Tensor]:
        """All that `fit` learned, as named tensors for a safetensors file."""
        ...

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Take back what `state` gave; the results afterwards are bit-identical."""
        ...


class Method(Extractor, Protocol):
    """An extractor that still has its own head: usable alone, in a survey and in output ensembles."""

    def detect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """`[N, 3, H, W]` -> anomaly maps `[N, H, W]` and image scores `[N]` by the method's published rule.

        Higher is more anomalous. Both come from one pass, because several published rules score the image from what
        the map no longer shows (PatchCore: the unsmoothed grid; CS-Flow: all scales).
        """
        ...

    def anomaly_map(self, images: Tensor) -> Tensor:
        """`[N, 3, H, W]` -> `[N, H, W]`: the first half of `detect`."""
        ...

    def image_score(self, images: Tensor) -> Tensor:
        """`[N, 3, H, W]` -> `[N]`: the second half of `detect`."""
        ...


class Scoring:
    """Gives a class that has `detect` its two halves by name."""

    def detect(self, images: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002, it is replaced
        """See `Method.detect`; the class that mixes this in replaces it."""
        raise TypeError(f"{type(self).__name__} mixes in Scoring and must define detect(images)")

    def anomaly_map(self, images: Tensor) -> Tensor:
        """`[N, 3, H, W]` -> `[N, H, W]`; higher is more anomalous."""
        return self.detect(images)[0]

    def image_score(self, images: Tensor) -> Tensor:
        """`[N, 3, H, W]` -> `[N]`; higher is more anomalous."""
        return self.detect(images)[1]


def check_images(images: Tensor) -> Tensor:
    """Return `images` if they are `[N, 3, H, W]` floating point numbers, else say what came.

    >>> import torch
    >>> check_images(torch.zeros(2, 3, 8, 8)).shape
    torch.Size([2, 3, 8, 8])
    """
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise ValueError(f"expected RGB images [N, 3, H, W] in [0, 1], got {list(images.shape)} {images.dtype}")
    return images


def check_fitted(component: object, learned: object) -> None:
    """Raise RuntimeError unless `learned`, a field that `fit` sets, is there."""
    if learned is None:
        raise RuntimeError(f"{type(component).__name__} is not fitted: call fit(images) or restore(state) first")
