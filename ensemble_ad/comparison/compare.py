"""Records -> how good each detector is, which of two is better, and what all classes together say."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ensemble_ad.comparison.estimates import FEWEST_PICTURES, Estimate, Sizes, Table, estimates_of, shared_classes
from ensemble_ad.comparison.over_classes import PairOverClasses, Ranking, pairs_over_classes, rankings, too_little_data
from ensemble_ad.comparison.reading import Record
from ensemble_ad.comparison.sampling import MEAN, Resampled, fewest_pictures, resample, weights_of
from ensemble_ad.console import HEADLINES
from ensemble_ad.errors import ConfigError
from ensemble_ad.metrics import GOOD
from ensemble_ad.progress import Progress, Silent, tracked

FEWEST_RESAMPLES = 100


@dataclass(frozen=True)
class Comparison:
    """All that is said about some detectors."""

    detectors: tuple[str, ...]
    classes: tuple[str, ...]
    values: tuple[Estimate, ...]
    """Detector by detector."""
    differences: tuple[Estimate, ...]
    """Pair by pair."""
    over_classes: tuple[PairOverClasses, ...]
    rankings: tuple[Ranking, ...]
    notes: tuple[str, ...]
    """What keeps the numbers from saying more."""
    level: float
    resamples: int


def compare(
    records: Sequence[Record],
    *,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    progress: Progress | None = None,
) -> Comparison:
    """Compare every detector with every other on the classes and seeds that both have.

    Raises ConfigError when there are no anomalous pictures, no two detectors with anything in common, or records that
    contradict one another.
    """
    _refuse_arguments(resamples, seed, level)
    table = _table(records, resamples, seed, progress or Silent())
    sizes = _sizes(records)
    detectors = tuple(table)
    pairs = list(combinations(detectors, 2))
    alone = [pair for pair in pairs if not shared_classes(table, *pair)]
    if pairs and len(alone) == len(pairs):
        raise ConfigError(_nothing_shared(table, *pairs[0]))
    values = [one for name in detectors for one in estimates_of(table, sizes, name, level=level)]
    if not values:
        raise ConfigError(f"{_listed(_first_of_class(records))}: no anomalous test pictures, so there is no metric")
    differences = [one for pair in pairs for one in estimates_of(table, sizes, *pair, level=level)]
    over_classes = pairs_over_classes(differences, level)
    ranked = rankings(values, detectors, level)
    notes = [*_few_pictures(records), *_without_width(values), *_few_seeds(table)]
    notes += [_nothing_shared(table, *pair) for pair in alone]
    return Comparison(
        detectors=detectors,
        classes=tuple(dict.fromkeys(record.class_name for record in records)),
        values=tuple(values),
        differences=tuple(differences),
        over_classes=tuple(over_classes),
        rankings=tuple(ranked),
        notes=tuple(notes + (too_little_data(over_classes, ranked, level) if pairs else [])),
        level=level,
        resamples=resamples,
    )


def _refuse_arguments(resamples: int, seed: int, level: float) -> None:
    if resamples < FEWEST_RESAMPLES:
        raise ConfigError(f"--resamples: expected {FEWEST_RESAMPLES} or more, got {resamples}")
    if seed < 0:
        raise ConfigError(f"--seed: expected 0 or more, got {seed}")
    if not 0.5 <= level < 1:
        raise ConfigError(f"--level: expected a share from 0.5 to below 1, such as 0.95, got {level}")


def _table(records: Sequence[Record], resamples: int, seed: int, progress: Progress) -> Table:
    table: dict[str, dict[str, dict[int, Resampled]]] = {}
    weights = {name: weights_of(record, resamples, seed) for name, record in _first_of_class(records).items()}
    known: dict[str, tuple[Record, Resampled]] = {}
    for record in tracked(records, "resample", progress, len(records)):
        resampled = resample(record, weights[record.class_name])
        first, of_first = known.setdefault(record.class_name, (record, resampled))
        if not _same_masks(of_first, resampled):
            raise ConfigError(
                f"{first.folder} and {record.folder}: both are about {record.class_name}, but the size or the masks of "
                "their pictures differ; repeat one of the runs on the other's data"
            )
        table.setdefault(record.name, {}).setdefault(record.class_name, {})[record.seed] = resampled
    return table


def _same_masks(first: Resampled, second: Resampled) -> bool:
    return first.clear.keys() == second.clear.keys() and all(
        np.array_equal(clear, second.clear[kind]) for kind, clear in first.clear.items()
    )


def _sizes(records: Sequence[Record]) -> Sizes:
    return {
        (name, kind): fewest_pictures(record, kind)
        for name, record in _first_of_class(records).items()
        for kind in [*record.scores(), MEAN]
    }


def _first_of_class(records: Sequence[Record]) -> Mapping[str, Record]:
    return {record.class_name: record for record in reversed(records)}


def _nothing_shared(table: Table, first: str, second: str) -> str:
    def where(detector: str) -> str:
        return _listed(f"{name} with seed {_listed(by_seed)}" for name, by_seed in table[detector].items())

    return (
        f"{first} and {second} have no class and seed in common, so they cannot be compared: the first was run on "
        f"{where(first)}, the second on {where(second)}"
    )


def _few_pictures(records: Sequence[Record]) -> Iterator[str]:
    for name, record in _first_of_class(records).items():
        for kind, scores in record.scores().items():
            if scores.size < FEWEST_PICTURES:
                withheld = "all its verdicts" if kind == GOOD else f"verdicts about {kind} and the mean"
                yield (
                    f"{name}: pictures of kind {kind}: {scores.size}; with fewer than {FEWEST_PICTURES} an interval "
                    f"cannot be trusted: {withheld} are withheld"
                )


def _without_width(values: Sequence[Estimate]) -> Iterator[str]:
    still = [one for one in values if one.metric in HEADLINES and one.low == one.high and one.type != MEAN]
    if still:
        where = _listed(f"{one.first} on {one.class_name}, {one.type}" for one in still)
        yield (
            f"no resample changes a metric that is {still[0].value:g} ({where}): an interval without width is no "
            "certainty, the test pictures are just too few or too easy"
        )


def _few_seeds(table: Table) -> Iterator[str]:
    single = [name for name, by_class in table.items() if any(len(by_seed) == 1 for by_seed in by_class.values())]
    if single:
        yield (
            f"one seed only ({_listed(single)}): intervals are about these trained detectors; trained again, they may "
            "differ by more"
        )


def _listed(entries: Iterable[object]) -> str:
    return ", ".join(str(entry) for entry in entries)
