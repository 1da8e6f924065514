"""Results that are never computed twice: folders named by the hash of what they depend on.

A stage writes into a temporary folder that is renamed when complete, so what bears its final name is whole, whatever
was killed. A lock lets two processes that want the same thing share one computation. Every file's checksum is kept
beside it: an entry that was damaged later is noticed, thrown away and computed again.
"""

import errno
import json
import logging
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
from ensemble_ad.environment import peak_memory_mb
from ensemble_ad.errors import StoreError
from ensemble_ad.plain import plain

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
    """What it cost when it was computed, without the stages that it asked for on its way."""
    reused: bool
    """Whether it lay there already."""
    memory_mb: float = 0.0
    """The most memory that its process held by then, in MiB; 0 where an older version computed it."""


@dataclass
class Store:
    """A folder of finished stages."""

    root: Path
    log: list[tuple[str, Entry]] = field(default_factory=list)
    """Every stage asked for in this process, in order, by name."""
    verified: set[Path] = field(default_factory=set)
    """Folders whose checksums were right when this process looked."""
    nested: list[float] = field(default_factory=list)
    """Seconds that the stages inside each stage now being computed have taken so far, the outermost first."""

    def stage(self, name: str, depends_on: Mapping[str, Any], make: Callable[[Path], None], label: str = "") -> Entry:
        """Return the folder for `depends_on`; call `make(folder)` to fill a new one only when there is none.

        Raises StoreError when the folder cannot be written.
        """
        folder = self._folder(name, depends_on)
        try:
            entry = self._found(folder) or self._made(folder, depends_on, make)
        except OSError as error:
            raise as_store_error(self.root, error) from error
        self.log.append((f"{name} {label}".strip(), entry))
        return entry

    def has(self, name: str, depends_on: Mapping[str, Any]) -> bool:
        """Whether `stage` would find it there, undamaged."""
        return self._found(self._folder(name, depends_on)) is not None

    def checkpoints(self, name: str, depends_on: Mapping[str, Any]) -> Path:
        """Return the folder where a training that makes this stage keeps its checkpoint until it is finished."""
        return self._folder("checkpoints", {"of": name, **depends_on})

    def _folder(self, name: str, depends_on: Mapping[str, Any]) -> Path:
        return self.root / name / key_of({"stage": name, "version": __version__, **depends_on})

    def _found(self, folder: Path) -> Entry | None:
        """The finished stage in `folder`; None when there is none, or a damaged one."""
        try:
            record = yaml.safe_load((folder / RECORD).read_text())
            cost = float(record["seconds"]), float(record.get("memory_mb", 0))
            entry = Entry(folder, folder.name, cost[0], reused=True, memory_mb=cost[1])
            if folder not in self.verified and record["files"] != _checksums(folder):
                return None
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
            return None
        self.verified.add(folder)
        return entry

    def _made(self, folder: Path, depends_on: Mapping[str, Any], make: Callable[[Path], None]) -> Entry:
        """Fill `folder` under its lock, unless another process did so while this one waited."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if found := self._found(folder):
                return found
            if folder.exists():
                log.warning("%s is damaged: it is thrown away and computed again", folder)
                shutil.rmtree(folder)
            return self._fill(folder, depends_on, make)

    def _fill(self, folder: Path, depends_on: Mapping[str, Any], make: Callable[[Path], None]) -> Entry:
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed: the lock is ours
        partial.mkdir()
        try:
            seconds = self._timed(make, partial)
            memory_mb = peak_memory_mb()
            cost = {"seconds": seconds, "memory_mb": memory_mb}
            record = {**cost, "depends_on": plain(depends_on), "files": _checksums(partial)}
            (partial / RECORD).write_text(yaml.safe_dump(record, sort_keys=False))
            partial.rename(folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        self.verified.add(folder)
        return Entry(folder, folder.name, seconds, reused=False, memory_mb=memory_mb)

    def _timed(self, make: Callable[[Path], None], partial: Path) -> float:
        """Run `make` and return its own seconds."""
        start = time.perf_counter()
        self.nested.append(0.0)
        try:
            make(partial)
        finally:
            inside = self.nested.pop()
            elapsed = time.perf_counter() - start
            if self.nested:
                self.nested[-1] += elapsed
        return round(elapsed - inside, 3)


def key_of(depends_on: Mapping[str, Any]) -> str:
    """Return 32 hexadecimal digits that change whenever a value does, whatever the order of the keys.

    >>> key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
    True
    """
    text = json.dumps(plain(depends_on), sort_keys=True, allow_nan=False)
    return xxhash.xxh3_128_hexdigest(text.encode())


def as_store_error(folder: Path, error: OSError) -> StoreError:
    """Return what an OSError means for the user of `folder`."""
    if error.errno == errno.ENOSPC:
        return StoreError(f"{folder}: the disk is full; free some space, or name another folder with --cache or --out")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        denied = error.filename or folder
        return StoreError(f"{denied}: {error.strerror}; change that, or name another folder with --cache or --out")
    return StoreError(f"{folder}: {error}")


def _checksums(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != RECORD)
    return {path.relative_to(folder).as_posix(): _checksum(path) for path in files}


def _checksum(path: Path) -> str:
    digest = xxhash.xxh3_64()
    with path.open("rb") as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
