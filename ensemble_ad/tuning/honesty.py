"""How far the objective can be trusted: does it rank trials as the test split does, and what did its choice reach?

Worked out when a study is over. Nothing here is ever fed back; what was chosen by the test split is called oracle.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from ensemble_ad.comparison.bootstrap import draw, image_auroc, interval, pixel_metrics
from ensemble_ad.comparison.contributions import read_contributions
from ensemble_ad.metrics import GOOD
from ensemble_ad.outcome import contributions
from ensemble_ad.stages import Stages
from ensemble_ad.tuning.measures import LIMIT, Description, judged
from ensemble_ad.tuning.space import Point
from ensemble_ad.tuning.study_file import StudyFile
from ensemble_ad.tuning.trial import Place, opened

RESAMPLES = 1000
LEVEL = 0.95
"""Of the intervals."""
FEWEST = 4
"""Trials without which a rank correlation is not worth printing."""


@dataclass(frozen=True)
class Agreement:
    """Rank correlation of two measures of the same trials."""

    trials: int
    spearman: float
    kendall: float
    """Tau-b: ties count."""


@dataclass(frozen=True, eq=False)
class Resampled:
    """Test quality of one experiment under resampled test pictures, the mean over classes."""

    values: np.ndarray
    """[B]; the same pictures are drawn for every experiment."""
    smallest: int
    """Pictures of the smallest kind of any class."""

    def interval(self) -> tuple[float, float]:
        """Return both ends."""
        return interval(self.values, LEVEL, self.smallest)

    def above(self, other: "Resampled") -> tuple[float, float]:
        """Return both ends of the paired difference to another experiment."""
        return interval(self.values - other.values, LEVEL, min(self.smallest, other.smallest))


def agreement(first: Sequence[float], second: Sequence[float]) -> Agreement | None:
    """Return how alike two measures rank; None for too few trials, or where one of them is constant.

    >>> agreement([0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.8, 0.7])
    Agreement(trials=4, spearman=0.8, kendall=0.6667)
    """
    if len(first) < FEWEST or min(np.ptp(first), np.ptp(second)) == 0:
        return None
    spearman = float(stats.spearmanr(first, second).statistic)
    kendall = float(stats.kendalltau(first, second).statistic)
    return Agreement(len(first), round(spearman, 4), round(kendall, 4))


def resampled_on_test(study: StudyFile, place: Place, point: Point) -> Resampled:
    """Return the test quality of a point under resampling; what a worker is given."""
    experiment = study.space.experiment(point)
    found = []
    for root in study.data:
        with opened(replace(study, objective="oracle"), place, root, experiment) as stages:
            found.append(resampled(stages, experiment.detector))
    return Resampled(np.mean([one.values for one in found], axis=0), min(one.smallest for one in found))


def resampled(stages: Stages, description: Description) -> Resampled:
    """Return `measures.quality` of the test split in each resample of its pictures."""
    prediction = judged(stages, description)
    pieces = read_contributions(contributions(stages, description, prediction))
    scores = _by_kind(stages, prediction.scores.numpy())
    counts = {kind: len(values) for kind, values in scores.items()}
    weights = draw(counts, RESAMPLES, [0, zlib.crc32(stages.folder.name.encode())])
    spro = [pixel_metrics(weights, of_kind, kind)[f"AU-sPRO@{LIMIT}"] for kind, of_kind in pieces.items()]
    auroc = [image_auroc(weights, scores, kind) for kind in pieces]
    return Resampled((np.mean(spro, axis=0) + np.mean(auroc, axis=0)) / 2, min(counts.values()))


def _by_kind(stages: Stages, scores: np.ndarray) -> Mapping[str, np.ndarray]:
    kinds = np.array([sample.kind for sample in stages.folder.test])
    return {kind: scores[kinds == kind] for kind in (GOOD, *sorted(set(kinds.tolist()) - {GOOD}))}
