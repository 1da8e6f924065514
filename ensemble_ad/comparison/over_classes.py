"""What several classes say together: pairs of detectors by signed ranks, all of them by average ranks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from ensemble_ad.comparison.estimates import ALL, BETTER, CANNOT_TELL, WORSE, Estimate
from ensemble_ad.comparison.ranks import (
    FEWEST_CLASSES,
    FEWEST_DETECTORS,
    Friedman,
    friedman,
    holm,
    signed_ranks,
    smallest_p,
)
from ensemble_ad.comparison.sampling import MEAN
from ensemble_ad.console import HEADLINES


@dataclass(frozen=True)
class PairOverClasses:
    """Two detectors by one metric: Wilcoxon's signed ranks of their differences on each class."""

    metric: str
    type: str
    first: str
    second: str
    classes: int
    wins: int
    """Classes on which the first one is better."""
    losses: int
    median: float
    """Of the differences, first minus second."""
    p: float
    p_holm: float
    """Corrected for the pairs compared by this metric and type."""
    verdict: str
    """Is the first one better on classes such as these, or worse, or can that not be told?"""


@dataclass(frozen=True)
class Ranking:
    """All detectors by one metric, on the classes that all of them have."""

    metric: str
    type: str
    detectors: tuple[str, ...]
    friedman: Friedman


def pairs_over_classes(differences: Sequence[Estimate], level: float) -> list[PairOverClasses]:
    """Test every pair of detectors by the headline metrics, where they have at least two classes in common."""
    by_measure: dict[tuple[str, str], dict[tuple[str, str], list[float]]] = {}
    for one in differences:
        if one.metric in HEADLINES and one.class_name != ALL:
            pairs = by_measure.setdefault((one.metric, one.type), {})
            pairs.setdefault((one.first, one.second), []).append(one.value)
    found: list[PairOverClasses] = []
    most = max((len(values) for pairs in by_measure.values() for values in pairs.values()), default=0)
    for (metric, kind), pairs in by_measure.items():
        tested = [_pair(metric, kind, pair, values) for pair, values in pairs.items() if len(values) == most > 1]
        corrected = holm([pair.p for pair in tested])
        found += [replace(pair, p_holm=p, verdict=_verdict(pair, p, level)) for pair, p in zip(tested, corrected)]
    return found


def rankings(values: Sequence[Estimate], detectors: Sequence[str], level: float) -> list[Ranking]:
    """Rank all detectors by the headline metrics, where there are classes and detectors enough."""
    found = []
    for metric in HEADLINES:
        scores = _complete(values, detectors, metric)
        if len(detectors) >= FEWEST_DETECTORS and len(scores) >= FEWEST_CLASSES:
            found.append(Ranking(metric, MEAN, tuple(detectors), friedman(scores, level)))
    return found


def too_little_data(pairs: Sequence[PairOverClasses], ranked: Sequence[Ranking], level: float) -> list[str]:
    """Say which tests over classes cannot find anything here, whatever the numbers, and what it would take.

    >>> too_little_data([], [], 0.95)[0]
    'tests over classes need at least two classes that two detectors have in common'
    """
    if not pairs:
        return ["tests over classes need at least two classes that two detectors have in common"]
    notes = []
    classes = pairs[0].classes
    family = len([pair for pair in pairs if (pair.metric, pair.type) == (pairs[0].metric, pairs[0].type)])
    if smallest_p(classes) * family >= 1 - level:
        needed = next(number for number in range(classes, 99) if smallest_p(number) * family < 1 - level)
        notes.append(
            f"{classes} classes are too few for Wilcoxon's test: even a detector that wins on all of them has "
            f"p = {min(1.0, smallest_p(classes) * family):.3g} (pairs compared: {family}); it takes {needed}"
        )
    if not ranked:
        notes.append(
            f"no ranking of all detectors: it takes {FEWEST_CLASSES} classes that at least {FEWEST_DETECTORS} "
            "detectors all have"
        )
    return notes


def _pair(metric: str, kind: str, pair: tuple[str, str], values: Sequence[float]) -> PairOverClasses:
    return PairOverClasses(
        metric=metric,
        type=kind,
        first=pair[0],
        second=pair[1],
        classes=len(values),
        wins=sum(value > 0 for value in values),
        losses=sum(value < 0 for value in values),
        median=median(values),
        p=signed_ranks(values).p,
        p_holm=1.0,
        verdict="",
    )


def _verdict(pair: PairOverClasses, p: float, level: float) -> str:
    if p >= 1 - level:
        return CANNOT_TELL
    return BETTER if pair.median > 0 else WORSE


def _complete(values: Sequence[Estimate], detectors: Sequence[str], metric: str) -> np.ndarray:
    """[classes, detectors] of the classes that all detectors have."""
    by_class: dict[str, dict[str, float]] = {}
    for one in values:
        if (one.metric, one.type) == (metric, MEAN) and one.class_name != ALL:
            by_class.setdefault(one.class_name, {})[one.first] = one.value
    complete: list[Mapping[str, float]] = [found for found in by_class.values() if len(found) == len(detectors)]
    return np.array([[found[name] for name in detectors] for found in complete]).reshape(-1, len(detectors))
