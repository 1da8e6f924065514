"""Units to workers, each as soon as what it needs is done; what fails takes along only what needs it."""

from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Protocol

from ensemble_ad.errors import EngineError, StoreError
from ensemble_ad.survey.cell import Failure, Place, work
from ensemble_ad.survey.units import Unit

Work = Callable[[Unit, Place], Failure | None]

REFRESH = 1.0
"""Seconds after which watchers hear again what is running."""


class Watcher(Protocol):
    """Who hears what becomes of the units."""

    def planned(self, units: Mapping[str, Unit]) -> None:
        """These will be done."""
        ...

    def running(self, units: list[Unit]) -> None:
        """These are in a worker's hands."""
        ...

    def ended(self, unit: Unit, failure: Failure | None) -> None:
        """One is done, or failed, or cannot be done because one that it needs failed."""
        ...


def do_all(
    units: Mapping[str, Unit], place: Place, executor: Executor, watcher: Watcher, work: Work = work
) -> dict[str, Failure]:
    """Do all units and return the failures by key.

    An executor with `at_once` gets so many at a time, so that what becomes ready goes before what comes later anyway.
    Raises StoreError when the store or the cells' folder cannot be written: no other unit could be done, either.
    """
    watcher.planned(units)
    queue = _Queue(dict(units))
    running: dict[Future, str] = {}
    while queue.ready or running:
        while queue.ready and len(running) < getattr(executor, "at_once", len(units)):
            key = queue.next()
            if not running:
                watcher.running([units[key]])
            running[executor.submit(work, units[key], place)] = key
        started = [units[key] for future, key in running.items() if future.running()]
        watcher.running(started or [units[key] for key in running.values()])  # not every engine says what it began
        for future in wait(running, timeout=REFRESH, return_when=FIRST_COMPLETED).done:
            for key, failure in queue.end(running.pop(future), _failure_of(future)):
                watcher.ended(units[key], failure)
    return queue.failures


def _failure_of(future: Future) -> Failure | None:
    try:
        return future.result()
    except StoreError:
        raise
    except CancelledError as error:
        raise EngineError("the scheduler has gone, or dropped the work; the same command goes on from there") from error
    except Exception as error:  # the engine's: a worker that died, a scheduler that gave up
        return Failure(str(error) or type(error).__name__)


@dataclass
class _Queue:
    """Which units can begin."""

    waiting: dict[str, Unit]
    """Not begun, not ready; in the order in which the ready ones begin, so that cells are finished one by one."""
    ready: list[tuple[int, str]] = field(default_factory=list)
    """A heap of (place in that order, key)."""
    failures: dict[str, Failure] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.order = {key: number for number, key in enumerate(self.waiting)}
        self.missing = {key: set(unit.needs) & self.waiting.keys() for key, unit in self.waiting.items()}
        self.needed_by: dict[str, list[str]] = {key: [] for key in self.waiting}
        for key, needs in self.missing.items():
            for need in needs:
                self.needed_by[need].append(key)
        self._promote(list(self.waiting))

    def next(self) -> str:
        """Return the key of the ready unit to begin."""
        return heappop(self.ready)[1]

    def end(self, key: str, failure: Failure | None) -> list[tuple[str, Failure | None]]:
        """Take note of a unit's end; return it and all that cannot be done because of it."""
        if failure is None:
            for follower in self.needed_by[key]:
                self.missing[follower].discard(key)
            self._promote(self.needed_by[key])
            return [(key, None)]
        ended: list[tuple[str, Failure | None]] = []
        hopeless = [key]
        while hopeless:
            lost = hopeless.pop()
            if lost not in self.failures:
                self.failures[lost] = failure
                self.waiting.pop(lost, None)
                ended.append((lost, failure))
                hopeless += self.needed_by[lost]
        return ended

    def _promote(self, keys: list[str]) -> None:
        for key in keys:
            if key in self.waiting and not self.missing[key]:
                del self.waiting[key]
                heappush(self.ready, (self.order[key], key))
