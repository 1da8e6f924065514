"""Records wait in an outbox and a process of its own delivers them, so that a run never waits for MLflow.

A note names a record folder and a store. It is written before the process is started and removed when the record is
mirrored: whatever is killed, the next process finds it. One process delivers at a time, and at most one more waits for
its turn; whatever comes in meanwhile, one of the two reads it.
"""

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from filelock import FileLock, Timeout

from ensemble_ad.errors import StoreError
from ensemble_ad.progress import Silent
from ensemble_ad.store import key_of
from ensemble_ad.tracking.place import BOX, SETTINGS, Tracking, without_password

log = logging.getLogger(__name__)

NOTE, TAKEN, LOG = ".json", ".taken", "log"
PAUSE = 60.0
"""Seconds between two starts of a background process: each imports mlflow anew."""

OVERDUE = 300.0
"""Seconds after which a note that still waits is worth a line."""


@contextmanager
def mirroring(tracking: Tracking | None) -> Iterator[Callable[[Path], None]]:
    """Yield what takes a finished record folder and has it mirrored in the background; does nothing without tracking.

    A folder that cannot be noted down (a full disk) is logged and left for `ensemble-ad track sync`.
    """
    if tracking is None:
        yield lambda _folder: None
        return
    started, unread = -PAUSE, False

    def later(folder: Path) -> None:
        nonlocal started, unread
        try:
            post(tracking, folder)
        except OSError as error:
            log.warning("%s is not tracked (%s); `ensemble-ad track sync` catches up", folder, error)
            return
        unread = time.monotonic() - started < PAUSE
        if not unread:
            started = time.monotonic()
            start(tracking.home)

    try:
        yield later
    finally:
        if unread:
            start(tracking.home)


def overdue(tracking: Tracking | None) -> list[str]:
    """Return a line for people when something has waited for long."""
    if tracking is None:
        return []
    box = tracking.home / BOX
    late = [note for note in (*box.glob(f"*{NOTE}"), *box.glob(f"*{TAKEN}")) if _age(note) > OVERDUE]
    failed = (box / LOG).is_file() and (box / LOG).stat().st_size > 0
    why = f"{box}/{LOG} says what failed" if failed else "`ensemble-ad track sync` does it now"
    return [f"earlier results that still wait to be mirrored to MLflow: {len(late)}; {why}"] if late else []


def _age(note: Path) -> float:
    """Seconds since a note was written; 0 for one that was delivered meanwhile."""
    try:
        return time.time() - note.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def post(tracking: Tracking, folder: Path) -> None:
    """Put a note for `folder` into the outbox, whole or not at all, readable for its owner only."""
    note = note_of(tracking, folder)
    note.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=note.parent, suffix=".partial", delete=False) as partial:
        json.dump({"folder": str(folder.resolve()), "uri": tracking.uri}, partial)
    Path(partial.name).replace(note)


def withdraw(tracking: Tracking, root: Path, before: float) -> None:
    """Remove the notes about records in `root` that were written before a time: everything there has been mirrored."""
    for note in (tracking.home / BOX).glob(f"*{NOTE}"):
        with suppress(OSError, ValueError, KeyError, TypeError):  # taken by another process, or damaged
            content = json.loads(note.read_text())
            about = Path(content["folder"]).is_relative_to(root.resolve()) and content["uri"] == tracking.uri
            if about and note.stat().st_mtime < before:
                note.unlink()


def note_of(tracking: Tracking, folder: Path) -> Path:
    """Return the file of the note for `folder`."""
    return tracking.home / BOX / (key_of({"folder": folder.resolve(), "uri": tracking.uri})[:16] + NOTE)


def start(home: Path) -> None:
    """Start the process that empties the outbox; it outlives this one and the terminal."""
    command = [sys.executable, "-P", "-m", __package__, str(home)]
    with (home / BOX / LOG).open("ab") as written:
        subprocess.Popen(  # noqa: S603, the words are ours
            command, stdin=subprocess.DEVNULL, stdout=written, stderr=written,
            env={**SETTINGS, **os.environ}, start_new_session=True,
        )  # fmt: skip


def deliver(home: Path) -> None:
    """Mirror everything that waits in the outbox of `home`, or leave it to the process whose turn it is next."""
    box = home / BOX
    following = FileLock(box / "next.lock")
    with suppress(Timeout):
        following.acquire(blocking=False)
    if not following.is_locked:
        return
    with FileLock(box / "turn.lock"):
        following.release()
        for left in box.glob(f"*{TAKEN}"):  # by a process that was killed
            left.rename(left.with_suffix(NOTE))
        tried: set[Path] = set()
        silent: set[str] = set()
        while notes := sorted(set(box.glob(f"*{NOTE}")) - tried):
            for note in notes:
                _deliver(note, silent)
            tried.update(notes)


def _deliver(note: Path, silent: set[str]) -> None:
    """Mirror what a note names and remove it, or put it back."""
    taken = note.rename(note.with_suffix(TAKEN))  # a note that comes now is about a newer record
    try:
        content = json.loads(taken.read_text())
        failures = _mirror(Path(content["folder"]), content["uri"], silent)
    except (OSError, ValueError, KeyError, TypeError) as error:
        failures = [f"{note}: {error}"]
    for line in failures:
        log.warning("%s", line)
    if failures:
        taken.rename(note)
    else:
        taken.unlink()


def _mirror(folder: Path, uri: str, silent: set[str]) -> list[str]:
    """Mirror a folder's records unless it was deleted meanwhile; a store that is `silent` is asked only once."""
    from ensemble_ad.tracking.mirror import mirror_all

    if not folder.is_dir():
        return []
    if uri in silent:
        return [f"{folder}: waits for {without_password(uri)}"]
    try:
        return mirror_all(folder, uri, Silent()).failures
    except StoreError as error:
        silent.add(uri)
        return [str(error)]
