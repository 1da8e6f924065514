"""How far a survey is: cells done and failed, what is being worked on, and the time left."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from ensemble_ad.survey.cell import Failure
from ensemble_ad.survey.forecast import Forecast
from ensemble_ad.survey.loop import Watcher
from ensemble_ad.survey.units import Unit

LINE_EVERY = 30.0
"""Seconds between plain lines, where there is no terminal."""
SHOWN = 8
"""Units being worked on that are named."""


@contextmanager
def shown_survey(console: Console, forecast: Forecast, done: int, cells: int) -> Iterator[Watcher]:
    """Yield a watcher: bars that move on a terminal, a line now and then elsewhere.

    Args:
        console: where to.
        forecast: weighs units for the time left.
        done: cells that have a record already.
        cells: all cells that can be done.
    """
    tally = _Tally(forecast, cells, done)
    if not console.is_terminal:
        yield _Lines(console, tally)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        yield _Bars(bars, tally)


@dataclass
class _Tally:
    """What is known about the whole."""

    forecast: Forecast
    cells: int
    done: int
    failed: int = 0
    weights: Mapping[str, float] = field(default_factory=dict)
    weight_done: float = 0.0
    started: float = field(default_factory=time.monotonic)

    def planned(self, units: Mapping[str, Unit]) -> None:
        known = {key: self.forecast.of(unit) for key, unit in units.items()}
        certain = [seconds for seconds in known.values() if seconds is not None]
        usual = sum(certain) / len(certain) if certain else 1.0
        self.weights = {key: usual if seconds is None else seconds for key, seconds in known.items()}
        self.started = time.monotonic()

    def ended(self, unit: Unit, failure: Failure | None) -> None:
        self.weight_done += self.weights.get(unit.key, 0.0)
        if unit.kind == "record":
            self.failed += failure is not None
            self.done += failure is None

    def __str__(self) -> str:
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.done} of {self.cells} cells done{failed}{self.left()}"

    def left(self) -> str:
        """`, about 3 min left`, once a part of the work is done that tells."""
        whole = sum(self.weights.values())
        if self.weight_done < 0.02 * whole or self.weight_done >= whole:
            return ""
        minutes = (time.monotonic() - self.started) * (whole / self.weight_done - 1) / 60
        return f", about {minutes:.0f} min left" if minutes >= 1 else ", less than a minute left"


@dataclass
class _Lines:
    """A line for every cell that ends, and one now and then."""

    console: Console
    tally: _Tally
    spoke: float = field(default_factory=time.monotonic)

    def planned(self, units: Mapping[str, Unit]) -> None:
        self.tally.planned(units)

    def running(self, units: list[Unit]) -> None:
        if units and time.monotonic() - self.spoke >= LINE_EVERY:
            named = "; ".join(unit.label for unit in units[:SHOWN])
            self._say(f"{self.tally}; now: {named}")

    def ended(self, unit: Unit, failure: Failure | None) -> None:
        self.tally.ended(unit, failure)
        if unit.kind == "record":
            what = f"failed: {failure.reason}" if failure else "done"
            self._say(f"{self.tally}; {unit.label}: {what}")

    def _say(self, text: str) -> None:
        self.spoke = time.monotonic()
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


class _Bars:
    """A bar for the cells, and a line for each unit being worked on."""

    def __init__(self, bars: Progress, tally: _Tally) -> None:
        self.bars, self.tally = bars, tally
        self.whole = bars.add_task("", total=tally.cells, completed=tally.done)
        self.units: dict[str, TaskID] = {}
        self._show()

    def planned(self, units: Mapping[str, Unit]) -> None:
        self.tally.planned(units)

    def running(self, units: list[Unit]) -> None:
        now = {unit.key: unit for unit in units[:SHOWN]}
        for key in self.units.keys() - now.keys():
            self.bars.remove_task(self.units.pop(key))
        for key in now.keys() - self.units.keys():
            self.units[key] = self.bars.add_task(f"  {now[key].label}", total=None)
        self._show()

    def ended(self, unit: Unit, failure: Failure | None) -> None:
        self.tally.ended(unit, failure)
        if failure is not None and unit.kind == "record":
            self.bars.console.print(f"{unit.label}: failed: {failure.reason}", markup=False, highlight=False)
        self._show()

    def _show(self) -> None:
        self.bars.update(self.whole, description=str(self.tally), completed=self.tally.done + self.tally.failed)
