"""Where and how things run. None of this is part of an experiment: it changes the speed, not the answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Runtime:
    """The machine's side of a computation."""

    device: str = "cpu"
    """Where networks run: `cpu`, `cuda`, `cuda:1`, `mps`."""
    engine: str = "auto"
    """What runs a frozen backbone: `onnx`, `torch`, or `auto` (ONNX Runtime on a CPU where it can, else torch)."""
    cache: Path | None = None
    """Folder that keeps exported networks and frozen feature maps; None keeps them in memory only."""


_current: ContextVar[Runtime] = ContextVar("runtime", default=Runtime())  # noqa: B039, frozen


def runtime() -> Runtime:
    """Return the runtime in force."""
    return _current.get()


def device() -> torch.device:
    """Return the device in force."""
    return torch.device(runtime().device)


@contextmanager
def using(settings: Runtime) -> Iterator[Runtime]:
    """Put `settings` in force inside a `with` block.

    >>> with using(Runtime(engine="torch")):
    ...     runtime().engine
    'torch'
    >>> runtime().engine
    'auto'
    """
    token = _current.set(settings)
    try:
        yield settings
    finally:
        _current.reset(token)
