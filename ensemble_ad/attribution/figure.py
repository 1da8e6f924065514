"""Heat maps: what each member adds, by class and anomaly type or defect kind, and who completes whom."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from ensemble_ad.console import TYPES

COLOURS = "RdBu"
"""Blue adds, red takes away; told apart by colour-blind readers, and every cell also says its value."""
CELL = (1.15, 0.5)
"""Inches of a cell."""
STYLE: dict[Any, Any] = {"font.size": 9, "svg.hashsalt": "attribution", "text.parse_math": False}
COLUMN = ["class", "type", "defect_kind"]
DARK = 0.6
"""Share of the largest value from which on a cell's lettering is white."""


def member_figure(summary: pd.DataFrame, title: str) -> Figure:
    """Members x (class, type or defect kind) from a summary of Shapley values; cells say mean and half interval."""
    columns = list(dict.fromkeys(summary[COLUMN].itertuples(index=False, name=None)))
    members = list(dict.fromkeys(summary["member"]))
    cells = summary.set_index([*COLUMN, "member"])
    values = np.array([[cells.at[(*column, member), "mean"] for column in columns] for member in members])
    reach = np.array([[cells.at[(*column, member), "high"] for column in columns] for member in members]) - values
    with rc_context(STYLE):
        figure = Figure(figsize=_size(len(members), len(columns)), layout="constrained")
        axes = figure.subplots()
        image = _heat_map(axes, values, reach, largest=_largest(values))
        axes.set_xticks(range(len(columns)), [_heading(*column) for column in columns], rotation=30, ha="right")
        axes.set_yticks(range(len(members)), members)
        axes.set_title(title, loc="left")
        spread = ", ± 95 % over seeds" if np.isfinite(reach).any() else ""
        figure.colorbar(image, ax=axes, label=f"Shapley value{spread}")
    return figure


def synergy_figure(summary: pd.DataFrame, members: Sequence[str], title: str) -> Figure:
    """Matrices members x members from a summary of synergies: a row of them per class, a column per anomaly type."""
    classes, kinds = list(dict.fromkeys(summary["class"])), list(dict.fromkeys(summary["type"]))
    width, height = _size(len(members), len(members))
    largest = _largest(summary["mean"].to_numpy())
    with rc_context(STYLE):
        figure = Figure(figsize=(width * len(kinds), height * len(classes) + 0.3), layout="constrained")
        grid = figure.subplots(len(classes), len(kinds), squeeze=False, sharex=True, sharey=True)
        for (row, column), axes in np.ndenumerate(grid):
            pairs = summary[(summary["class"] == classes[row]) & (summary["type"] == kinds[column])]
            image = _heat_map(axes, _symmetric(pairs, members), largest=largest)
            axes.set_xticks(range(len(members)), members, rotation=30, ha="right")
            axes.set_yticks(range(len(members)), members)
            axes.set_title(f"{classes[row]}, {TYPES.get(kinds[column], kinds[column])}", loc="left")
        figure.suptitle(title, x=0.01, ha="left")
        figure.colorbar(image, ax=grid, label="synergy")
    return figure


def save_figure(figure: Figure, folder: Path, name: str) -> None:
    """Write `name`.png and `name`.svg; equal figures are equal files."""
    with rc_context(STYLE):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # it is laid out, once for both files
        figure.savefig(folder / f"{name}.png", dpi=150)
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def _heat_map(axes: Axes, values: np.ndarray, reach: np.ndarray | None = None, *, largest: float) -> AxesImage:
    image = axes.imshow(values, cmap=COLOURS, norm=TwoSlopeNorm(0, -largest, largest), aspect="auto")
    for place, value in np.ndenumerate(values):
        if np.isfinite(value):
            half = np.nan if reach is None else reach[place]
            text = f"{value:+.3f}" + (f"\n±{half:.3f}" if np.isfinite(half) else "")
            colour = "white" if abs(value) > DARK * largest else "black"
            axes.text(place[1], place[0], text, ha="center", va="center", color=colour, fontsize=8)
    return image


def _symmetric(pairs: pd.DataFrame, members: Sequence[str]) -> np.ndarray:
    """[M, M] from a line per pair; nan on the diagonal and where a class has no pictures of a type."""
    place = {name: index for index, name in enumerate(members)}
    matrix = np.full((len(members), len(members)), np.nan)
    rows, columns = pairs["first"].map(place), pairs["second"].map(place)
    matrix[rows, columns] = matrix[columns, rows] = pairs["mean"]
    return matrix


def _largest(values: np.ndarray) -> float:
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max(initial=0)) or 1.0


def _size(rows: int, columns: int) -> tuple[float, float]:
    return 3.0 + CELL[0] * columns, 1.6 + CELL[1] * rows


def _heading(name: str, kind: str, defect: str) -> str:
    return f"{name}\n{defect or TYPES.get(kind, kind)}"
