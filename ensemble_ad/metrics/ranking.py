"""How well one score separates anomalous from normal: AUROC, average precision (AU-PR), best F1. Ties are exact."""

import numpy as np

from ensemble_ad.metrics.survival import Survival


def auroc(normal: np.ndarray, anomalous: np.ndarray) -> float:
    """Area under the ROC curve: the chance that an anomalous score exceeds a normal one, a tie counting one half.

    MVTec's evaluator settles image-level ties in favour of the method (two identical scores give 1.0); this does not.

    Args:
        normal: [n] scores, any order.
        anomalous: [m] scores; higher is more anomalous.

    Raises:
        ValueError: an empty side, or a score that is not finite.

    >>> auroc(np.array([0.0, 1.0]), np.array([1.0, 2.0]))
    0.875
    """
    negatives, positives = _survivals(normal, anomalous)
    beaten = 1 - (negatives.above + negatives.at_least) / (2 * negatives.total)
    return float((positives.at_least - positives.above) @ beaten / positives.total)


def average_precision(normal: np.ndarray, anomalous: np.ndarray) -> float:
    """Average precision: the mean of the precision (score >= threshold) at every anomalous score. Arguments: `auroc`.

    >>> round(average_precision(np.array([0.0, 1.0]), np.array([1.0, 2.0])), 6)
    0.833333
    """
    return average_precision_from(*_survivals(normal, anomalous))[0]


def f1_max(normal: np.ndarray, anomalous: np.ndarray) -> float:
    """Highest F1 score over all thresholds. Arguments as in `auroc`. It looks at the labels: an upper bound, no rule.

    >>> f1_max(np.array([0.0, 1.0]), np.array([1.0, 2.0]))
    0.8
    """
    return f1_max_from(*_survivals(normal, anomalous))[0]


def average_precision_from(negatives: Survival, positives: Survival) -> tuple[float, float]:
    """Average precision and the bound of its error, from counts at common thresholds.

    A positive score that is a threshold is counted exactly. One that lies between two thresholds has at least as many
    scores of either class above it as the upper one, and at most as many as the lower one, which bounds its precision.
    """
    precision = positives.at_least / (positives.at_least + negatives.at_least)
    total = (positives.at_least - positives.above) @ precision
    if _all_are_thresholds(positives):
        return float(total / positives.total), 0.0
    (fewest, most), (false_fewest, false_most) = _gaps(positives), _gaps(negatives)
    lowest = (fewest + 1) / (fewest + 1 + false_most)
    highest = most / np.maximum(most + false_fewest, 1)
    total += (most - fewest) @ (lowest + highest) / 2
    return float(total / positives.total), float((most - fewest) @ (highest - lowest) / 2 / positives.total)


def f1_max_from(negatives: Survival, positives: Survival) -> tuple[float, float]:
    """Highest F1 score at the common thresholds, and by how much one between them could be higher."""
    relevant = positives.total + (positives.at_least + negatives.at_least).astype(np.float64)
    best = float(2 * (positives.at_least / relevant).max())
    if _all_are_thresholds(positives):
        return best, 0.0
    most, false_fewest = _gaps(positives)[1], _gaps(negatives)[0]
    highest = 2 * most / (positives.total + most + false_fewest)
    return best, max(0.0, float(highest.max()) - best)


def _all_are_thresholds(positives: Survival) -> bool:
    """Whether no positive lies between two thresholds."""
    return positives.at_least[0] == positives.total and np.array_equal(positives.above[:-1], positives.at_least[1:])


def _gaps(survival: Survival) -> tuple[np.ndarray, np.ndarray]:
    """For the T + 1 gaps around the thresholds, lowest first: scores above each gap, and those above or inside it."""
    above_gap = np.append(survival.at_least, 0).astype(np.float64)
    return above_gap, np.insert(survival.above.astype(np.float64), 0, survival.total)


def _survivals(normal: np.ndarray, anomalous: np.ndarray) -> tuple[Survival, Survival]:
    sides = [np.sort(np.asarray(side), axis=None) for side in (normal, anomalous)]
    for side, title in zip(sides, ("normal", "anomalous")):
        if side.size == 0 or not np.isfinite(side).all():
            raise ValueError(f"expected at least one {title} score and all of them finite, got {side.size} scores")
    thresholds = np.unique(sides[1])
    negatives, positives = (Survival(thresholds).add(side) for side in sides)
    return negatives, positives
