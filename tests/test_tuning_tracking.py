"""`tracking:` in a study says where its trials are mirrored, and nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from loco_folder import build_class
from small_run import call
from small_study import small_study, write_study

from ensemble_ad import tracking
from ensemble_ad.tuning import run

URI = "http://nowhere:5000"


@pytest.fixture
def mirrored(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Where studies were going to be mirrored; they are not run."""
    places: list[Any] = []

    @contextmanager
    def listen(place: Any) -> Iterator[Any]:
        places.append(place)
        yield lambda _folder: None

    found = SimpleNamespace(picks=dict, suffix="", name="quality", study=SimpleNamespace(objective="proxy"))
    monkeypatch.delenv("ENSEMBLE_AD_TRACK", raising=False)
    monkeypatch.setattr(tracking, "mirroring", listen)
    monkeypatch.setattr(run, "tune", lambda *_: found)
    return places


def test_the_file_says_where_and_the_command_line_has_the_last_word(tmp_path: Path, mirrored: list[Any]) -> None:
    build_class(tmp_path / "parts")
    for written, words, expected in (
        (URI, (), URI),
        (False, (), None),
        (URI, ("--no-track",), None),
        (False, ("--tracking-uri", "http://other:5000"), "http://other:5000"),
    ):
        study = write_study(tmp_path / "study.yaml", tracking=written)
        done = call("tune", study, "--out", tmp_path / "out", "--cache", tmp_path / "cache", *words)
        assert done.code == 0, done.err
        place = mirrored.pop()
        assert (None if place is None else place.uri) == expected


def test_nonsense_ends_in_a_sentence(tmp_path: Path, mirrored: list[Any]) -> None:
    build_class(tmp_path / "parts")
    done = call("tune", write_study(tmp_path / "study.yaml", tracking=3), "--out", tmp_path / "out")
    assert (done.code, done.err) == (2, "error: tracking: expected true, false or a tracking URI, got 3\n")
    assert mirrored == []


def test_where_trials_are_mirrored_is_no_part_of_a_study(tmp_path: Path) -> None:
    plain, tracked = small_study(tmp_path), small_study(tmp_path, tracking=URI)
    assert plain.identity([]) == tracked.identity([])
    assert plain == tracked
