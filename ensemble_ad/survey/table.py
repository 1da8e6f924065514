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
        for row in _metrics(result):
            yield head | row | {"oracle": cell.setting.oracle or row["metric"] in CHOSEN_ON_TEST}
    elif failure := read_failure(folder):
        yield head | {"failure": failure.reason}


def _metrics(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    whole = [*headline(result), ("F1-max", result["f1_max"])]
    for metric, by_type in whole:
        for kind, value in by_type.items():
            if value is not None:
                yield {"type": kind, "metric": metric, "value": value}
    for name, defect in result["per_defect"].items():
        kind = {"type": defect["type"], "defect_kind": name}
        if defect["image_auroc"] is not None:
            yield kind | {"metric": "image AUROC", "value": defect["image_auroc"]}
        for limit, value in defect["au_spro"].items():
            yield kind | {"metric": f"AU-sPRO@{limit}", "value": value}
