"""Anything that can say where an image is abnormal is a detector, and an ensemble of extractors or detectors is one."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Annotated, Generic, Literal, Protocol, Self, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from combiners import CALIBRATIONS, FEATURE_COMBINERS, OUTPUT_COMBINERS
from combiners.calibrated import Calibrated
from combiners.protocol import Calibration, FeatureCombiner, OutputCombiner, Stacker
from ensemble_ad.discriminator import Discriminator
from ensemble_ad.output_samples import Labelled, no_anomalies, picture_examples, pixel_examples, pixel_values
from ensemble_ad.prediction import Prediction, joined
from extractors.backbone import backbone_of, sharing
from extractors.protocol import Extractor, Method
from extractors.smoothing import PUBLISHED_SIGMA, to_picture
from scorers.map_descriptors import MapDescriptors

Item = TypeVar("Item")
Result = TypeVar("Result")

CellsOf = Callable[[tuple[int, int]], Tensor]
"""A grid (h, w) -> bool `[N, h, w]`."""

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
    sigma: Annotated[float, Field(ge=0, allow_inf_nan=False)] = PUBLISHED_SIGMA
    """Gaussian smoothing of the map, in pixels."""
    image_score: Literal["maximum", "top_mean"] = "maximum"
    """Largest cell score, or the mean of the top 1 % of the cells."""

    def fit(self, images: Iterable[Tensor], validation: Iterable[Tensor]) -> Self:  # noqa: ARG002
        """Fit each extractor by its own recipe, then the head on their features.

        Raises ValueError where the discriminator wants edited pictures: those are made from files, see `fit_head`.
        """
        if self.discriminator.edits:
            raise ValueError("discriminator: edits: edited pictures are made from files; fit through Stages or `run`")
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

    def fit_head(
        self, features: Iterable[Sequence[Tensor]], edited: Iterable[tuple[Sequence[Tensor], CellsOf]] = ()
    ) -> Self:
        """Fit combiner and discriminator on features of normal images; the extractors stay as they are.

        `edited` brings features of edited pictures, and for a grid (h, w) which of their cells the edit changed.
        """
        self.combiner.fit(features)
        transformed = ((self.combiner.transform(members), cells_of) for members, cells_of in edited)
        negatives = [(maps, cells_of((maps.shape[2], maps.shape[3]))) for maps, cells_of in transformed]
        self.discriminator.fit(Each(features, self.combiner.transform), negatives)
        return self

    def judge(self, features: Sequence[Tensor], size: tuple[int, int]) -> Prediction:
        """Members' features of N pictures of `size` (H, W) -> their prediction."""
        cells = self.discriminator.score(self.combiner.transform(features))
        return Prediction(picture_scores(cells, self.image_score), to_picture(cells, size, self.sigma))


@dataclass(eq=False)
class OutputEnsemble:
    """Detectors -> calibrated maps and image scores -> one map and one score; ensembles may be members."""

    detectors: Sequence[Detector]
    """The members, fitted or not."""
    combiner: OutputCombiner = field(default_factory=OUTPUT_COMBINERS["mean"])
    """Combines the maps, pixel by pixel."""
    score_combiner: OutputCombiner | None = None
    """Combines the image scores; None is another of the same kind as `combiner`."""
    calibration: Calibration = field(default_factory=CALIBRATIONS["robust"])
    """Brings the members' maps to one scale."""
    score_calibration: Calibration | None = None
    """Brings their image scores to one scale; None is another of the same kind as `calibration`."""
    folds: Annotated[int, Field(ge=2)] | None = None
    """None calibrates on validation pictures. A number calibrates on training pictures instead: in so many parts, each
    judged by members that were fitted on the rest; as many as there are training pictures is leave-one-out."""
    maps_: Calibrated = field(init=False, repr=False)
    """Learned by fit."""
    scores_: Calibrated = field(init=False, repr=False)
    """Learned by fit."""

    def __post_init__(self) -> None:
        self.maps_ = Calibrated(deepcopy(self.calibration), deepcopy(self.combiner))
        self.scores_ = Calibrated(
            deepcopy(self.score_calibration or self.calibration), deepcopy(self.score_combiner or self.combiner)
        )

    def fit(self, images: Iterable[Tensor], validation: Iterable[Tensor]) -> Self:
        """Fit each member by its own recipe, then the rules on what the members say about unseen normal images.

        Raises ValueError where a rule is a stacker: it needs synthetic anomalies, see `fit_rules`.
        """
        if isinstance(self.maps_.combiner, Stacker) or isinstance(self.scores_.combiner, Stacker):
            no_anomalies(0)
        if self.folds is None:
            self._fit_members(images, validation)
            return self.fit_rules(self._say(validation))
        pictures, said = torch.cat(list(images)), []
        for rest, part in folds_of(len(pictures), self.folds):
            self._fit_members([pictures[rest]], validation)
            said.append(self._say([pictures[part]]))
        self._fit_members(images, validation)
        return self.fit_rules([joined(list(parts)) for parts in zip(*said)])

    def predict(self, images: Tensor) -> Prediction:
        """Combined maps and image scores."""
        with sharing_of(extractors_in(self)):
            return self.fuse([detector.predict(images) for detector in self.detectors])

    def fit_rules(self, normal: Sequence[Prediction], synthetic: Callable[[int], Labelled] = no_anomalies) -> Self:
        """Learn calibrations and combiners from each member's prediction of the same unseen normal pictures.

        Stackers get what `synthetic(seed)` gives: predictions of anomalies that were made from normal pictures.
        """
        self.maps_.fit(pixel_values([member.maps for member in normal]))
        self.scores_.fit(torch.stack([member.scores for member in normal]))
        if isinstance(self.maps_.combiner, Stacker):
            seed = self.maps_.combiner.seed
            self.maps_.learn(*pixel_examples(synthetic(seed), seed))
        if isinstance(self.scores_.combiner, Stacker):
            self.scores_.learn(*picture_examples(synthetic(self.scores_.combiner.seed)))
        return self

    def fuse(self, members: Sequence[Prediction]) -> Prediction:
        """Each member's prediction of the same N pictures -> the ensemble's."""
        maps = self.maps_.transform(torch.stack([member.maps for member in members]))
        return Prediction(self.scores_.transform(torch.stack([member.scores for member in members])), maps)

    def _fit_members(self, images: Iterable[Tensor], validation: Iterable[Tensor]) -> None:
        with sharing_of(extractors_in(self)):
            for detector in self.detectors:
                detector.fit(images, validation)

    def _say(self, pictures: Iterable[Tensor]) -> list[Prediction]:
        """Each member's prediction of all batches."""
        batches = list(pictures)
        if not batches:
            raise ValueError("expected normal validation pictures to calibrate on, got none; set folds")
        with sharing_of(extractors_in(self)):
            return [joined([detector.predict(images) for images in batches]) for detector in self.detectors]


@dataclass(eq=False)
class DescribedMaps:
    """A detector whose pictures are scored by what its maps look like; the maps stay as they are."""

    detector: Detector
    """The member, fitted or not."""
    top: Annotated[float, Field(gt=0, le=1)] = 0.01
    """Share of the pixels whose mean is one of the descriptors."""
    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.99
    """Share of the normal pixels below the threshold of area and regions."""
    descriptors_: MapDescriptors = field(init=False, repr=False)
    """Learned by fit."""

    def __post_init__(self) -> None:
        self.descriptors_ = MapDescriptors(self.top, self.quantile)

    def fit(self, images: Iterable[Tensor], validation: Iterable[Tensor]) -> Self:
        """Fit the member, then the descriptors on what it says about unseen normal images."""
        self.detector.fit(images, validation)
        batches = [self.detector.predict(pictures).maps for pictures in validation]
        if not batches:
            raise ValueError("expected normal validation pictures to learn map descriptors from, got none")
        self.descriptors_.fit(torch.cat(batches))
        return self

    def predict(self, images: Tensor) -> Prediction:
        """The member's maps, and image scores from their descriptors."""
        return self.judge(self.detector.predict(images))

    def judge(self, member: Prediction) -> Prediction:
        """What the member says about some pictures -> what this detector does."""
        return Prediction(self.descriptors_.score(member.maps), member.maps)


def folds_of(count: int, folds: int) -> list[tuple[list[int], list[int]]]:
    """Return for each fold which of 0 .. `count` - 1 to fit on and which to judge; raises ValueError for a bad number.

    >>> folds_of(5, 2)
    [([1, 3], [0, 2, 4]), ([0, 2, 4], [1, 3])]
    """
    if not 2 <= folds <= count:
        raise ValueError(f"expected folds from 2 to {count}, the number of training pictures, got {folds}")
    judged = [range(first, count, folds) for first in range(folds)]
    return [([number for number in range(count) if number not in part], list(part)) for part in judged]


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


def extractors_in(detector: Detector) -> list[Extractor]:
    """Return every extractor of a detector, those of nested members too."""
    if isinstance(detector, OutputEnsemble):
        return [extractor for member in detector.detectors for extractor in extractors_in(member)]
    if isinstance(detector, DescribedMaps):
        return extractors_in(detector.detector)
    if isinstance(detector, FeatureEnsemble):
        return list(detector.extractors)
    return [detector.method] if isinstance(detector, Standalone) else []


@dataclass(frozen=True)
class Each(Generic[Item, Result]):
    """A re-iterable of `change(item)`, one at a time."""

    items: Iterable[Item]
    change: Callable[[Item], Result]

    def __iter__(self) -> Iterator[Result]:
        return (self.change(item) for item in self.items)

    def __len__(self) -> int:
        return len(self.items)  # type: ignore[arg-type]
