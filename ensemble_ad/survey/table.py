"""The tidy table of a survey: one line per cell, metric, anomaly type and defect kind."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ensemble_ad.console import headline
from ensemble_ad.survey.cell import finished, read_failure
from ensemble_ad.survey.grid import Cell

COLUMNS = [
    "class", "layout", "detector", "preset", "seed", "size", "type", "defect_kind", "metric", "value", "seconds", "mb",
    "run_id", "oracle", "failure",
]  # fmt: skip
Row = tuple[str, str, str]
"""(metric, anomaly type, defect kind or nothing)."""
CHOSEN_ON_TEST = ("F1-max",)
"""Metrics whose threshold is chosen on the test split: oracle figures, whatever the detector."""


def tidy_table(cells: Sequence[Cell], folder: Path) -> pd.DataFrame:
    """Return the table of all cells whose records or failures lie in `folder`; others are left out.

    A failed cell is one line without metric and value, with the reason as `failure`. `seconds` is what all stages of
    the cell cost, shared ones included, as if it had been computed alone; `mb` the most memory that its process held.
    """
    rows = [row for cell in cells for row in _rows(cell, folder / cell.key)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(cell: Cell, folder: Path) -> Iterator[dict[str, Any]]:
    experiment = cell.setting.experiment
    height, width = experiment.size
    head: dict[str, Any] = {
        "class": cell.surveyed.name,
        "layout": cell.surveyed.layout,
        "detector": cell.setting.label,
        "preset": experiment.preset,
        "seed": experiment.seed,
        "size": f"{height}x{width}",
        "type": "",
        "defect_kind": "",
        "metric": "",
        "value": None,
        "seconds": None,
        "mb": None,
        "run_id": cell.key,
        "oracle": cell.setting.oracle,
        "failure": "",
    }
    if finished(folder):
        result = json.loads((folder / "result.json").read_text())
        head |= {"seconds": round(sum(result["seconds"].values()), 3), "mb": result["peak_memory_mb"]}
        for (metric, kind, defect), value in metrics_of(result):
            figure = {"metric": metric, "type": kind, "defect_kind": defect, "value": value}
            yield head | figure | {"oracle": cell.setting.oracle or metric in CHOSEN_ON_TEST}
    elif failure := read_failure(folder):
        yield head | {"failure": failure.reason}


def metrics_of(result: Mapping[str, Any]) -> Iterator[tuple[Row, float]]:
    """Yield every figure of a result.json that has a value."""
    for metric, by_type in [*headline(result), ("F1-max", result["f1_max"])]:
        yield from (((metric, kind, ""), value) for kind, value in by_type.items() if value is not None)
    for name, defect in result["per_defect"].items():
        by_metric = {"image AUROC": defect["image_auroc"]}
        by_metric |= {f"AU-sPRO@{limit}": value for limit, value in defect["au_spro"].items()}
        yield from (((metric, defect["type"], name), value) for metric, value in by_metric.items() if value is not None)
