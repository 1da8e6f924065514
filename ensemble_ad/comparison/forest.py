"""Values or differences with their intervals, one line each, one panel per metric."""

from collections.abc import Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ensemble_ad.comparison.estimates import BETTER, WORSE, Estimate
from ensemble_ad.console import TYPES

COLOURS = {BETTER: "#0072b2", WORSE: "#d55e00"}
"""Told apart with every kind of colour vision (Okabe and Ito); anything else is grey."""
GREY = "#666666"
ROW = 0.26
"""Inches."""
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "comparison",
    "text.parse_math": False,
}


def forest(estimates: Sequence[Estimate], metrics: Sequence[str], level: float) -> Figure:
    """Return a figure of the estimates by the given metrics; those of differences have a line at zero."""
    panels = {metric: [one for one in estimates if one.metric == metric] for metric in metrics}
    rows = list(dict.fromkeys(_row(one) for one in estimates if one.metric in metrics))
    several = [len({row[place] for row in rows}) > 1 for place in range(3)]
    labels = [", ".join(part for part, shown in zip(row, several) if shown) or row[1] for row in rows]
    with rc_context(STYLE):
        figure = Figure(figsize=(4 + 3 * len(panels), 1.1 + ROW * len(rows)), layout="constrained")
        for axes, (metric, shown) in zip(
            figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels.items()
        ):
            _panel(axes, metric, shown, rows)
        first = figure.axes[0]
        first.set_yticks(range(len(rows)), labels)
        first.set_ylim(len(rows) - 0.5, -0.5)
        common = [part for part, differs in zip(rows[0], several) if not differs]
        what = "first minus second" if any(one.second for one in estimates) else "value"
        figure.supxlabel(f"{', '.join([*common, what])}, with {100 * level:g} % interval", fontsize=9)
        return figure


def _panel(axes: Axes, metric: str, estimates: Sequence[Estimate], rows: Sequence[tuple[str, str, str]]) -> None:
    if any(one.second for one in estimates):
        axes.axvline(0, color="black", linewidth=0.8)
    for one in estimates:
        place, colour = rows.index(_row(one)), COLOURS.get(one.verdict, GREY)
        axes.plot([one.low, one.high], [place, place], color=colour, linewidth=1.6, solid_capstyle="butt")
        axes.plot(one.value, place, marker="o", markersize=4.5, color=colour)
    axes.set_title(metric, fontsize=10)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", linewidth=0.4, color="#cccccc")
    axes.set_axisbelow(True)


def _row(one: Estimate) -> tuple[str, str, str]:
    """What a line is about: class, detectors, type."""
    return one.class_name, f"{one.first} - {one.second}" if one.second else one.first, TYPES.get(one.type, one.type)
