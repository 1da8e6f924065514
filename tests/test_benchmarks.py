"""Every benchmark can be read, says what it asks, and knows the names that it calls."""

import runpy
import sys
from pathlib import Path

import pytest
from loco_folder import build_class

BENCHMARKS = sorted((Path(__file__).parents[1] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_it_says_what_it_asks_and_prints_its_help(path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(path.parent)  # as running the script does
    monkeypatch.setattr(sys, "argv", [path.name, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(path), run_name="__main__")
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert all(f"{heading}:" in said for heading in ("Question", "Command", "Cost", "Expected"))


def test_the_study_whose_trials_are_timed_can_draw_its_default_and_the_timed_points(tmp_path):
    names = runpy.run_path(str(next(path for path in BENCHMARKS if path.stem == "trial")))
    study = names["study_of"](tmp_path, build_class(tmp_path / "part"), ["patchcore", "simplenet"])
    assert study.space.default().keys() == names["SPACE"].keys()
    for point in names["other_points"](3):
        study.space.experiment(point)
