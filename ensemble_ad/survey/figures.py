"""One figure per metric: where each detector stands, by anomaly type, over classes and seeds."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ensemble_ad.report.figures import INK, LOGICAL, MUTED, PAINT, STRUCTURAL, STYLE, inline_svg
from ensemble_ad.survey.summary import ALL, GAP, MEAN, type_name

MARKS = {
    "logical_anomalies": (LOGICAL, "o", 0.18),
    "structural_anomalies": (STRUCTURAL, "s", 0.0),
    MEAN: (INK, "D", -0.18),
}
"""Anomaly type -> colour, marker, height above its line."""
LIGHT = {
    "var(--ink)": "#1d1b20",
    "var(--muted)": "#67626e",
    "var(--line)": "#e2dee4",
    "var(--good)": "#2c8a62",
    "var(--logical)": "#2b6cb8",
    "var(--structural)": "#c65a11",
    "var(--other)": "#7b5ea7",
    "var(--accent)": "#8a2f6b",
}
"""The page's colours on white, for files."""
ON_WHITE = {stand_in: LIGHT[variable] for stand_in, variable in PAINT.items()}
IN_PAGE = {stand_in: stand_in for stand_in in PAINT}
DPI = 160


def metrics_in(summary: pd.DataFrame) -> list[str]:
    """Return the metrics of a summary in the order of every table."""
    return list(dict.fromkeys(summary["metric"]))


def write_figures(summary: pd.DataFrame, folder: Path) -> None:
    """Write `METRIC.png` for every metric, on white."""
    folder.mkdir(parents=True, exist_ok=True)
    for metric in metrics_in(summary):
        with rc_context(_style(ON_WHITE)):
            figure = _figure(summary, metric, ON_WHITE)
            figure.savefig(folder / f"{file_name(metric)}.png", dpi=DPI, facecolor="white")


def page_figure(summary: pd.DataFrame, metric: str) -> str:
    """Return a metric's figure as SVG in the colours of the page around it."""
    with rc_context(_style(IN_PAGE)):
        figure = _figure(summary, metric, IN_PAGE)
        return inline_svg(figure, file_name(metric), f"{metric} of each detector, by anomaly type")


def file_name(metric: str) -> str:
    """Return a metric's name as a file's.

    >>> file_name("AU-sPRO@0.05")
    'au-spro_0.05'
    """
    return metric.lower().replace("@", "_").replace(" ", "_")


def _style(paint: Mapping[str, str]) -> dict[Any, Any]:
    return {key: paint.get(value, value) if isinstance(value, str) else value for key, value in STYLE.items()}


def _figure(summary: pd.DataFrame, metric: str, paint: Mapping[str, str]) -> Figure:
    of_metric = summary[(summary["metric"] == metric) & (summary["layout"] != GAP)]
    layouts, detectors = list(dict.fromkeys(of_metric["layout"])), list(dict.fromkeys(of_metric["detector"]))
    figure = Figure(figsize=(1.5 + 4.5 * len(layouts), 1.3 + 0.42 * len(detectors)), layout="constrained")
    panels = figure.subplots(1, len(layouts), sharex=True, sharey=True, squeeze=False)[0]
    for axes, layout in zip(panels, layouts, strict=True):
        part = of_metric[of_metric["layout"] == layout]
        several = part["class"].nunique() > 1
        _draw(axes, part, detectors, paint)
        axes.set_title(f"{layout}, mean over classes; a dot per class" if several else layout, loc="left", fontsize=10)
        axes.set_xlabel(f"{metric}, mean and deviation over seeds")
    panels[0].set_yticks(range(len(detectors)), detectors)
    panels[0].set_ylim(len(detectors) - 0.5, -0.5)
    low, high = panels[0].get_xlim()
    panels[0].set_xlim(max(low, -0.01), min(high, 1.01))  # shares; a deviation may reach beyond
    handles = {label: mark for axes in panels for mark, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if handles:
        figure.legend(handles.values(), handles, loc="outside lower right", ncols=3, frameon=False, fontsize=9)
    return figure


def _draw(axes: Axes, part: pd.DataFrame, detectors: list[str], paint: Mapping[str, str]) -> None:
    axes.grid(visible=True, axis="x")
    whole = ALL if (part["class"] == ALL).any() else part["class"].iloc[0]
    for kind, rows in _by_type(part[part["class"] == whole]):
        colour, marker, height = MARKS[kind]
        places = [detectors.index(name) - height for name in rows["detector"]]
        spread = rows["sd"].fillna(0.0)
        axes.errorbar(
            rows["mean"], places, xerr=spread, fmt=marker, color=paint[colour], markersize=5, label=type_name(kind)
        )
    classes = part[(part["class"] != whole) & (part["type"] == MEAN)]
    places = [detectors.index(name) - MARKS[MEAN][2] for name in classes["detector"]]
    axes.scatter(classes["mean"], places, s=9, color=paint[MUTED], alpha=0.6, zorder=0)


def _by_type(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    for kind in MARKS:
        of_kind = rows[rows["type"] == kind]
        if len(of_kind):
            yield kind, of_kind
