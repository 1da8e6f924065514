"""The area under a region's curve, score by score.

A saturating curve such as sPRO over the false positive rate is a sum of steps. A region whose curve saturates after s
pixels rises by 1 / s when the threshold passes each of its s highest scores, and nowhere else. A step at score v starts
at the rate of defect-free scores above v and ends at the rate of those at or above v; between the two the curve is the
straight line of the trapezoid rule. The area under a region's curve is therefore the mean of a function of one score.
"""

import numpy as np


def step_area(above: np.ndarray, at_least: np.ndarray, limit: float) -> np.ndarray:
    """Area under a unit step up to a false positive rate, divided by that rate.

    Args:
        above: [n] rate at which the step starts, in [0, 1].
        at_least: [n] rate at which it ends, >= above.
        limit: where the area ends, in (0, 1].

    Returns:
        [n] in [0, 1]; never rises with either rate.

    >>> step_area(np.array([0.0, 0.1, 0.0]), np.array([0.0, 0.1, 1.0]), limit=0.2)
    array([1. , 0.5, 0.1])
    """
    start = np.maximum(limit - above, 0)
    end = np.maximum(limit - at_least, 0)
    crossing = (at_least > limit) & (above < limit)
    area = (start + end) / 2
    area[crossing] *= start[crossing] / (at_least - above)[crossing]
    return area / limit


def trapezoid(x: np.ndarray, y: np.ndarray, limit: float) -> float:
    """Area under a curve of points (x, y) up to `limit`, interpolated there and divided by it.

    Equals MVTec's `get_auc_for_max_fpr`: x ascends from 0 to at least `limit`, and may stand still where y jumps.

    >>> trapezoid(np.array([0.0, 0.2, 1.0]), np.array([0.0, 0.5, 1.0]), limit=0.1)
    0.125
    """
    inside = int(np.searchsorted(x, limit, "right"))
    if inside < x.size:
        share = (limit - x[inside - 1]) / (x[inside] - x[inside - 1])
        x = np.append(x[:inside], limit)
        y = np.append(y[:inside], y[inside - 1] + share * (y[inside] - y[inside - 1]))
    return float(np.trapezoid(y, x) / limit)
