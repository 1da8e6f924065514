"""A survey from cells to tables: plan what is missing, have it done, write what was found."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import yaml

from ensemble_ad import __version__
from ensemble_ad.errors import StoreError
from ensemble_ad.plain import plain
from ensemble_ad.running import refuse_unwritable
from ensemble_ad.store import as_store_error
from ensemble_ad.survey.cell import Failure, Place, finished, read_failure, write_failure
from ensemble_ad.survey.grid import Cell
from ensemble_ad.survey.loop import Watcher, do_all
from ensemble_ad.survey.report import write_report
from ensemble_ad.survey.units import Unit, plan_of
from ensemble_ad.whole import write_text

MARKER = "survey.yaml"
"""A folder with this file is a survey's."""
CELLS = "cells"
"""Folder of the records in a survey's."""

Recorded = Callable[[Path], None]
"""Called in the parent process with the record folder of every cell that ends, done or failed; tracking goes here."""


@dataclass(frozen=True)
class Survey:
    """What a survey found."""

    out: Path
    table: pd.DataFrame
    done: int
    """Cells with a record."""
    failed: int


def run_survey(
    cells: Sequence[Cell],
    out: Path,
    place: Place,
    executor: Executor,
    watcher: Watcher,
    recorded: Recorded | None = None,
    *,
    retry_failed: bool = False,
) -> Survey:
    """Do the cells that have neither record nor failure in `out`, and write tables and summaries of all.

    May be killed and called again, or run twice at once on one folder: the table is the same.

    Args:
        cells: what to survey.
        out: folder of the survey.
        place: where workers find the store and the cells.
        executor: who does it.
        watcher: hears of every unit.
        recorded: gets the folder of each cell that ends.
        retry_failed: also do the cells that failed before.

    Raises:
        StoreError: `out` is a folder of something else, or cannot be written.
    """
    refuse_foreign(out)
    write_text(out / MARKER, survey_yaml(cells))
    keeper = _Keeper(out / CELLS, watcher, recorded)
    keeper.refuse(missing(cells, out))
    plan = plan_of(to_do(cells, out, retry_failed=retry_failed), cells)
    keeper.records.update(plan.records)
    try:
        do_all(plan.units, place, executor, keeper)
    except KeyboardInterrupt:
        write_report(cells, out)
        raise
    table = write_report(cells, out)
    keys = {cell.key for cell in cells}
    done = sum(finished(out / CELLS / key) for key in keys)
    return Survey(out, table, done, len(keys) - done)


@dataclass
class _Keeper:
    """Keeps what became of a cell, and hands it on, before anybody hears of it."""

    folder: Path
    watcher: Watcher
    recorded: Recorded | None
    records: dict[str, Cell] = field(default_factory=dict)
    """The cell that each `record` unit finishes."""

    def refuse(self, cells: Sequence[Cell]) -> None:
        """Write down the cells whose class cannot be used."""
        for cell in cells:
            if cell.surveyed.fault:
                self._end(cell, Failure(cell.surveyed.fault))

    def planned(self, units: Mapping[str, Unit]) -> None:
        self.watcher.planned(units)

    def running(self, units: list[Unit]) -> None:
        self.watcher.running(units)

    def ended(self, unit: Unit, failure: Failure | None) -> None:
        if cell := self.records.get(unit.key):
            self._end(cell, failure)
        self.watcher.ended(unit, failure)

    def _end(self, cell: Cell, failure: Failure | None) -> None:
        if failure is not None:
            write_failure(self.folder / cell.key, failure)
        if self.recorded is not None:
            self.recorded(self.folder / cell.key)


def open_place(out: Path, cache: Path, device: str = "cpu", engine: str = "auto") -> Place:
    """Return where units work, before anything is computed; raises StoreError when `out` or `cache` cannot be used."""
    refuse_foreign(out)
    refuse_unwritable(out)
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise as_store_error(cache, error) from error
    return Place(str((out / CELLS).resolve()), str(cache.resolve()), device, engine)


def missing(cells: Sequence[Cell], out: Path) -> list[Cell]:
    """Return the cells without a record."""
    return [cell for cell in cells if not finished(out / CELLS / cell.key)]


def to_do(cells: Sequence[Cell], out: Path, *, retry_failed: bool) -> list[Cell]:
    """Return the cells that have to be computed: without a record, and not known to fail."""
    usable = [cell for cell in missing(cells, out) if not cell.surveyed.fault]
    return [cell for cell in usable if retry_failed or read_failure(out / CELLS / cell.key) is None]


def refuse_foreign(out: Path) -> None:
    """Raise StoreError when `out` exists and is not the folder of a survey."""
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / MARKER).exists())):
        raise StoreError(f"{out}: exists and is not a survey's folder; name another one with --out")


def survey_yaml(cells: Sequence[Cell]) -> str:
    """Return what the survey consists of: a line per cell, by the key under which its record lies."""
    rows = [
        {
            "key": cell.key,
            "class": cell.surveyed.name,
            "folder": cell.surveyed.root,
            "detector": cell.setting.label,
            "preset": cell.setting.experiment.preset,
            "seed": cell.setting.experiment.seed,
            "size": list(cell.setting.experiment.size),
            "oracle": cell.setting.oracle,
        }
        for cell in cells
    ]
    return yaml.safe_dump(plain({"version": __version__, "cells": rows}), sort_keys=False, allow_unicode=True)
