"""One record under resampling: every metric, exactly as reported and in each resampled test set."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ensemble_ad.comparison.bootstrap import Weights, draw, image_auroc, pixel_metrics
from ensemble_ad.comparison.contributions import Pieces
from ensemble_ad.comparison.delong import Placements, placements
from ensemble_ad.comparison.grid import STEPS
from ensemble_ad.comparison.reading import Record
from ensemble_ad.console import headline
from ensemble_ad.errors import ConfigError
from ensemble_ad.metrics import GOOD

MEAN = "mean"
"""Over the anomaly types of a class, each weighing alike."""
IMAGE_AUROC = "image AUROC"

Measure = tuple[str, str]
"""Metric, by its heading in our tables, and anomaly type."""


@dataclass(frozen=True, eq=False)
class Resampled:
    """The metrics of one record."""

    exact: Mapping[Measure, float]
    """As result.json has them."""
    values: Mapping[Measure, np.ndarray]
    """In each resample, [B]."""
    placements: Mapping[str, Placements]
    """Of the image scores, by anomaly type."""
    clear: Mapping[str, np.ndarray]
    """Defect-free pixels of each picture, by anomaly type: equal for all records of a class."""


def weights_of(record: Record, resamples: int, seed: int) -> dict[str, np.ndarray]:
    """Draw pictures for the class of a record: the same for all records of the class, and of no other one."""
    counts = {kind: scores.size for kind, scores in record.scores().items()}
    return draw(counts, resamples, [seed, zlib.crc32(record.class_name.encode())])


def resample(record: Record, weights: Weights) -> Resampled:
    """Return every metric of a record under weights [B, n] by kind.

    Raises ConfigError when the record's files contradict one another.
    """
    exact = {
        (metric, kind): float(value)
        for metric, by_type in headline(record.result)
        for kind, value in by_type.items()
        if value is not None
    }
    scores, pieces = record.scores(), record.pieces()
    _refuse_contradiction(record, exact, pieces)
    values: dict[Measure, np.ndarray] = {}
    for kind, of_kind in pieces.items():
        if GOOD in scores:
            values[IMAGE_AUROC, kind] = image_auroc(weights, scores, kind)
        for metric, resampled in pixel_metrics(weights, of_kind, kind).items():
            values[metric, kind] = resampled
    values |= _means(values)
    return Resampled(
        {measure: value for measure, value in exact.items() if measure in values},
        {measure: resampled for measure, resampled in values.items() if measure in exact},
        {kind: placements(scores[GOOD], scores[kind]) for kind in pieces if GOOD in scores},
        {kind: of_kind.false[:, -1] for kind, of_kind in pieces.items()},
    )


def fewest_pictures(record: Record, kind: str) -> int:
    """Return the size of the smallest group of pictures that a type's metrics rest on; of all, for the mean."""
    sizes = {name: scores.size for name, scores in record.scores().items()}
    return min(size for name, size in sizes.items() if kind == MEAN or name in (GOOD, kind))


def _means(values: Mapping[Measure, np.ndarray]) -> dict[Measure, np.ndarray]:
    metrics = dict.fromkeys(metric for metric, _ in values)
    return {
        (metric, MEAN): np.mean([one for (name, _), one in values.items() if name == metric], axis=0)
        for metric in metrics
    }


def _refuse_contradiction(record: Record, exact: Mapping[Measure, float], pieces: Mapping[str, Pieces]) -> None:
    """Raise ConfigError unless the pieces give the areas that the record reports."""
    for kind, of_kind in pieces.items():
        everything = {GOOD: np.ones((1, of_kind.good)), kind: np.ones((1, len(of_kind.spro)))}
        for metric, found in pixel_metrics(everything, of_kind, kind).items():
            reported = exact.get((metric, kind))
            bounded = metric.startswith("AU-sPRO")
            if bounded and (reported is None or abs(reported - found[0]) > 1 / (2 * STEPS)):
                raise ConfigError(
                    f"{record.folder}: result.json and contributions.npz contradict each other ({metric}, {kind}: "
                    f"{reported} and {found[0]:.4f}); repeat the run that made it"
                )
