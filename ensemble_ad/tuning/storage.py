"""Where the trials of a study are kept: a journal file, or a database that many hosts reach."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock, JournalRedisBackend
from sqlalchemy import Connection, event
from sqlalchemy.exc import SQLAlchemyError

from ensemble_ad.errors import ConfigError, StoreError
from ensemble_ad.tracking.place import without_password
from ensemble_ad.tuning.kept import GRACE, try_again

log = logging.getLogger(__name__)

HEARTBEAT = 15
"""Seconds between two signs of life of a trial, where the storage is a database."""
PATIENCE = 10
"""Seconds within which a database server has to answer."""
TURN = 60
"""Seconds that one process waits for the others where an SQLite file is shared."""
EXTRAS = {"cmaes": "cmaes", "psycopg": "postgres", "psycopg2": "postgres"}
"""Package -> the extra of ours that installs it."""


@contextmanager
def reached(place: str, where: str) -> Iterator[BaseStorage]:
    """Yield the storage at an Optuna URL or the path of a journal; `where` is the study file, for messages.

    Raises StoreError when it cannot be used, and ConfigError when a package is missing, whoever asks for it inside.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield _opened(place)
    except ImportError as error:
        extra = EXTRAS.get(str(error.name), "")
        cure = f"pip install 'ensemble-ad[{extra}]'" if extra else f"pip install {error.name}"
        raise ConfigError(f"{where}: {error.name} is not installed: {cure}") from error
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, OSError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise StoreError(f"storage: {without_password(place)} cannot be used: {reason}") from error


@lru_cache(maxsize=4)
def _opened(place: str) -> BaseStorage:
    if place.startswith("redis"):
        return JournalStorage(JournalRedisBackend(place))
    if "://" not in place:
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        _mend(Path(place))
        return JournalStorage(JournalFileBackend(place))
    patience = {"postgres": {"connect_timeout": PATIENCE}, "sqlite:/": {"timeout": TURN, "isolation_level": None}}
    storage = RDBStorage(
        place,
        engine_kwargs={"connect_args": patience.get(place[:8], {})},
        heartbeat_interval=HEARTBEAT,
        grace_period=GRACE,
        heartbeat_stale_trial_callback=try_again,
    )
    if place.startswith("sqlite"):
        event.listen(storage.engine, "begin", _take_turns)
    return storage


def _take_turns(connection: Connection) -> None:
    """Lock an SQLite file from the first look on: it knows no SELECT FOR UPDATE, and two would take the same trial."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _mend(journal: Path) -> None:
    """Cut off a last line that a power cut or a full disk left unfinished: the lines after it could not be read."""
    if not journal.exists() or not _torn(journal):
        return
    lock = JournalFileSymlinkLock(str(journal))
    lock.acquire()
    try:
        if torn := _torn(journal):  # nobody was only in the middle of writing it
            log.warning("%s: its last line is unfinished and is cut off", journal)
            os.truncate(journal, journal.stat().st_size - torn)
    finally:
        lock.release()


def _torn(journal: Path) -> int:
    """Bytes after the last whole line."""
    content = journal.read_bytes()
    return len(content) - content.rfind(b"\n") - 1
