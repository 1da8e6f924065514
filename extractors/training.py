"""The loop over epochs that every trained method shares: progress, checkpoints, refusal of NaN.

A method hands over what it trains and a function that runs one epoch; where checkpoints go and who hears about progress
is set around it (`journal`), so that no method holds a path or a logger.
"""

import io
import logging
import math
import pickle  # only for the name of the error that torch.load raises
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

log = logging.getLogger(__name__)


class Trainable(Protocol):
    """A network, an optimiser or a schedule: whatever an epoch changes."""

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Take it back."""
        ...


class TrainingError(RuntimeError):
    """A training that cannot go on; the text says what to try."""


@dataclass(frozen=True)
class Journal:
    """Who hears about a training and where it is kept."""

    folder: Path | None = None
    """Where the checkpoint lies, a folder for one training of one setting on one data set; None keeps none."""
    report: Callable[[str, int, int, float], None] = lambda _name, _done, _epochs, _loss: None
    """Called after each epoch with the method's name, epochs done, epochs in all, and the mean loss."""


_current: ContextVar[Journal] = ContextVar("journal", default=Journal())  # noqa: B039, frozen


@contextmanager
def journal(keeper: Journal) -> Iterator[Journal]:
    """Send the trainings inside a `with` block to `keeper`."""
    token = _current.set(keeper)
    try:
        yield keeper
    finally:
        _current.reset(token)


def train(
    name: str, epochs: int, epoch: Callable[[int], float], generator: torch.Generator, **parts: Trainable
) -> None:
    """Run `epoch(k)` for k = 0 .. epochs - 1 and keep the last; each returns its mean loss.

    With a checkpoint folder in force every epoch is saved, and a call that was killed goes on after the last one with
    the same final numbers: `parts` (networks, optimisers, schedules) and the random `generator` are all that an epoch
    may change. A damaged checkpoint is left aside with a warning. Raises TrainingError when the loss is not finite or
    the checkpoint belongs to another training.
    """
    keeper = _current.get()
    path = None if keeper.folder is None else keeper.folder / f"{name}.checkpoint"
    done = 0 if path is None else _resume(path, epochs, generator, parts)
    for number in range(done, epochs):
        loss = epoch(number)
        if not math.isfinite(loss):
            raise TrainingError(
                f"{name}: the loss became {loss} in epoch {number + 1} of {epochs}; try a lower learning rate, "
                "more epochs at that rate, or another seed, and check the pictures with `ensemble-ad data check`"
            )
        if path is not None:
            _save(path, number + 1, generator, parts)
        keeper.report(name, number + 1, epochs, loss)


def _save(path: Path, done: int, generator: torch.Generator, parts: Mapping[str, Trainable]) -> None:
    record = {"done": done, "generator": generator.get_state()}
    record |= {f"part:{key}": part.state_dict() for key, part in parts.items()}
    partial = path.with_suffix(".partial")
    content = io.BytesIO()
    torch.save(record, content)  # not to the file itself: a full disk would be a RuntimeError without a reason
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        partial.write_bytes(content.getvalue())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _resume(path: Path, epochs: int, generator: torch.Generator, parts: Mapping[str, Trainable]) -> int:
    """Bring `parts` and `generator` to where the checkpoint left them; the number of epochs done."""
    record = _read(path)
    if record is None:
        return 0
    try:
        for key, part in parts.items():
            part.load_state_dict(record[f"part:{key}"])
        generator.set_state(record["generator"])
        done = int(record["done"])
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{path} belongs to another training: delete it and try again ({str(error)[:200]})"
        ) from error
    if done > epochs:
        raise TrainingError(f"{path} belongs to a training of more epochs ({done} done, {epochs} wanted): delete it")
    log.info("training goes on after epoch %d (%s)", done, path)
    return done


def _read(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        record = torch.load(path, weights_only=True, map_location="cpu")
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        log.warning("checkpoint %s is damaged (%s): training starts afresh", path, str(error)[:80])
        return None
    return record if isinstance(record, dict) else {}
