"""Results that are never computed twice: folders named by the hash of what they depend on.

A stage writes into a temporary folder that is renamed when complete, so what bears its final name is whole, whatever was
killed. A lock lets two processes that want the same thing share one computation. Every file's checksum is kept beside it:
an entry that was damaged later is noticed, thrown away and computed again.
"""

import errno
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash
import yaml
from filelock import FileLock

from ensemble_ad import __version__
from ensemble_ad.errors import StoreError

log = logging.getLogger(__name__)

RECORD = "stage.yaml"
"""What a finished folder says about itself: its key, its cost and its files' checksums."""


@dataclass(frozen=True)
class Entry:
    """A finished stage."""

    folder: Path
    key: str
    """32 hexadecimal digits."""
    seconds: float
    """What it cost when it was computed."""
    reused: bool
    """Whether it lay there already."""


@dataclass
class Store:
    """A folder of finished stages."""

    root: Path
    log: list[tuple[str, Entry]] = field(default_factory=list)
    """Every stage asked for in this process, in order, by name."""
    verified: set[Path] = field(default_factory=set)
    """Folders whose checksums were right when this process looked."""

    def stage(self, name: str, depends_on: Mapping[str, Any], make: Callable[[Path], None], label: str = "") -> Entry:
        """Return the folder for `depends_on`; call `make(folder)` to fill a new one only when there is none.

        Raises StoreError when the folder cannot be written.
        """
        key = key_of({"stage": name, "version": __version__, **depends_on})
        folder = self.root / name / key
        try:
            if not self._intact(folder):
                folder.parent.mkdir(parents=True, exist_ok=True)
                with FileLock(f"{folder}.lock"):
                    if not self._intact(folder):
                        seconds = self._fill(folder, depends_on, make)
                        return self._noted(name, label, Entry(folder, key, seconds, reused=False))
        except OSError as error:
            raise as_store_error(self.root, error) from error
        return self._noted(name, label, Entry(folder, key, _record(folder)["seconds"], reused=True))

    def has(self, name: str, depends_on: Mapping[str, Any]) -> bool:
        """Whether `stage` would find it there."""
        return (self.root / name / key_of({"stage": name, "version": __version__, **depends_on}) / RECORD).is_file()

    def checkpoints(self, name: str, depends_on: Mapping[str, Any]) -> Path:
        """Return the folder where a training that makes this stage keeps its checkpoint until it is finished."""
        return self.root / "checkpoints" / key_of({"stage": name, "version": __version__, **depends_on})

    def _noted(self, name: str, label: str, entry: Entry) -> Entry:
        self.log.append((f"{name} {label}".strip(), entry))
        return entry

    def _fill(self, folder: Path, depends_on: Mapping[str, Any], make: Callable[[Path], None]) -> float:
        partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        start = time.perf_counter()
        try:
            make(partial)
            seconds = round(time.perf_counter() - start, 3)
            record = {"seconds": seconds, "depends_on": _plain(depends_on), "files": _checksums(partial)}
            (partial / RECORD).write_text(yaml.safe_dump(record, sort_keys=False))
            partial.rename(folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        self.verified.add(folder)
        return seconds

    def _intact(self, folder: Path) -> bool:
        if folder in self.verified:
            return True
        if not folder.exists():
            return False
        try:
            intact = _record(folder)["files"] == _checksums(folder)
        except (OSError, yaml.YAMLError, KeyError, TypeError):
            intact = False
        if intact:
            self.verified.add(folder)
        else:
            log.warning("%s is damaged: it is thrown away and computed again", folder)
            shutil.rmtree(folder)
        return intact


def key_of(depends_on: Mapping[str, Any]) -> str:
    """Return 32 hexadecimal digits that change whenever a value does, whatever the order of the keys.

    >>> key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
    True
    """
    text = json.dumps(_plain(depends_on), sort_keys=True, allow_nan=False)
    return xxhash.xxh3_128_hexdigest(text.encode())


def as_store_error(folder: Path, error: OSError) -> StoreError:
    """Return what an OSError means for the user of `folder`."""
    if error.errno == errno.ENOSPC:
        return StoreError(f"{folder}: the disk is full; free some space, or name another folder with --cache")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreError(
            f"{folder}: no permission to write ({error.filename}); name another folder with --cache or --out"
        )
    return StoreError(f"{folder}: {error}")


def _record(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / RECORD).read_text())


def _checksums(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != RECORD)
    return {path.relative_to(folder).as_posix(): _checksum(path) for path in files}


def _checksum(path: Path) -> str:
    digest = xxhash.xxh3_64()
    with path.open("rb") as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value
