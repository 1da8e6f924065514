"""Errors that end a command with a sentence and exit status 2."""

from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb

OURS = ("combiners", "data_loco", "ensemble_ad", "extractors", "scorers")

MENDABLE = {
    "data_loco.errors.DataError",
    "ensemble_ad.errors.ConfigError",
    "ensemble_ad.errors.EngineError",
    "ensemble_ad.errors.StoreError",
    "extractors.patchcore.MemoryBankError",
    "extractors.training.TrainingError",
    "extractors.weights.WeightsError",
}
"""Errors whose text says what is wrong and what to do; any other is a fault of the program and keeps its traceback."""


class ConfigError(ValueError):
    """An experiment that cannot be run as written: says which key, what was expected and what came."""


class StoreError(RuntimeError):
    """The folder for results cannot be used: full, read-only, or not a folder of ours."""


class EngineError(RuntimeError):
    """What does the work is gone as a whole, such as a scheduler; what it finished is kept."""


def is_expected(error: Exception) -> bool:
    """Whether an error's text was written for the user; asked by name, so that nothing heavy is imported for it."""
    return any(f"{kind.__module__}.{kind.__name__}" in MENDABLE for kind in type(error).__mro__)


@contextmanager
def naming(component: str) -> Iterator[None]:
    """Turn what a component says about its parameters or pictures into a ConfigError that names the component.

    Only a plain ValueError raised by our own code is meant for the user: subclasses speak for themselves, and one from
    inside a library is a fault of the program.

    >>> with naming("patchcore"):
    ...     print("no error, nothing happens")
    no error, nothing happens
    """
    try:
        yield
    except ValueError as error:
        if type(error) is not ValueError or not _is_ours(error):
            raise
        raise ConfigError(f"{component}: {error}") from error


def _is_ours(error: ValueError) -> bool:
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals["__name__"]).partition(".")[0] in OURS
