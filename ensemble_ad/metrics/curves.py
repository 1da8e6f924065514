"""The sPRO curve of an anomaly type, thinned for a figure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ensemble_ad.metrics.ranked import RankedScores
from ensemble_ad.metrics.survival import Survival

POINTS = 1000
"""Most points of a curve: neighbours of a rising curve are at most 0.005 apart."""


@dataclass(frozen=True, eq=False)
class Curve:
    """Points of mean sPRO over the false positive rate, thresholds falling, straight lines in between."""

    fpr: np.ndarray
    """[P] ascending from 0 to 1."""
    spro: np.ndarray
    """[P] ascending in [0, 1]."""


def spro_curve(regions: Sequence[tuple[RankedScores, int]], negatives: Survival, points: int = POINTS) -> Curve:
    """Mean sPRO of regions against the rate of defect-free scores.

    Args:
        regions: the highest scores of each region and its saturation area.
        negatives: counts of defect-free scores at thresholds that contain every score of `regions`.
        points: how many to give at most.

    >>> free = Survival(np.array([3.0])).add(np.array([1.0, 2.0, 4.0, 5.0]))
    >>> curve = spro_curve([(RankedScores.of(np.array([3.0])), 1)], free)
    >>> curve.fpr.tolist(), curve.spro.tolist()
    ([0.0, 0.5, 0.5, 1.0], [0.0, 0.0, 1.0, 1.0])
    """
    rise = np.zeros(negatives.thresholds.size)
    for scores, saturation in regions:
        at = np.searchsorted(negatives.thresholds, scores.values)
        np.add.at(rise, at, scores.weights() / (saturation * len(regions)))
    reached = np.minimum(np.cumsum(rise[::-1])[::-1], 1.0)
    kept = _evenly_spaced(negatives.at_least / negatives.total + reached, (points - 2) // 2)
    fpr = np.stack(negatives.rates(kept), axis=1).ravel()
    spro = np.stack([np.maximum(reached[kept] - rise[kept], 0), reached[kept]], axis=1).ravel()
    # The first and last points are those of thresholds above and below every score.
    return Curve(np.concatenate([[0.0], fpr, [1.0]]), np.concatenate([[0.0], spro, spro[-1:]]))


def _evenly_spaced(travelled: np.ndarray, count: int) -> np.ndarray:
    """Indices, descending, of at most `count` entries about equally far apart in `travelled`, which descends."""
    if travelled.size <= count:
        return np.arange(travelled.size)[::-1]
    wanted = np.linspace(travelled[-1], travelled[0], count)
    reached = np.searchsorted(travelled[::-1], wanted).clip(max=travelled.size - 1)
    return travelled.size - 1 - np.unique(reached)
