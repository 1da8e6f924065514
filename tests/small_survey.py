"""A survey that takes seconds: tiny classes, tiny networks, and a watcher that shows nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from small_run import FUSED, PATCHCORE, SIMPLENET

from ensemble_ad.executors import InProcess
from ensemble_ad.survey.cell import Failure, Place
from ensemble_ad.survey.grid import Cell, cells_of
from ensemble_ad.survey.run import Survey, run_survey
from ensemble_ad.survey.units import Unit

DETECTORS: dict[str, Any] = {"patchcore": PATCHCORE, "simplenet": SIMPLENET, "fused": FUSED}
COST = ["seconds", "mb"]
"""Columns that differ between two surveys of the same."""


class Quiet:
    """Counts."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def planned(self, units: Mapping[str, Unit]) -> None: ...

    def running(self, units: list[Unit]) -> None: ...

    def ended(self, unit: Unit, failure: Failure | None) -> None:
        self.done.append(unit.label)


def write_grid(path: Path, detectors: Any = None, **changes: Any) -> Path:
    content = {"seeds": [0], "sizes": [64], "classes": ["data/*"], "detectors": detectors or DETECTORS, **changes}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def survey_in(base: Path, cells: list[Cell], out: str = "survey", cache: str = "cache", **changes: Any) -> Survey:
    place = Place(str(base / out / "cells"), str(base / cache))
    return run_survey(cells, base / out, place, InProcess(), changes.pop("watcher", Quiet()), **changes)


def cells_in(base: Path, **changes: Any) -> list[Cell]:
    return cells_of(write_grid(base / "grid.yaml", **changes))


def without_cost(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns=COST)
