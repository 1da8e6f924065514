"""Anything that can say where an image is abnormal is a detector, and an ensemble of extractors is one."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Generic, Literal, Protocol, Self, TypeVar

from torch import Tensor

from combiners import FEATURE_COMBINERS
from combiners.protocol import FeatureCombiner
from ensemble_ad.discriminator import Discriminator
from ensemble_ad.prediction import Prediction
from extractors.backbone import backbone_of, sharing
from extractors.protocol import Extractor, Method
from extractors.smoothing import PUBLISHED_SIGMA, to_picture

Item = TypeVar("Item")
Result = TypeVar("Result")

TOP_SHARE = 0.01
"""Share of the cells whose mean is the `top_mean` image score."""


class Detector(Protocol):
    """Fitted on normal images only: there is no argument through which a test image could come in."""

    def fit(self, images: Iterable[Tensor], validation: Iterable[Tensor]) -> Self:
        """Learn from batches of normal images; `validation` (normal too) sets scales where a detector has any."""
        ...

    def predict(self, images: Tensor) -> Prediction:
        """`[N, 3, H, W]` in [0, 1] -> scores `[N]` and maps `[N, H, W]`."""
        ...


@dataclass(eq=False)
class Standalone:
    """One published method with its own decision layer and its own scoring rule."""

    method: Method
    """A fitted or unfitted method."""

    def fit(self, images: Iterable[Tensor], validation: Iterable[Tensor]) -> Self:  # noqa: ARG002
        """Fit the method."""
        self.method.fit(images)
        return self

    def predict(self, images: Tensor) -> Prediction:
        """The method's maps and image scores."""
        maps, scores = self.method.detect(images)
        return Prediction(scores, maps)


@dataclass(eq=False)
class FeatureEnsemble:
    """Truncated extractors -> transformation block -> discriminator."""

    extractors: Sequence[Extractor]
    """The members, fitted or not."""
    combiner: FeatureCombiner = field(default_factory=FEATURE_COMBINERS["global"])
    """Brings their features together."""
    discriminator: Discriminator = field(default_factory=Discriminator)
    """Scores the combined features, cell by cell."""
    sigma: float = PUBLISHED_SIGMA
    """Gaussian smoothing of the map, in pixels."""
    image_score: Literal["maximum", "top_mean"] = "maximum"
    """Largest cell score, or the mean of the top 1 % of the cells."""

    def fit(self, images: Iterable[Tensor], validation: Iterable[Tensor]) -> Self:  # noqa: ARG002
        """Fit each extractor by its own recipe, then the head on their features."""
        with sharing_of(self.extractors):
            for extractor in self.extractors:
                extractor.fit(images)
        return self.fit_head(Each(images, self.features))

    def predict(self, images: Tensor) -> Prediction:
        """Fused maps and image scores."""
        return self.judge(self.features(images), (images.shape[2], images.shape[3]))

    def features(self, images: Tensor) -> list[Tensor]:
        """`[N, 3, H, W]` -> each member's features."""
        with sharing_of(self.extractors):
            return [extractor.features(images) for extractor in self.extractors]

    def fit_head(self, features: Iterable[Sequence[Tensor]]) -> Self:
        """Fit combiner and discriminator on features of normal images; the extractors stay as they are."""
        self.combiner.fit(features)
        self.discriminator.fit(Each(features, self.combiner.transform))
        return self

    def judge(self, features: Sequence[Tensor], size: tuple[int, int]) -> Prediction:
        """Members' features of N pictures of `size` (H, W) -> their prediction."""
        cells = self.discriminator.score(self.combiner.transform(features))
        return Prediction(picture_scores(cells, self.image_score), to_picture(cells, size, self.sigma))


def picture_scores(cells: Tensor, rule: Literal["maximum", "top_mean"]) -> Tensor:
    """`[N, h, w]` -> `[N]`: the largest cell, or the mean of the top 1 % (at least one cell).

    >>> import torch
    >>> picture_scores(torch.arange(4.0).view(1, 2, 2), "maximum")
    tensor([3.])
    """
    flat = cells.flatten(1)
    if rule == "maximum":
        return flat.amax(1)
    return flat.topk(max(1, round(flat.shape[1] * TOP_SHARE)), dim=1).values.mean(1)


def sharing_of(extractors: Iterable[Extractor]) -> AbstractContextManager[None]:
    """Let extractors that read the same frozen network share its passes."""
    return sharing([backbone_of(vars(extractor)) for extractor in extractors])


@dataclass(frozen=True)
class Each(Generic[Item, Result]):
    """A re-iterable of `change(item)`, one at a time."""

    items: Iterable[Item]
    change: Callable[[Item], Result]

    def __iter__(self) -> Iterator[Result]:
        return (self.change(item) for item in self.items)

    def __len__(self) -> int:
        return len(self.items)  # type: ignore[arg-type]
