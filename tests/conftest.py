"""Runs in tests are not tracked, unless a test is about tracking; what needs gigabytes has the memory for itself."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ["ENSEMBLE_AD_TRACK"] = "no"


@pytest.fixture
def much_memory() -> Iterator[None]:
    """Held by one test at a time, whatever the number of processes that tests run in."""
    with (Path(tempfile.gettempdir()) / "ensemble_ad_much_memory.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
