"""At which thresholds the curves of resampled test sets are followed: few, and dense where areas depend on them.

A curve between two thresholds is taken as a straight line. In a cell that is d wide in false positive rate and rises by
r this misses the area by at most d r / 2. Widths d <= max(x, LINEAR) / STEPS at the rate x therefore bound the error of
an area up to any limit >= LINEAR, divided by the limit, by 1 / (2 STEPS). A curve would have to have a corner in every
cell to get there; see `contributions` for what is measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LINEAR = 0.01
"""False positive rate up to which thresholds are evenly spaced: the smallest limit of AU-sPRO."""
STEPS = 96
"""Thresholds below that rate; above it their spacing grows in proportion to the rate."""
RARE_STEPS = 10
"""How often the lowest of these rates is halved further: precision, unlike an area, depends on the first few pixels."""
REGION_STEPS = 64
"""Thresholds at evenly spaced ranks of the scores inside regions, so that a few steep regions are followed too."""
DENSE = 1024
"""Highest scores of a picture that are all kept; further down the kept ranks grow by a factor of 1 + 1 / DENSE."""
TIED = 4
"""How often a score occurs among those kept until it is taken for a tie that is not by accident."""


@dataclass(frozen=True, eq=False)
class Tail:
    """The scores of one picture in brief: exact at the top, a thousandth of their rank apart further down."""

    values: np.ndarray
    """[q] descending."""
    weights: np.ndarray
    """[q] how many scores each stands for: itself and those left out since the one before it."""

    @classmethod
    def of(cls, scores: np.ndarray) -> "Tail":
        """From all scores [n], ascending.

        >>> Tail.of(np.array([1.0, 2.0, 2.0])).values.tolist()
        [2.0, 2.0, 1.0]
        """
        ranks = _falling_ranks(scores.size)
        return cls(scores[scores.size - 1 - ranks], np.diff(ranks, prepend=-1))


def thresholds(clear: Sequence[Tail], regions: Sequence[np.ndarray]) -> np.ndarray:
    """Return [T] descending and distinct, from infinity to minus infinity, in the scores' type.

    A score that several of the wanted thresholds fall on, or that occurs `TIED` times, gets a cell of its own: the next
    lower number is a threshold, too.

    Args:
        clear: of the defect-free pixels of each picture.
        regions: the scores [s] inside each region, ascending; regions weigh alike.
    """
    tails = np.sort(np.concatenate([tail.values for tail in clear]))
    picked, times = np.unique(np.concatenate([_at_rates(clear), _at_ranks(regions)]), return_counts=True)
    occurring = np.searchsorted(tails, picked, "right") - np.searchsorted(tails, picked, "left")
    lowest = np.array(-np.inf, picked.dtype)
    inner = np.union1d(picked, np.nextafter(picked[(times > 1) | (occurring >= TIED)], lowest))
    return np.concatenate([[-lowest], inner[::-1], [lowest]]).astype(picked.dtype)


def _falling_ranks(count: int) -> np.ndarray:
    """Ranks from 0, the highest score, to count - 1."""
    if count <= DENSE:
        return np.arange(count)
    further = np.geomspace(DENSE, count - 1, int(DENSE * np.log(count / DENSE)) + 2)
    ranks = np.concatenate([np.arange(DENSE), np.rint(further).astype(np.int64)])
    return ranks[np.diff(ranks, prepend=-1) > 0]


def _at_rates(tails: Sequence[Tail]) -> np.ndarray:
    """Scores at which the pooled false positive rate is about one of the wanted rates."""
    values = np.concatenate([tail.values for tail in tails])
    weights = np.concatenate([tail.weights for tail in tails])
    falling = np.argsort(values)[::-1]
    reached = np.cumsum(weights[falling])
    first = LINEAR / STEPS
    rare = np.geomspace(first / 2**RARE_STEPS, first, 2 * RARE_STEPS, endpoint=False)
    even = np.arange(1, STEPS) * first
    wide = np.geomspace(LINEAR, 1, int(STEPS * np.log(1 / LINEAR)) + 1)
    wanted = np.concatenate([[0], rare, even, wide]) * reached[-1]
    return values[falling][np.searchsorted(reached, wanted).clip(max=values.size - 1)]


def _at_ranks(regions: Sequence[np.ndarray]) -> np.ndarray:
    """Scores at which mean sPRO has risen by one more of `REGION_STEPS` equal steps."""
    values = np.concatenate(list(regions))
    shares = np.concatenate([np.full(scores.size, 1 / scores.size) for scores in regions])
    rising = np.argsort(values)
    reached = np.cumsum(shares[rising]) / len(regions)
    wanted = np.linspace(0, 1, REGION_STEPS + 1)
    return values[rising][np.searchsorted(reached, wanted).clip(max=values.size - 1)]
