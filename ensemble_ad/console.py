"""Progress and tables on a terminal; plain lines where there is none."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

from ensemble_ad.progress import Progress

LINE_EVERY = 10.0
"""Seconds between plain lines about one task."""

HEADLINES = ("image AUROC", "AU-sPRO@0.05")
"""What the field compares first."""

TYPES = {"logical_anomalies": "logical", "structural_anomalies": "structural"}


@contextmanager
def shown_progress(console: Console) -> Iterator[Progress]:
    """Yield a Progress: bars that move on a terminal, a line now and then elsewhere."""
    if not console.is_terminal:
        yield Lines(console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    with Bars(*columns, console=console, transient=False) as bars:
        yield _Moving(bars)


class _Moving:
    """One bar per task."""

    def __init__(self, bars: Bars) -> None:
        self.bars = bars
        self.tasks: dict[str, TaskID] = {}

    def update(self, task: str, done: int, total: int, detail: str = "") -> None:
        """Move the bar."""
        if task not in self.tasks or (done == 0 and self.bars.tasks[self.tasks[task]].finished):
            self.tasks[task] = self.bars.add_task(task, total=total, detail="")
        self.bars.update(self.tasks[task], completed=done, total=total, detail=detail)


class Lines:
    """A line when a task begins to take long, one now and then, and one at its end."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.started: dict[str, float] = {}
        self.spoke: dict[str, float] = {}

    def update(self, task: str, done: int, total: int, detail: str = "") -> None:
        """Print a line when it is time."""
        now = time.monotonic()
        if done <= 1 or task not in self.started:
            self.started[task] = self.spoke[task] = now
        finished = done >= total
        if not finished and now - self.spoke[task] < LINE_EVERY:
            return
        self.spoke[task] = now
        spent = now - self.started[task]
        left = f", about {spent / done * (total - done):.0f} s left" if 0 < done < total else f", {spent:.1f} s"
        self.console.print(f"{task}: {done}/{total}{left}{'  ' + detail if detail else ''}", highlight=False)


def result_table(result: Mapping[str, Any], title: str) -> Table:
    """Return metric x anomaly type, and their mean; `-` where a class has no pictures of a type."""
    columns = headline(result)
    table = Table(title=title, title_justify="left")
    table.add_column("metric")
    for kind in columns[0][1]:
        table.add_column(TYPES.get(kind, kind), justify="right")
    for heading, values in columns:
        cells = ["-" if value is None else f"{value:.3f}" for value in values.values()]
        table.add_row(heading, *cells, style="bold" if heading in HEADLINES else None)
    return table


def headline(result: Mapping[str, Any]) -> list[tuple[str, Mapping[str, float | None]]]:
    """Return (column, type -> value) in the order of every table of ours."""
    columns = [
        ("image AUROC", result["image_auroc"]),
        ("pixel AUROC", result["pixel_auroc"]),
        ("AU-PR", result["au_pr"]),
    ]
    columns += [(f"AU-PRO@{limit}", values) for limit, values in result["au_pro"].items()]
    columns += [(f"AU-sPRO@{limit}", values) for limit, values in result["au_spro"].items()]
    return columns
