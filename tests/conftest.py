"""Runs in tests are not tracked, unless a test is about tracking; `--dist loadgroup` keeps a file on one worker."""

import os

import pytest

os.environ["ENSEMBLE_AD_TRACK"] = "no"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs gigabytes has the group `memory`, so that no two of it run at once; all else is grouped by file."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.name))
