"""One detector, or one minus another: every metric on every class and over classes, with intervals and verdicts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np

from ensemble_ad.comparison.bootstrap import interval
from ensemble_ad.comparison.delong import delong, mean_placements
from ensemble_ad.comparison.sampling import IMAGE_AUROC, Measure, Resampled

ALL = "all classes"
"""Stands for the mean over the classes that the detectors have in common."""
FEWEST_PICTURES = 10
"""Of a kind: with fewer an interval is shown, and no verdict given."""
BETTER, WORSE, CANNOT_TELL = "better", "worse", "cannot tell"

BySeed = Mapping[int, Resampled]
Table = Mapping[str, Mapping[str, BySeed]]
"""Detector -> class -> seed -> metrics."""
Sizes = Mapping[tuple[str, str], int]
"""(class, type) -> size of the smallest group of pictures that the type's metrics rest on."""


@dataclass(frozen=True)
class Estimate:
    """One detector, or the first minus the second of two, by one metric on one class."""

    class_name: str
    """Or `all classes`: their mean."""
    type: str
    metric: str
    first: str
    second: str
    """Empty for a detector by itself."""
    of_first: float
    """Exact, the mean over seeds."""
    of_second: float | None
    value: float
    """Of the one detector, or the difference."""
    low: float
    high: float
    """Interval over test pictures, for these trained detectors on these classes."""
    seeds: int
    """That both detectors have."""
    seed_sd: float | None
    """Standard deviation over seeds; None with a single one."""
    p_delong: float | None
    """Of no difference in image AUROC; None where the test does not apply."""
    verdict: str
    """Of a difference: is the first one better or worse, or can that not be told? Empty for a detector by itself."""


@dataclass(frozen=True, eq=False)
class _Contrast:
    """A metric of one detector, or of one minus another; of_second is 0 without another."""

    of_first: float
    of_second: float
    by_seed: Mapping[int, float]
    values: np.ndarray
    """[B] mean over seeds in each resample."""


def estimates_of(table: Table, sizes: Sizes, first: str, second: str = "", level: float = 0.95) -> list[Estimate]:
    """Return every metric of `first`, minus that of `second` if there is one, where both have a class and a seed.

    Pictures are the same in each resample, so the difference is a paired one. Over classes the mean is taken in each
    resample: classes are as they are, their pictures are drawn again.
    """
    shared: dict[Measure, dict[str, _Contrast]] = {}
    found: list[Estimate] = []
    classes = shared_classes(table, first, second)
    for name in classes:
        pair = _Pair.of(table[first][name], table[second][name] if second else None)
        for measure, contrast in pair.contrasts():
            shared.setdefault(measure, {})[name] = contrast
            smallest, p_delong = sizes[name, measure[1]], pair.p_delong(measure)
            found.append(_estimate(name, measure, (first, second), contrast, smallest, level, p_delong))
    for measure, by_class in shared.items():
        if len(by_class) == len(classes) > 1:
            smallest = min(sizes[name, measure[1]] for name in classes)
            together = _mean(list(by_class.values()))
            found.append(_estimate(ALL, measure, (first, second), together, smallest, level, None))
    return found


def shared_classes(table: Table, first: str, second: str = "") -> list[str]:
    """Return the classes on which both detectors have been run with a seed in common."""
    if not second:
        return list(table[first])
    return [name for name in table[first] if table[first][name].keys() & table[second].get(name, {}).keys()]


def verdict_of(low: float, high: float, smallest: int) -> str:
    """Return what an interval of a difference says, if the smallest group of pictures lets it say anything.

    >>> verdict_of(0.01, 0.05, smallest=40), verdict_of(-0.01, 0.05, smallest=40), verdict_of(0.01, 0.05, smallest=4)
    ('better', 'cannot tell', 'cannot tell')
    """
    if smallest < FEWEST_PICTURES or not (low > 0 or high < 0):
        return CANNOT_TELL
    return BETTER if low > 0 else WORSE


@dataclass(frozen=True, eq=False)
class _Pair:
    """The records of one or two detectors on one class, at the seeds that both have."""

    seeds: list[int]
    first: list[Resampled]
    second: list[Resampled]
    """Empty without a second detector."""

    @classmethod
    def of(cls, first: BySeed, second: BySeed | None) -> "_Pair":
        seeds = sorted(first if second is None else first.keys() & second.keys())
        return cls(seeds, [first[seed] for seed in seeds], [second[seed] for seed in seeds] if second else [])

    def contrasts(self) -> Iterator[tuple[Measure, _Contrast]]:
        for measure in self.first[0].exact:
            exact = [one.exact[measure] for one in self.first]
            others = [one.exact[measure] for one in self.second] or [0.0] * len(exact)
            values = np.mean([one.values[measure] for one in self.first], axis=0)
            if self.second:
                values = values - np.mean([one.values[measure] for one in self.second], axis=0)
            by_seed = {seed: value - other for seed, value, other in zip(self.seeds, exact, others)}
            yield measure, _Contrast(fmean(exact), fmean(others), by_seed, values)

    def p_delong(self, measure: Measure) -> float | None:
        metric, kind = measure
        if not self.second or metric != IMAGE_AUROC or kind not in self.first[0].placements:
            return None
        sides = [mean_placements([one.placements[kind] for one in side]) for side in (self.first, self.second)]
        p = delong(*sides)[1]
        return None if np.isnan(p) else p


def _mean(contrasts: Sequence[_Contrast]) -> _Contrast:
    """Over classes; by seed where all of them have it."""
    seeds = sorted(set.intersection(*(set(contrast.by_seed) for contrast in contrasts)))
    return _Contrast(
        fmean(contrast.of_first for contrast in contrasts),
        fmean(contrast.of_second for contrast in contrasts),
        {seed: fmean(contrast.by_seed[seed] for contrast in contrasts) for seed in seeds},
        np.mean([contrast.values for contrast in contrasts], axis=0),
    )


def _estimate(
    name: str,
    measure: Measure,
    pair: tuple[str, str],
    contrast: _Contrast,
    smallest: int,
    level: float,
    p_delong: float | None,
) -> Estimate:
    low, high = interval(contrast.values, level, smallest)
    seeds = list(contrast.by_seed.values())
    return Estimate(
        class_name=name,
        type=measure[1],
        metric=measure[0],
        first=pair[0],
        second=pair[1],
        of_first=contrast.of_first,
        of_second=contrast.of_second if pair[1] else None,
        value=contrast.of_first - contrast.of_second,
        low=low,
        high=high,
        seeds=len(seeds),
        seed_sd=stdev(seeds) if len(seeds) > 1 else None,
        p_delong=p_delong,
        verdict=verdict_of(low, high, smallest) if pair[1] else "",
    )
