"""Every study can be read and says what it asks; with a tiny budget on a tiny class it runs."""

import re
import runpy
import sys
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from loco_folder import build_class
from small_run import NETWORK, call

from ensemble_ad.attribution.game import plan_game
from ensemble_ad.attribution.members import members_of
from ensemble_ad.experiment import load_experiment, read_yaml
from ensemble_ad.survey.classes import surveyed_classes
from ensemble_ad.survey.grid import cells_of
from ensemble_ad.tuning.study_file import load_study

STUDIES = Path(__file__).parents[1] / "studies"
COMMANDS = ("survey", "attribute", "tune")
FILES = sorted(STUDIES.glob("[0-9]*.yaml"), key=lambda path: int(path.stem.split("_")[0]))
DEEP = {"backbone": "test_resnet", "weights": "random", "layers": ["layer3"], "image_scale": 1}
PYRAMID = {"backbone": "test_resnet", "weights": "random", "layers": ["layer1", "layer2", "layer3"]}
NETWORK_ALONE = {key: value for key, value in NETWORK.items() if key != "embedding"}
TINY: dict[str, Any] = {
    "size": [64, 64],
    "components": {
        "patchcore": {**NETWORK, "coreset_ratio": 0.1},
        "simplenet": {**NETWORK, "hidden": 8, "epochs": 1},
        "draem": {"width": 4, "discriminative_width": 4, "downscale": 2, "epochs": 1, "batch": 4},
        "cs_flow": {**DEEP, "hidden": 8, "epochs": 1},
        "ast": {**DEEP, "hidden": 8, "teacher_hidden": 8, "epochs": 1},
        "reverse_distillation": {**PYRAMID, "blocks": [1, 1, 1, 1], "epochs": 1},
        "context_regression": NETWORK_ALONE,
        "discriminator": {"hidden": 8, "epochs": 1, "adaptor": False},
    },
}
"""A preset for which every method takes a moment."""
EVERY = 3
"""All of a study's detectors are built; the first of so many are also run."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("studies")
    build_class(base / "data" / "parts")
    (base / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    return base


def command_of(study: Path) -> list[str]:
    """The words of the first command in a study's opening."""
    found = re.search(r"ensemble-ad (.*)", study.read_text())
    assert found, study
    return found[1].split()


def test_there_is_one_for_each_question() -> None:
    assert [int(study.stem.split("_")[0]) for study in FILES] == list(range(1, 11))


@pytest.mark.parametrize("study", FILES, ids=lambda study: study.stem)
def test_a_study_opens_with_question_command_cost_and_expectation(study: Path) -> None:
    opening = [line for line in study.read_text().splitlines() if line.startswith("#")]
    words = [line.split()[1] for line in opening if not line.startswith("#   ")]
    assert words == ["Question", "Command", "Cost", "Expected"]
    assert command_of(study)[0] in COMMANDS
    assert command_of(study)[1] == f"studies/{study.name}"
    assert f"({study.name})" in (STUDIES / "README.md").read_text()


@pytest.mark.parametrize("study", FILES, ids=lambda study: study.stem)
def test_a_study_can_be_built_from_its_preset(study: Path, base: Path) -> None:
    classes = [base / "data" / "parts"]
    kind = command_of(study)[0]
    if kind == "survey":
        cells = cells_of(study, classes)
        assert {cell.setting.experiment.seed for cell in cells} == {0, 1, 2}
        assert {cell.setting.experiment.preset for cell in cells} == {"cpu"}
    elif kind == "attribute":
        experiment = load_experiment(read_yaml(study))
        subsets = 2 ** len(members_of(experiment.detector)) - 1
        assert len(plan_game([experiment], surveyed_classes(classes), permutations=2).cells) == subsets
    else:
        assert load_study(study, classes).space.default()


@pytest.mark.slow
@pytest.mark.parametrize("study", FILES, ids=lambda study: study.stem)
def test_a_study_runs(study: Path, base: Path) -> None:
    small = shrunk(study, base)
    kind, out = command_of(study)[0], base / study.stem
    done = call(
        kind, small, "--data", base / "data/parts", "--out", out, "--cache", base / "cache", *options(kind, base)
    )
    assert done.code == 0, done.err + done.out
    if kind == "survey":
        table = pd.read_csv(out / "table.csv")
        assert table["failure"].isna().all()
        assert set(table["detector"]) == set(yaml.safe_load(small.read_text())["detectors"])
    else:
        assert (out / {"attribute": "attribution.md", "tune": "summary.md"}[kind]).stat().st_size > 0


def shrunk(study: Path, base: Path) -> Path:
    """The same study with one seed, a detector in `EVERY`, two members and few trials."""
    content = yaml.safe_load(study.read_text())
    if "detector" in content:
        members = "extractors" if "extractors" in content["detector"] else "detectors"
        content["detector"][members] = content["detector"][members][:2]
        for rule in content["detector"].values():
            if isinstance(rule, dict) and "weights" in rule:
                rule["weights"] = rule["weights"][:2]
    if "detectors" in content:
        content["detectors"] = dict(islice(content["detectors"].items(), 0, None, EVERY))
    content |= {"seeds": [0]} if "seeds" in content else {}
    content |= {"sizes": [[64, 64], [64, 96]]} if "sizes" in content else {}
    if "space" in content:
        content |= {"trials": 2, "proxy": {"count": 4, "kinds": ["cutpaste", "perlin"]}}
        content["experiment"]["preset"] = str(base / "tiny.yaml")
    path = base / study.name
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def options(kind: str, base: Path) -> list[Any]:
    preset = ["--preset", base / "tiny.yaml"]
    return {"survey": preset, "attribute": [*preset, "--seeds", "0"], "tune": []}[kind]


def test_defects_are_listed_hardest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = {"hole": {"a": [0.2, 0.4], "b": [0.1, 0.1]}, "dent": {"a": [0.9, 0.9], "b": [0.5, 0.7]}, "": {"a": [0, 0]}}
    rows = [
        {"class": "parts", "type": "logical_anomalies", "defect_kind": kind, "detector": detector, "seed": seed}
        | {"metric": "AU-sPRO@0.05", "value": value, "oracle": False}
        for kind, by_detector in scores.items()
        for detector, values in by_detector.items()
        for seed, value in enumerate(values)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "table.csv", index=False)
    monkeypatch.setattr(sys, "argv", ["per_defect.py", str(tmp_path / "table.csv")])
    runpy.run_path(str(STUDIES / "per_defect.py"), run_name="__main__")
    assert capsys.readouterr().out.splitlines() == [
        "| class | type | defect_kind | a | b |",
        "| --- | --- | --- | ---: | ---: |",
        "| parts | logical_anomalies | hole | 0.300 ± 0.141 | 0.100 ± 0.000 |",
        "| parts | logical_anomalies | dent | 0.900 ± 0.000 | 0.600 ± 0.141 |",
    ]


def test_agreement_is_that_of_the_finished_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = pd.DataFrame({"state": ["finished"] * 4 + ["failed"], "quality": [0.1, 0.2, 0.3, 0.4, 0.9]})
    for study, test_quality in (("rising", [0.1, 0.3, 0.5, 0.6, 0.0]), ("one_swapped", [0.1, 0.5, 0.3, 0.6, 0.0])):
        (tmp_path / study).mkdir()
        trials.assign(oracle_test_quality=test_quality).to_csv(tmp_path / study / "trials.csv")
    arguments = [str(tmp_path / name) for name in ("figure.svg", "rising", "one_swapped")]
    monkeypatch.setattr(sys, "argv", ["proxy_agreement.py", *arguments])
    found = runpy.run_path(str(STUDIES / "proxy_agreement.py"), run_name="__main__")
    panels = found["drawn"]([(name, found["finished"](tmp_path / name)) for name in ("rising", "one_swapped")]).axes
    assert [panel.get_title(loc="left") for panel in panels] == [
        "rising, rank correlation 1.00",
        "one_swapped, rank correlation 0.80",
    ]
    assert (tmp_path / "figure.svg").read_text().lstrip().startswith("<?xml")


def test_catches_are_what_the_patches_pass_and_the_ensemble_does_not_kinds_in_turn() -> None:
    """Thresholds are 1; pictures: good, a normal-looking hole twice, a dent that both see, a dent that neither sees."""
    found = runpy.run_path(str(STUDIES / "catches.py"))
    names = [(), ("hole",), ("hole",), ("dent",), ("dent",), ("slot",)]
    samples = tuple(
        SimpleNamespace(
            kind="logical_anomalies" if kind else "good",
            defects=lambda kind=kind: [SimpleNamespace(name=n) for n in kind],
        )
        for kind in names
    )
    scores = {"patches": [0, 0, 0.5, 2, 0, 1], "ensemble": [3, 2, 9, 3, 0.5, 4]}
    normal = torch.tensor([0.0, 1.0])
    judges = [
        found["Judge"](SimpleNamespace(scores=normal), SimpleNamespace(scores=torch.tensor(by)), 1 - 1e-9)
        for by in (list(map(float, scores["patches"])), list(map(float, scores["ensemble"])))
    ]
    assert found["caught"](samples, *judges) == [2, 5, 1]
