"""Errors that end a command with a sentence and exit status 2."""

from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb

OURS = ("combiners", "data_loco", "ensemble_ad", "extractors")


class ConfigError(ValueError):
    """An experiment that cannot be run as written: says which key, what was expected and what came."""


class StoreError(RuntimeError):
    """The folder for results cannot be used: full, read-only, or not a folder of ours."""


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
