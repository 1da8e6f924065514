"""A run folder says everything, is written whole, and costs nothing the second time."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from loco_folder import SHAPE, build_class, noise, rectangle, write_picture
from small_run import ALONE, FUSED, files_in, small_experiment, without_times

from data_loco import DataError, open_class
from ensemble_ad import latency, running
from ensemble_ad.errors import StoreError
from ensemble_ad.experiment import Experiment, load_experiment
from ensemble_ad.running import Run, default_out, refuse_errors, refuse_foreign, run
from ensemble_ad.stages import Stages
from ensemble_ad.store import Store

METRICS = {"image_auroc", "pixel_auroc", "au_pr", "au_pro", "au_spro", "per_defect"}


def run_in(base: Path, parts: Path, experiment: Experiment, out: str = "run") -> Run:
    stages = Stages(open_class(parts), experiment.size, Store(base / "cache"))
    return run(stages, experiment, base / out, "ensemble-ad run", refuse_errors(parts))


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_class(tmp_path_factory.mktemp("data") / "parts")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("base")


@pytest.fixture(scope="module")
def first(base: Path, parts: Path) -> Run:
    return run_in(base, parts, small_experiment(FUSED))


def test_the_folder_holds_all_that_is_promised(first: Run) -> None:
    names = files_in(first.folder)
    assert [name for name in names if "/" not in name] == [
        "contributions.npz", "environment.yaml", "experiment.yaml", "maps.npz", "per_image.csv", "report.html",
        "result.json",
    ]  # fmt: skip
    assert all(name.endswith((".safetensors", ".yaml")) for name in names if name.startswith("model/"))
    assert [path.name for path in first.folder.parent.iterdir() if path.suffix == ".partial"] == []


def test_the_result_says_numbers_cost_and_setting(first: Run, parts: Path) -> None:
    result = json.loads((first.folder / "result.json").read_text())
    assert result == json.loads(json.dumps(first.result))
    assert result.keys() >= METRICS
    assert set(result["au_spro"]) == {"0.01", "0.05", "0.1", "0.3", "1.0"}
    assert (result["class"], result["preset"], result["seed"], result["size"]) == (parts.name, "cpu", 0, [64, 64])
    assert result["seconds"].keys() >= {"fit patchcore", "fit simplenet", "head patchcore+simplenet global"}
    assert result["ms_per_picture"] > 0
    assert result["peak_memory_mb"] > 0


def test_the_saved_experiment_is_the_one_that_ran(first: Run) -> None:
    content = yaml.safe_load((first.folder / "experiment.yaml").read_text())
    assert load_experiment(content) == small_experiment(FUSED)


def test_scores_verdicts_and_maps_agree(first: Run, parts: Path) -> None:
    table = pd.read_csv(first.folder / "per_image.csv", dtype={"id": str})
    assert list(zip(table.kind, table.id)) == [(sample.kind, sample.id) for sample in open_class(parts).test]
    assert (table.anomalous == (table.score > first.result["threshold"])).all()
    assert table.defects.fillna("").tolist() == ["", "", "missing_hole", "scratch"]
    with np.load(first.folder / "maps.npz") as maps:
        assert set(maps) == set(table.kind + "/" + table.id)
        assert {maps[name].dtype for name in maps} == {np.dtype(np.float16)}


def test_a_second_run_reuses_everything_and_gives_the_same_numbers(first: Run, base: Path, parts: Path) -> None:
    second = run_in(base, parts, small_experiment(FUSED), out="again")
    assert second.reused
    assert not first.reused
    assert without_times(second.result) == without_times(first.result)
    fits = [name for name in first.result["seconds"] if name.startswith(("fit", "head", "predict"))]
    assert len(fits) == 5
    assert [second.result["seconds"][name] for name in fits] == [first.result["seconds"][name] for name in fits]
    for name in ("per_image.csv", "experiment.yaml", "model/discriminator.safetensors"):
        assert (second.folder / name).read_bytes() == (first.folder / name).read_bytes()


def test_a_threshold_that_one_odd_picture_makes_is_noted(parts: Path, tmp_path: Path) -> None:
    folder = open_class(parts)
    stages = Stages(replace(folder, validation=folder.train), (64, 64), Store(tmp_path))
    scores = torch.linspace(0, 1, len(folder.train))
    assert running._doubts(stages, scores, 0.99) == []
    scores[1] = 40.0
    (note,) = running._doubts(stages, scores, 0.99)
    assert f"good/{folder.train[1].id}:" in note
    quantile = float(note.partition("quantile=")[2].partition(" ")[0])
    assert running._doubts(stages, scores, quantile) == []


def test_the_quantile_moves_the_threshold_alone(first: Run, base: Path, parts: Path) -> None:
    highest = run_in(base, parts, small_experiment(FUSED, quantile=1.0), out="highest")
    lowest = run_in(base, parts, small_experiment(FUSED, quantile=0.0), out="lowest")
    assert highest.reused
    assert lowest.result["threshold"] < first.result["threshold"] < highest.result["threshold"]
    assert highest.result["au_spro"] == first.result["au_spro"]


def test_a_run_is_replaced_and_anything_else_is_not(base: Path, parts: Path, first: Run) -> None:
    again = run_in(base, parts, small_experiment(ALONE), out="replaced")
    run_in(base, parts, small_experiment(FUSED), out="replaced")
    assert "combiner" in (again.folder / "experiment.yaml").read_text()
    photos = base / "photos"
    write_picture(photos / "mine.png", noise(0))
    with pytest.raises(StoreError, match="is not a run folder; name another one with --out"):
        run_in(base, parts, small_experiment(FUSED), out="photos")
    assert files_in(photos) == ["mine.png"]


def test_an_empty_folder_is_taken_and_a_file_is_not(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refuse_foreign(tmp_path / "empty")
    refuse_foreign(tmp_path / "new")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="not a run folder"):
        refuse_foreign(tmp_path / "file")


def test_a_place_without_permission_is_refused_before_anything_is_computed(
    tmp_path: Path, parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running.os, "access", lambda path, _mode: path != tmp_path)
    with pytest.raises(
        StoreError, match="Permission denied; change that, or name another folder with --cache or --out"
    ):
        run_in(tmp_path, parts, small_experiment(ALONE), out="deep/run")
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("writer", ["per_image", "environment"])
def test_a_disk_that_fills_up_leaves_no_half_run(
    first: Run, base: Path, parts: Path, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(running, writer, full)
    with pytest.raises(StoreError, match="the disk is full"):
        run_in(base, parts, small_experiment(FUSED), out="full")
    assert not (base / "full").exists()
    assert not (base / ".full.partial").exists()


def test_default_names_say_what_ran_and_differ_by_experiment(parts: Path) -> None:
    folder = open_class(parts)
    fused, alone = small_experiment(FUSED), small_experiment(ALONE)
    assert default_out(fused, folder, Path("runs")).name.startswith("patchcore+simplenet-global-cpu-seed0-")
    assert default_out(alone, folder, Path("runs")).name.startswith("patchcore-cpu-seed0-")
    assert default_out(fused, folder, Path("runs")) != default_out(replace(fused, quantile=0.5), folder, Path("runs"))
    preset_file = replace(alone, preset="my/own.yaml")
    assert default_out(preset_file, folder, Path("runs")).name.startswith("patchcore-own-seed0-")


def test_maps_are_not_exported_over_the_class_itself(first: Run, base: Path, parts: Path) -> None:
    stages = Stages(open_class(parts), (64, 64), Store(base / "cache"))
    prediction = stages.prediction(small_experiment(FUSED).detector, "test")
    with pytest.raises(StoreError, match="is the class folder"):
        running.export_maps(stages, prediction, parts)


def rendered(root: Path, pictures: dict[str, int], **kind: Any) -> Path:
    """A class with logical defects only."""
    seed = 0
    for folder, count in pictures.items():
        for number in range(count):
            write_picture(root / folder / f"{number:03d}.png", noisy(seed, **kind))
            seed += 1
    for number in range(pictures.get("test/logical_anomalies", 0)):
        mask = rectangle(255, 1, 1, 4, 5, kind.get("shape", SHAPE)[:2])
        write_picture(root / "ground_truth" / "logical_anomalies" / f"{number:03d}" / "000.png", mask)
    kinds = {"defect_name": "missing_hole", "pixel_value": 255, "saturation_threshold": 6, "relative_saturation": False}
    (root / "defects_config.json").write_text(json.dumps([kinds]))
    return root


def noisy(seed: int, shape: tuple[int, ...] = (*SHAPE, 3), dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


COUNTS = {"train/good": 3, "validation/good": 2, "test/good": 2, "test/logical_anomalies": 2}


def test_a_type_without_pictures_is_null_and_left_out_of_the_mean(tmp_path: Path) -> None:
    done = run_in(tmp_path, rendered(tmp_path / "parts", COUNTS), small_experiment(ALONE))
    assert done.result["image_auroc"]["structural_anomalies"] is None
    assert done.result["image_auroc"]["mean"] == done.result["image_auroc"]["logical_anomalies"]


@pytest.mark.parametrize("kind", [{"dtype": np.uint16}, {"shape": (12, 20)}, {"shape": (12, 20), "dtype": np.uint16}])
def test_grey_and_16_bit_pictures_run(tmp_path: Path, kind: dict[str, Any]) -> None:
    done = run_in(tmp_path, rendered(tmp_path / "parts", COUNTS, **kind), small_experiment(FUSED, size=[64, 96]))
    assert done.result["size"] == [64, 96]
    assert 0 <= done.result["au_spro"]["0.05"]["mean"] <= 1


def test_16_bit_pictures_of_the_same_content_score_as_8_bit_ones(tmp_path: Path) -> None:
    eight = rendered(tmp_path / "eight", COUNTS, shape=(64, 64, 3))  # so that resizing rounds nothing
    sixteen = rendered(tmp_path / "sixteen", COUNTS, shape=(64, 64, 3))
    for path in [*sixteen.glob("train/*/*.png"), *sixteen.glob("validation/*/*.png"), *sixteen.glob("test/*/*.png")]:
        write_picture(path, cv2.imread(str(path)).astype(np.uint16) * 257)
    scores = [
        pd.read_csv(run_in(tmp_path / name, root, small_experiment(ALONE)).folder / "per_image.csv").score.to_numpy()
        for name, root in (("a", eight), ("b", sixteen))
    ]
    np.testing.assert_allclose(*scores, rtol=1e-4)


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        ({**COUNTS, "train/good": 1}, "expected at least 2 training pictures, got 1"),
        ({**COUNTS, "test/logical_anomalies": 0}, "no anomalous test pictures"),
        ({**COUNTS, "test/good": 0}, "no normal test pictures"),
        ({"train/good": 3, "validation/good": 2}, "no anomalous test pictures"),
    ],
)
def test_a_class_that_cannot_be_measured_is_refused_in_words(tmp_path: Path, counts: dict[str, int], says: str) -> None:
    parts = rendered(tmp_path / "parts", counts)
    with pytest.raises(DataError, match=says) as caught:
        run_in(tmp_path, parts, small_experiment(ALONE))
    assert "ensemble-ad data check" in str(caught.value)
    assert files_in(tmp_path / "cache") == []


def test_no_validation_split_is_noted_and_taken_from_training(tmp_path: Path) -> None:
    parts = rendered(tmp_path / "parts", {**COUNTS, "validation/good": 0, "train/good": 12})
    done = run_in(tmp_path, parts, small_experiment(ALONE))
    assert any("validation" in note for note in done.result["notes"])


def test_pictures_are_timed_only_where_there_are_any(first: Run, base: Path, parts: Path) -> None:
    folder = open_class(parts)
    stages = Stages(replace(folder, test=()), (64, 64), Store(base / "cache"))
    assert latency.milliseconds_per_picture(stages, small_experiment(FUSED).detector) is None


def test_a_machine_times_a_detector_once(tmp_path: Path, parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = small_experiment(ALONE).detector
    stages = Stages(open_class(parts), (64, 64), Store(tmp_path / "cache"))
    first = latency.milliseconds_per_picture(stages, detector)
    monkeypatch.setattr(latency, "measured_now", lambda *_: 1e6)
    assert latency.milliseconds_per_picture(stages, detector) == first
    monkeypatch.setattr(latency, "processor", lambda: "another one")
    assert latency.milliseconds_per_picture(stages, detector) == 1e6


def test_a_run_leaves_the_global_random_state_alone(tmp_path: Path, parts: Path) -> None:
    before = torch.get_rng_state()
    run_in(tmp_path, parts, small_experiment(FUSED, seed=3))
    assert torch.equal(torch.get_rng_state(), before)
