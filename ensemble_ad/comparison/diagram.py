"""Critical-difference diagram: average ranks on a line, detectors that cannot be told apart joined by a bar.

After Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets" (JMLR 2006), figure 1.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ensemble_ad.comparison.forest import STYLE
from ensemble_ad.comparison.over_classes import Ranking

BAR, STEM = 0.18, 0.3
"""Height of a bar's and of a name's line, in units of the axis's drawing."""


def critical_difference_diagram(ranking: Ranking) -> Figure:
    """Return the figure; the best detector is on the right."""
    ranks = np.array(ranking.friedman.average_ranks)
    best_first = np.argsort(ranks, kind="stable")
    groups = cliques(ranks[best_first], ranking.friedman.critical_difference)
    depth = BAR * (len(groups) + 1) + STEM * (len(ranks) + 1) / 2
    with rc_context(STYLE):
        figure = Figure(figsize=(7.5, 0.9 + 0.75 * (depth + 0.6)), layout="constrained")
        axes = figure.subplots()
        axes.set(xlim=(len(ranks) + 0.9, 0.1), ylim=(-depth, 0.9))
        axes.axis("off")
        _scale(axes, len(ranks), ranking.friedman.critical_difference)
        for place, (start, end) in enumerate(groups):
            edges = ranks[best_first[[start, end]]] + np.array([-0.04, 0.04])
            axes.plot(edges, [-BAR * (place + 1)] * 2, color="black", linewidth=3.5, solid_capstyle="butt")
        _names(axes, ranks[best_first], [ranking.detectors[place] for place in best_first], BAR * (len(groups) + 1))
        axes.set_title(f"{ranking.metric}, {ranking.type} over types, {ranking.friedman.classes} classes", fontsize=10)
        return figure


def cliques(rising: Sequence[float] | np.ndarray, difference: float) -> list[tuple[int, int]]:
    """Return first and last place of every longest run of at least two ranks within a critical difference.

    >>> cliques([1.0, 1.5, 2.6, 4.0], difference=1.3)
    [(0, 1), (1, 2)]
    """
    ends = [int(np.searchsorted(rising, rank + difference, "right")) - 1 for rank in rising]
    return [(start, end) for start, end in enumerate(ends) if end > start and end not in ends[:start]]


def _scale(axes: Axes, detectors: int, difference: float) -> None:
    axes.plot([1, detectors], [0, 0], color="black", linewidth=1)
    for rank in range(1, detectors + 1):
        axes.plot([rank, rank], [0, 0.08], color="black", linewidth=1)
        axes.text(rank, 0.13, str(rank), ha="center", va="bottom")
    axes.plot([detectors, detectors - difference], [0.55, 0.55], color="black", linewidth=1, marker="|", markersize=6)
    axes.text(detectors - difference / 2, 0.6, f"CD {difference:.2f}", ha="center", va="bottom")


def _names(axes: Axes, ranks: np.ndarray, names: Sequence[str], top: float) -> None:
    """The better half's names on the right, the others' on the left, in the order of their ranks from outside in."""
    count = len(ranks)
    for place, (rank, name) in enumerate(zip(ranks, names)):
        right = place < (count + 1) // 2
        height = -top - STEM * (place if right else count - 1 - place)
        side = 0.85 if right else count + 0.15
        axes.plot([rank, rank, side], [0, height, height], color="#666666", linewidth=0.8)
        text = f"{name}  {rank:.2f}" if not right else f"{rank:.2f}  {name}"
        axes.text(side, height, f" {text} ", ha="left" if right else "right", va="center")
