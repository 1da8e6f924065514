"""Which files of a folder are pictures, and what their bytes are."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import xxhash

from data_loco.errors import DataError

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


def is_picture(path: Path) -> bool:
    """Judged by the suffix alone; hidden files (``._000.png`` of a memory stick) are none.

    >>> is_picture(Path("000.PNG")), is_picture(Path("._000.png")), is_picture(Path("notes.txt"))
    (True, False, False)
    """
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")


def pictures_in(folder: Path) -> tuple[Path, ...]:
    """The pictures directly in `folder`, sorted by name; none where there is no such folder."""
    return tuple(path for path in entries_of(folder) if is_picture(path) and path.is_file())


def folders_in(folder: Path) -> tuple[Path, ...]:
    """The visible folders directly in `folder`, sorted by name; none where there is no such folder."""
    return tuple(path for path in entries_of(folder) if path.is_dir())


def entries_of(folder: Path) -> tuple[Path, ...]:
    """What lies directly in `folder`, sorted by name, without hidden files; DataError if it cannot be listed."""
    if not folder.is_dir():
        return ()
    try:
        return tuple(sorted(path for path in folder.iterdir() if not path.name.startswith(".")))
    except OSError as error:
        raise DataError(folder, f"cannot be listed ({error.strerror})", "check its permissions") from error


def file_bytes(path: Path) -> np.ndarray:
    """The file as uint8 [n]; any path the file system takes, unlike `cv2.imread`."""
    return np.fromfile(path, np.uint8)


def content_hash(path: Path) -> str:
    """32 hexadecimal digits (xxh3, 128 bit) of the file's bytes, kept until its size or modification time changes.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        stat = path.stat()
        return _content_hash(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})", "check the path and its permissions") from error


@lru_cache(maxsize=65536)
def _content_hash(path: Path, size: int, mtime_ns: int) -> str:  # noqa: ARG001 (part of the key)
    return xxhash.xxh3_128(path.read_bytes()).hexdigest()
