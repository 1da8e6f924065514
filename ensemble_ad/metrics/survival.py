"""Counting, without keeping, how many scores lie above each threshold."""

from typing import Self

import numpy as np


class Survival:
    """How many of a stream of scores exceed each of a fixed set of thresholds: exact counts, ties told apart.

    Memory depends on the thresholds only, never on how many scores are added.

    >>> survival = Survival(np.array([1.0, 2.0])).add(np.array([0.0, 1.0, 1.0, 3.0]))
    >>> survival.above.tolist(), survival.at_least.tolist(), survival.total
    ([1, 1], [3, 1], 4)
    """

    def __init__(self, thresholds: np.ndarray, most: int = 2**32) -> None:
        """Thresholds [T] ascending and distinct; no sum of counts will exceed `most`, which sets their integer type."""
        self.thresholds = thresholds
        self.above: np.ndarray = np.zeros(thresholds.size, np.uint32 if most < 2**32 else np.int64)
        self.at_least = np.zeros_like(self.above)
        self.total = 0

    def add(self, scores: np.ndarray) -> Self:
        """Count scores [n], which must be ascending."""
        self.total += scores.size
        for counts, side in ((self.above, "right"), (self.at_least, "left")):
            below = np.searchsorted(scores, self.thresholds, side)  # type: ignore[call-overload]
            np.subtract(scores.size, below, out=below)
            np.add(counts, below, out=counts, casting="unsafe")
        return self

    def rates(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Share of all scores (above, at or above) the thresholds at the indices `at`, each [len(at)] in [0, 1]."""
        return self.above[at] / self.total, self.at_least[at] / self.total
