"""Files and folders that appear whole or not at all, whatever fails on the way. Each raises StoreError then."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock

from ensemble_ad.store import as_store_error


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of the folder `out` when the block succeeds.

    Processes that want the same `out` wait for one another.
    """
    out = out.resolve()
    partial, old = out.with_name(f".{out.name}.partial"), out.with_name(f".{out.name}.old")
    with _as_store_error(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(out.with_name(f".{out.name}.lock")):
            try:
                _remove(partial, old)  # of a process that was killed: the lock is ours
                partial.mkdir()
                yield partial
                if out.exists():
                    out.rename(old)
                partial.rename(out)
            finally:
                _remove(partial, old)


@contextmanager
def adding_to(out: Path) -> Iterator[Path]:
    """Yield an empty folder whose files move into the folder `out` when the block succeeds; others there stay."""
    with _as_store_error(out):
        home = out if out.exists() else out.parent
        home.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".partial-", dir=home) as partial:
            yield Path(partial)
            for path in sorted(path for path in Path(partial).rglob("*") if path.is_file()):
                target = out / path.relative_to(partial)
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    with adding_to(path.parent) as folder:
        (folder / path.name).write_text(text)


@contextmanager
def _as_store_error(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise as_store_error(out, error) from error


def _remove(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
