"""Tests over classes: does a detector win on more classes, and by more, than chance would give?

After Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets" (JMLR 2006): Wilcoxon's signed ranks for
a pair, with Holm's correction where there are several pairs; Friedman's test for all detectors together, with Nemenyi's
critical difference of average ranks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

FEWEST_CLASSES = 5
FEWEST_DETECTORS = 3
"""What Friedman's test is asked for at least; below that its distribution says nothing."""


@dataclass(frozen=True)
class SignedRanks:
    """Wilcoxon's signed-rank test of paired values."""

    positive: float
    """Sum of the ranks of the positive differences; zeros are split evenly."""
    negative: float
    p: float
    """Two-sided, exact: over all ways to give the differences that are not zero their signs."""


def signed_ranks(differences: Sequence[float]) -> SignedRanks:
    """Test differences [n] of paired values, n >= 1; ties and zeros included, all of them exact.

    >>> signed_ranks([1.0, 2.0, 3.0, 4.0, 5.0])
    SignedRanks(positive=15.0, negative=0.0, p=0.0625)
    """
    values = np.asarray(differences, float)
    ranks = stats.rankdata(np.abs(values))
    positive, zeros, negative = (float(ranks[np.sign(values) == sign].sum()) for sign in (1, 0, -1))
    p = _exact_p(ranks[values != 0], min(positive, negative))
    return SignedRanks(positive + zeros / 2, negative + zeros / 2, p)


def smallest_p(classes: int) -> float:
    """Return the p-value of a detector that wins on every class: no result can be clearer.

    >>> smallest_p(5)
    0.0625
    """
    return min(1.0, 2.0 ** (1 - classes))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values so that the chance of any false finding among them stays below the level (Holm, 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, float)
    rising = np.argsort(values, kind="stable")
    steps = np.maximum.accumulate(values[rising] * np.arange(values.size, 0, -1))
    adjusted = np.empty_like(values)
    adjusted[rising] = np.minimum(steps, 1)
    return [float(value) for value in adjusted]


@dataclass(frozen=True)
class Friedman:
    """Whether average ranks over classes differ at all, and by how much two of them have to."""

    classes: int
    average_ranks: tuple[float, ...]
    """Of each detector; 1 would be best everywhere."""
    chi_squared: float
    p: float
    """Of Iman and Davenport's F, which Friedman's chi-squared is too cautious for (Demšar, section 3.2.2)."""
    critical_difference: float
    """Nemenyi's: average ranks closer than this cannot be told apart."""


def friedman(values: np.ndarray, level: float = 0.95) -> Friedman:
    """Test values [classes, detectors], higher is better; equal ones share the mean of their ranks.

    Without correction for ties, as in Demšar's equations: with ties it finds less, never more.
    """
    classes, detectors = values.shape
    average = stats.rankdata(-values, axis=1).mean(axis=0)
    spread = float(np.sum(average**2)) - detectors * (detectors + 1) ** 2 / 4
    chi_squared = 12 * classes / (detectors * (detectors + 1)) * spread
    return Friedman(
        classes,
        tuple(float(rank) for rank in average),
        chi_squared,
        _iman_davenport(chi_squared, classes, detectors),
        critical_difference(classes, detectors, level),
    )


def critical_difference(classes: int, detectors: int, level: float = 0.95) -> float:
    """Return Nemenyi's critical difference of average ranks.

    >>> round(critical_difference(classes=14, detectors=4), 2)
    1.25
    """
    studentised = float(stats.studentized_range.ppf(level, detectors, np.inf)) / np.sqrt(2)
    return float(studentised * np.sqrt(detectors * (detectors + 1) / (6 * classes)))


def _iman_davenport(chi_squared: float, classes: int, detectors: int) -> float:
    """P-value of F; never below the chance that all classes rank the detectors alike, where F is infinite."""
    least = float(math.factorial(detectors)) ** (1 - classes)
    left = classes * (detectors - 1) - chi_squared
    if left <= 0:
        return least
    freedom = detectors - 1, (detectors - 1) * (classes - 1)
    return max(least, float(stats.f.sf((classes - 1) * chi_squared / left, *freedom)))


def _exact_p(ranks: np.ndarray, smaller_sum: float) -> float:
    """Chance that the smaller of the two rank sums is `smaller_sum` or less, every sign being as likely as the other.

    Doubled, mid-ranks are whole numbers; their sums are counted rank by rank.
    """
    doubled = np.rint(2 * ranks).astype(int)
    ways = np.zeros(int(doubled.sum()) + 1)
    ways[0] = 1
    for rank in doubled:
        ways[rank:] += ways[:-rank].copy()
    tail = ways[: int(np.floor(2 * smaller_sum + 1e-9)) + 1].sum() / ways.sum()
    return float(min(1.0, 2 * tail))
