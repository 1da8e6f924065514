"""Cache files that notice their own damage: a checksum lies in front of the content."""

import os
import threading
from pathlib import Path

import xxhash

DIGEST_BYTES = 8


def read(path: Path) -> bytes | None:
    """Return what `write` put there, or None when the file is absent or damaged; a damaged one is removed."""
    try:
        stored = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, content = stored[:DIGEST_BYTES], stored[DIGEST_BYTES:]
    if digest == xxhash.xxh3_64_digest(content):
        return content
    path.unlink(missing_ok=True)
    return None


def write(path: Path, content: bytes) -> None:
    """Put `content` there whole or not at all: under a temporary name, then one rename, so that writers may race."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        partial.write_bytes(xxhash.xxh3_64_digest(content) + content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
