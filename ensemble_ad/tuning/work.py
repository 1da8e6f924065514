"""Who does the work of a study, where, and who hears of it."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ensemble_ad.progress import Progress, Silent
from ensemble_ad.tuning.trial import Place

Result = TypeVar("Result")

Recorded = Callable[[Path], None]
"""Called in the parent process with the record folder of every ended trial; tracking goes here."""


@dataclass(frozen=True)
class Work:
    """The means of a study."""

    executor: Executor
    place: Place
    workers: int = 1
    """Pieces of work under way at a time."""
    progress: Progress = field(default_factory=Silent)
    recorded: Recorded = lambda _folder: None

    def each(self, task: str, function: Callable[..., Result], calls: Sequence[tuple]) -> Iterator[Result]:
        """Yield `function(*call)` for each call, in order, and report how far they are."""
        waiting: list[Future] = []
        self.progress.update(task, 0, len(calls))
        for done in range(len(calls)):
            due = calls[done + len(waiting) : done + self.workers]
            waiting += [self.executor.submit(function, *call) for call in due]
            yield waiting.pop(0).result()
            self.progress.update(task, done + 1, len(calls))
