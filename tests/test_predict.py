"""New photographs: the run's own numbers, a verdict, and pictures to look at."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from loco_folder import build_class, noise, truncate, write_picture
from small_run import ALONE, FUSED, Called, call, files_in, write_experiment


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the class `parts` and a finished run of each kind of detector."""
    folder = tmp_path_factory.mktemp("base")
    build_class(folder / "parts")
    for name, detector in {"fused": FUSED, "alone": ALONE}.items():
        file = write_experiment(folder / f"{name}.yaml", detector)
        cache = ["--cache", folder / "cache"]
        assert call("run", file, "--data", folder / "parts", "--out", folder / name, *cache).code == 0
    return folder


def predict(base: Path, out: Path, *pictures: object, run: str = "fused") -> Called:
    return call("predict", base / run, *pictures, "--out", out)


@pytest.mark.parametrize("run", ["fused", "alone"])
def test_the_pictures_of_the_run_get_the_scores_of_the_run(base: Path, tmp_path: Path, run: str) -> None:
    folders = [base / "parts" / "test" / kind for kind in ("good", "logical_anomalies", "structural_anomalies")]
    said = predict(base, tmp_path / "out", *folders, run=run)
    assert said.code == 0, said.err
    ours, theirs = pd.read_csv(tmp_path / "out" / "scores.csv"), pd.read_csv(base / run / "per_image.csv")
    np.testing.assert_allclose(ours.score, theirs.score, rtol=0, atol=1e-5)
    assert ours.anomalous.tolist() == theirs.anomalous.tolist()
    assert ours.picture.tolist() == [str(path) for folder in folders for path in sorted(folder.iterdir())]


def test_the_verdict_is_score_above_threshold(base: Path, tmp_path: Path) -> None:
    said = predict(base, tmp_path / "out", base / "parts" / "train" / "good", base / "parts" / "test" / "good")
    threshold = yaml.safe_load((base / "fused" / "model" / "verdict.yaml").read_text())["threshold"]
    table = pd.read_csv(tmp_path / "out" / "scores.csv")
    assert (table.anomalous == (table.score > threshold)).all()
    assert f"{table.anomalous.sum()} of {len(table)} anomalous" in said.out


def test_heat_map_and_overlay_have_the_size_of_the_picture(base: Path, tmp_path: Path) -> None:
    picture = write_picture(tmp_path / "wide.png", noise(1, (30, 70, 3)))
    assert predict(base, tmp_path / "out", picture).code == 0
    assert files_in(tmp_path / "out") == ["00000_wide_heat.png", "00000_wide_overlay.jpg", "scores.csv"]
    for name in ("00000_wide_heat.png", "00000_wide_overlay.jpg"):
        assert cv2.imread(str(tmp_path / "out" / name)).shape == (30, 70, 3)


def test_pictures_of_one_name_from_two_folders_are_kept_apart(base: Path, tmp_path: Path) -> None:
    pictures = [base / "parts" / kind / "good" / "000.png" for kind in ("train", "test")]
    assert predict(base, tmp_path / "out", *pictures).code == 0
    assert len(list((tmp_path / "out").glob("*_000_heat.png"))) == 2


def test_more_pictures_than_a_batch_are_scored_as_one_by_one(base: Path, tmp_path: Path) -> None:
    for number in range(11):
        write_picture(tmp_path / "many" / f"{number:02d}.png", noise(number))
    predict(base, tmp_path / "together", tmp_path / "many")
    predict(base, tmp_path / "one", tmp_path / "many" / "10.png")
    together, one = (pd.read_csv(tmp_path / name / "scores.csv") for name in ("together", "one"))
    assert len(together) == 11
    assert one.score[0] == pytest.approx(together.score[10], abs=1e-5)


@pytest.mark.parametrize("image", [noise(3, (12, 20)), noise(3).astype(np.uint16) * 257], ids=["grey", "16 bit"])
def test_grey_and_16_bit_pictures_are_scored(base: Path, tmp_path: Path, image: np.ndarray) -> None:
    assert predict(base, tmp_path / "out", write_picture(tmp_path / "a.png", image)).code == 0


def test_the_model_folder_alone_is_enough(base: Path, tmp_path: Path) -> None:
    (base / "fused" / "model").rename(tmp_path / "moved")
    try:
        said = call("predict", tmp_path / "moved", base / "parts" / "test" / "good", "--out", tmp_path / "out")
    finally:
        (tmp_path / "moved").rename(base / "fused" / "model")
    assert said.code == 0, said.err


def test_a_truncated_picture_leaves_no_half_output(base: Path, tmp_path: Path) -> None:
    for number in range(10):
        write_picture(tmp_path / "photos" / f"{number}.png", noise(number))
    truncate(tmp_path / "photos" / "9.png")
    said = predict(base, tmp_path / "out", tmp_path / "photos")
    assert said.code == 2
    assert "9.png: is truncated" in said.err
    assert [name for name in files_in(tmp_path) if not name.startswith("photos/")] == []


FAULTS = {
    "no such picture": (lambda base, tmp: ["fused", tmp / "none.png"], "none.png: is not a picture file"),
    "no picture": (lambda base, tmp: ["fused", base / "fused.yaml"], "fused.yaml: is not a picture file"),
    "an empty folder": (lambda base, tmp: ["fused", tmp], "holds no picture"),
    "no run": (lambda base, tmp: ["parts", base / "parts" / "test" / "good"], "expected a run folder"),
    "no folder": (lambda base, tmp: ["nowhere", base / "parts" / "test" / "good"], "expected a run folder"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_predicted_is_said_in_words(base: Path, tmp_path: Path, fault: str) -> None:
    words, says = FAULTS[fault]
    run, picture = words(base, tmp_path)
    said = predict(base, tmp_path / "out", picture, run=run)
    assert said.code == 2
    assert says in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("verdict.yaml", b"threshold: 1"),
        ("verdict.yaml", b"threshold: [1]\nscale: [0, 1]"),
        ("verdict.yaml", b"{"),
        ("extractor0.safetensors", b"12345678"),
        ("discriminator.safetensors", b""),
        ("experiment.yaml", b"sead: 1"),
    ],
)
def test_a_damaged_model_is_named(base: Path, tmp_path: Path, file: str, content: bytes) -> None:
    path = base / "fused" / "model" / file
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        said = predict(base, tmp_path / "out", base / "parts" / "test" / "good")
    finally:
        path.write_bytes(before)
    assert said.code == 2
    assert file in said.err
