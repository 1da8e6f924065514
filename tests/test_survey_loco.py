"""The LOCO survey on a stand-in with LOCO's five class names, through the file that is run on the real one."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from loco_folder import build_class
from small_run import call

from ensemble_ad.survey.grid import cells_of
from ensemble_ad.survey.units import plan_of

STUDY = Path(__file__).parents[1] / "studies" / "loco_survey.yaml"
CLASSES = ("breakfast_box", "juice_bottle", "pushpins", "screw_bag", "splicing_connectors")
NETWORK = {"backbone": "test_resnet", "weights": "random", "layers": ["layer1", "layer2"]}
TINY: dict[str, Any] = {
    "size": [64, 64],
    "components": {
        "patchcore": NETWORK | {"embedding": "concatenation", "coreset_ratio": 0.1},
        "simplenet": NETWORK | {"embedding": "concatenation", "hidden": 8, "epochs": 1},
        "draem": {"width": 4, "discriminative_width": 4, "epochs": 1, "batch": 4},
        "cs_flow": NETWORK | {"layers": ["layer2"], "image_scale": 1, "hidden": 8, "epochs": 1},
        "ast": NETWORK | {"layers": ["layer2"], "image_scale": 1, "hidden": 8, "teacher_hidden": 8, "epochs": 1},
        "reverse_distillation": NETWORK
        | {"layers": ["layer1", "layer2", "layer3"], "blocks": [1, 1, 1, 1], "epochs": 1},
        "context_regression": NETWORK,
        "metrology": NETWORK,
        "discriminator": {"hidden": 8, "epochs": 1},
        "random_forest": {"trees": 5},
    },
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("mvtec_loco_anomaly_detection")
    for name in CLASSES:
        build_class(data / name)
    return data


def test_the_study_opens_with_question_command_cost_and_expectation() -> None:
    heads = [line[2:].split()[0] for line in STUDY.read_text().splitlines() if line.startswith("# ") and line[2] != " "]
    assert heads == ["Question", "Command", "Cost", "Expected"]


@pytest.mark.parametrize("preset", ["cpu", "paper"])
def test_the_study_is_eleven_detectors_on_five_classes_with_eight_fits_each(data: Path, preset: str) -> None:
    cells = cells_of(STUDY, [data], preset)
    assert len(cells) == 5 * 11 * 3
    assert {cell.surveyed.name for cell in cells} == set(CLASSES)
    kinds = [unit.kind for unit in plan_of(cells).units.values()]
    assert kinds.count("fit") == 5 * (7 * 3 + 1)  # context regression draws nothing: one for all seeds
    assert kinds.count("features") == 5 * 3 * 4
    assert kinds.count("record") == len(cells)
    assert kinds.count("predict") == len(cells) + 5 * (3 + 1)  # metrology and context regression are members alone


@pytest.mark.slow
def test_the_whole_survey_on_the_stand_in(data: Path, tmp_path: Path) -> None:
    preset = tmp_path / "tiny.yaml"
    preset.write_text(yaml.safe_dump(TINY))
    study = tmp_path / "loco_survey.yaml"
    study.write_text(STUDY.read_text().replace("seeds: [0, 1, 2]", "seeds: [0]"))
    where = ["--data", data, "--preset", preset, "--cache", tmp_path / "cache", "--out", tmp_path / "out"]
    said = call("survey", study, *where)
    assert said.code == 0, said.err
    assert "55 cells done, 0 failed" in said.out
    table = pd.read_csv(tmp_path / "out" / "table.csv", keep_default_na=False)
    assert set(table["failure"]) == {""}
    assert len(table.groupby(["class", "detector"])) == 55
    assert set(table["type"]) == {"logical_anomalies", "structural_anomalies", "mean"}
    assert (table["seconds"].astype(float) > 0).all()
    summary = (tmp_path / "out" / "summary.md").read_text()
    assert "| output random_forest |" in summary
    assert "55 of 55 cells" in summary
