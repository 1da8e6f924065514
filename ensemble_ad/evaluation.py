"""All metrics of one class from its anomaly maps, and the JSON in which they are reported."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from data_loco import ClassFolder, Sample
from ensemble_ad.metrics import GOOD, LIMITS, PRO_LIMITS, PixelLevel, ScoredPicture, auroc, evaluate_pixels
from ensemble_ad.metrics.collection import PictureSummary

LOCO_TYPES = ("logical_anomalies", "structural_anomalies")
"""Reported always, as null where a class has no such picture."""

Progress = Callable[[int, int], None]
"""Called with pictures done and pictures to do; every picture is visited twice."""


@dataclass(frozen=True)
class DefectEvaluation:
    """One defect kind of one anomaly type."""

    type: str
    regions: int
    au_spro: Mapping[float, float]
    """By false positive limit, against the defect-free pixels of the type's pictures and all good ones."""
    image_auroc: float | None
    """The pictures that contain this kind against the good ones."""


@dataclass(frozen=True)
class Evaluation:
    """The metrics of one class, each per anomaly type; the mean is that of the types that are present."""

    levels: Mapping[str, PixelLevel]
    """Pixel metrics and the sPRO curve, by anomaly type."""
    image_auroc: Mapping[str, float | None]
    """By anomaly type, against the good pictures; None without any."""
    per_defect: Mapping[str, DefectEvaluation]
    """By defect kind; `type/kind` where two types have a kind of the same name."""

    @property
    def error_bound(self) -> float:
        """No pixel metric is further from its exact value; 0 when all defective scores fitted in memory."""
        return max((level.error_bound for level in self.levels.values()), default=0.0)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, strings and None by metric, limit and anomaly type; `error_bound` only where it is not 0."""
        report: dict[str, Any] = {
            "image_auroc": self._by_type(self.image_auroc),
            "pixel_auroc": self._of_levels(lambda level: level.pixel_auroc),
            "au_pr": self._of_levels(lambda level: level.au_pr),
            "f1_max": self._of_levels(lambda level: level.f1_max),
            "au_pro": self._by_limit(PRO_LIMITS, lambda level: level.au_pro),
            "au_spro": self._by_limit(LIMITS, lambda level: level.au_spro),
            "per_defect": {name: _defect_json(defect) for name, defect in self.per_defect.items()},
        }
        return report | ({"error_bound": self.error_bound} if self.error_bound > 0 else {})

    def _of_levels(self, value: Callable[[PixelLevel], float]) -> dict[str, float | None]:
        return self._by_type({kind: value(level) for kind, level in self.levels.items()})

    def _by_limit(
        self, limits: Sequence[float], areas: Callable[[PixelLevel], Mapping[float, float]]
    ) -> dict[str, dict[str, float | None]]:
        by_type = {kind: areas(level) for kind, level in self.levels.items()}
        return {str(x): self._by_type({kind: area[x] for kind, area in by_type.items()}) for x in limits}

    def _by_type(self, values: Mapping[str, float | None]) -> dict[str, float | None]:
        """The values with LOCO's types first and the mean of those present last."""
        complete = dict.fromkeys(LOCO_TYPES) | dict(values)
        present = [value for value in complete.values() if value is not None]
        return complete | {"mean": fmean(present) if present else None}


def evaluate_class(
    class_folder: ClassFolder,
    maps: Callable[[Sample], np.ndarray],
    scores: Mapping[str, float] | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Every metric over the test pictures of a class.

    Args:
        class_folder: the ground truth.
        maps: gives a picture's map [H, W] at the picture's original size, since saturation areas are in its pixels.
            Called twice per picture, one picture at a time, so maps may be read lazily.
        scores: image score by "kind/id", such as "good/000". Without them the highest score of each map, as MVTec does.
        progress: told after every picture.

    Raises:
        ValueError: a map of another size or with NaN or infinity, or a picture without a score; names the picture.
        DataError: a mask that cannot be used.
    """

    def pictures() -> Iterator[ScoredPicture]:
        return (_scored(sample, maps(sample)) for sample in class_folder.test)

    watched = _watched(pictures, 2 * len(class_folder.test), progress) if progress else pictures
    levels, collection = evaluate_pixels(watched)
    image_scores = _image_scores(collection.pictures, scores)
    return Evaluation(
        levels=levels,
        image_auroc={kind: _image_auroc(image_scores, kind) for kind in levels},
        per_defect=_per_defect(levels, image_scores),
    )


def _scored(sample: Sample, scores: np.ndarray) -> ScoredPicture:
    if scores.shape != sample.shape():
        raise ValueError(
            f"picture {sample.kind}/{sample.id}: expected a map of its original size {list(sample.shape())}, "
            f"got {list(scores.shape)}"
        )
    return ScoredPicture(sample.kind, sample.id, scores, sample.defects())


def _watched(
    pictures: Callable[[], Iterator[ScoredPicture]], total: int, progress: Progress
) -> Callable[[], Iterator[ScoredPicture]]:
    done = 0

    def watched() -> Iterator[ScoredPicture]:
        nonlocal done
        for picture in pictures():
            yield picture
            done += 1
            progress(done, total)

    return watched


ImageScores = Sequence[tuple[PictureSummary, float]]


def _image_scores(pictures: Sequence[PictureSummary], scores: Mapping[str, float] | None) -> ImageScores:
    if scores is None:
        return [(picture, picture.maximum) for picture in pictures]
    missing = [key for picture in pictures if (key := f"{picture.kind}/{picture.name}") not in scores]
    if missing:
        listed = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
        raise ValueError(f"expected an image score for every picture, got none for {len(missing)} of them: {listed}")
    return [(picture, float(scores[f"{picture.kind}/{picture.name}"])) for picture in pictures]


def _image_auroc(scores: ImageScores, kind: str, defect: str | None = None) -> float | None:
    """AUROC of good pictures against those of a type, or those among them that contain a defect kind."""
    good = [score for picture, score in scores if picture.kind == GOOD]
    anomalous = [
        score for picture, score in scores if picture.kind == kind and (not defect or defect in picture.defects)
    ]
    return auroc(np.array(good), np.array(anomalous)) if good else None


def _per_defect(levels: Mapping[str, PixelLevel], scores: ImageScores) -> dict[str, DefectEvaluation]:
    names = [name for level in levels.values() for name in level.per_defect]
    found = {}
    for kind, level in levels.items():
        for name, defect in level.per_defect.items():
            key = name if names.count(name) == 1 else f"{kind}/{name}"
            image_auroc = _image_auroc(scores, kind, name)
            found[key] = DefectEvaluation(kind, defect.regions, defect.au_spro, image_auroc)
    return found


def _defect_json(defect: DefectEvaluation) -> dict[str, Any]:
    return {
        "type": defect.type,
        "regions": defect.regions,
        "au_spro": {str(limit): value for limit, value in defect.au_spro.items()},
        "image_auroc": defect.image_auroc,
    }
