"""Who hears how far a long piece of work is. Libraries report; only the command line shows."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Progress(Protocol):
    """Something that shows progress."""

    def update(self, task: str, done: int, total: int, detail: str = "") -> None:
        """`done` of `total` steps of `task` are finished; `detail` is a short remark such as the loss."""
        ...


class Silent:
    """Shows nothing."""

    def update(self, task: str, done: int, total: int, detail: str = "") -> None:
        """Do nothing."""


def tracked(batches: Iterable[Item], task: str, progress: Progress, total: int) -> Iterator[Item]:
    """Yield from `batches` and report after each.

    >>> list(tracked([1, 2], "count", Silent(), total=2))
    [1, 2]
    """
    progress.update(task, 0, total)
    for done, batch in enumerate(batches, 1):
        yield batch
        progress.update(task, done, total)
