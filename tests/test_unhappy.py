"""What bad input, a full disk, Ctrl-C and a kill get: a sentence, nothing half-written, and the same numbers later."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from loco_folder import build_class, noise, rectangle, truncate, write_picture
from small_run import ALONE, FUSED, PATCHCORE, SIMPLENET, Called, call, files_in, without_times, write_experiment


def run(base: Path, experiment: Path, data: Path, *words: object) -> Called:
    return call("run", experiment, "--data", data, "--out", base / "run", "--cache", base / "cache", *words)


def refused(said: Called, base: Path, *words: str) -> None:
    """Exit status 2, a sentence with `words`, no traceback, and nothing written."""
    assert said.code == 2, said
    assert "Traceback" not in said.err
    for word in words:
        assert word in said.err
    assert [name for name in files_in(base) if name.split("/")[0] in ("run", "cache")] == []
    assert not any(path.name.startswith((".run", ".partial")) for path in base.iterdir())


EXPERIMENTS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "unknown key": ({"sead": 1}, ("e.yaml: unknown key 'sead' (did you mean 'seed'?)", "it takes")),
    "wrong type": ({"seed": "one"}, ("e.yaml: seed: expected a number", "'one'")),
    "size of words": ({"size": "big"}, ("size: expected [height, width]", "'big'")),
    "size too small": ({"size": [64, 8]}, ("size: expected", "at least 32")),
    "quantile above 1": ({"quantile": 2}, ("quantile: expected a number from 0.0 to 1.0",)),
    "unknown preset": ({"preset": "cpuu"}, ("unknown preset 'cpuu' (did you mean 'cpu'?)",)),
    "a missing preset file": ({"preset": "mine.yaml"}, ("mine.yaml: No such file",)),
    "unknown detector": ({"detector": "standalon"}, ("'standalon' (did you mean 'standalone'?)",)),
    "detector that is a number": ({"detector": 5}, ("detector",)),
    "detector that is nothing": ({"detector": None}, ("detector",)),
    "detector that is a list": ({"detector": [ALONE]}, ("detector",)),
    "unknown extractor": (
        {"detector": {**FUSED, "extractors": ["patchcor"]}},
        ("'patchcor' (did you mean 'patchcore'?)",),
    ),
    "no extractor": ({"detector": {**FUSED, "extractors": []}}, ("extractors: expected a list of at least one",)),
    "unknown combiner": ({"detector": {**FUSED, "combiner": "globl"}}, ("'globl' (did you mean 'global'?)",)),
    "unknown parameter": (
        {"detector": {**ALONE, "method": {**PATCHCORE, "coreset": 1}}},
        ("PatchCore has no parameter 'coreset' (did you mean 'coreset_ratio'?)",),
    ),
    "parameter of a wrong type": (
        {"detector": {**ALONE, "method": {**SIMPLENET, "epochs": "many"}}},
        ("SimpleNet: epochs", "'many'"),
    ),
    "parameter out of its choices": (
        {"detector": {**ALONE, "method": {**PATCHCORE, "cut": "middle"}}},
        ("PatchCore: cut", "'middle'"),
    ),
    "unknown network": (
        {"detector": {**ALONE, "method": {**PATCHCORE, "backbone": "test_resnt"}}},
        ("test_resnt", "test_resnet"),
    ),
    "unknown layer": ({"detector": {**ALONE, "method": {**PATCHCORE, "layers": ["layer9"]}}}, ("layer9", "usual ones")),
    "a value out of range": (
        {"detector": {**ALONE, "method": {**PATCHCORE, "coreset_ratio": 2.0}}},
        ("patchcore: expected coreset_ratio in (0, 1], got 2.0",),
    ),
    "no weights": (
        {"detector": {**ALONE, "method": {**PATCHCORE, "weights": "none.pth"}}},
        ("none.pth is not a file",),
    ),
}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_class(tmp_path_factory.mktemp("data") / "parts")


@pytest.mark.parametrize("fault", EXPERIMENTS)
def test_a_faulty_experiment(tmp_path: Path, parts: Path, fault: str) -> None:
    changes, words = EXPERIMENTS[fault]
    experiment = write_experiment(tmp_path / "e.yaml", **{"detector": FUSED, **changes})
    refused(run(tmp_path, experiment, parts), tmp_path, *words)


@pytest.mark.parametrize(
    ("text", "says"),
    [("seed: [", "e.yaml: not valid YAML"), ("- seed", "e.yaml: expected keys and values, got list"), ("", "NoneType")],
)
def test_a_file_that_is_no_experiment(tmp_path: Path, parts: Path, text: str, says: str) -> None:
    (tmp_path / "e.yaml").write_text(text)
    refused(run(tmp_path, tmp_path / "e.yaml", parts), tmp_path, says)


def test_an_experiment_that_is_not_there(tmp_path: Path, parts: Path) -> None:
    refused(run(tmp_path, tmp_path / "e.yaml", parts), tmp_path, "e.yaml: No such file")


OPTIONS = {
    "a setting without a value": (["--set", "seed"], "--set 'seed': expected key.path=value"),
    "a setting that is no YAML": (["--set", "seed=["], "--set 'seed=["),
    "a setting below a value": (["--set", "seed.more=1"], "seed: expected a number"),
    "a setting past the list": (["--set", "detector.extractors.7.sigma=1"], "expected a position 0 to 1"),
    "an unknown setting": (["--set", "detector.sigmaa=1"], "did you mean 'sigma'?"),
    "unknown members": (["--extractors", "patchcore,simplnet"], "did you mean 'simplenet'?"),
    "no members": (["--extractors", ""], "unknown component ''"),
    "an unknown block": (["--combiner", "all"], "unknown component 'all'"),
    "a device that is not there": (["--device", "nonsense"], "--device nonsense"),
    "an unknown engine": (["--engine", "quick"], "'--engine'"),
    "a negative seed": (["--seed", -1], "seed: expected a number from 0"),
}


@pytest.mark.parametrize("fault", OPTIONS)
def test_a_faulty_option(tmp_path: Path, parts: Path, fault: str) -> None:
    words, says = OPTIONS[fault]
    refused(run(tmp_path, write_experiment(tmp_path / "e.yaml"), parts, *words), tmp_path, says)


def test_no_data_says_how_to_make_some(tmp_path: Path) -> None:
    said = call("run", "--out", tmp_path / "run", "--cache", tmp_path / "cache")
    refused(said, tmp_path, "--data: expected a class folder", "ensemble-ad data render")


def black(root: Path) -> None:
    for number, path in enumerate(sorted((root / "validation" / "good").iterdir())):
        write_picture(path, np.zeros((12, 20 + number, 3), np.uint8))


CLASSES: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "truncated picture": (
        lambda root: truncate(root / "train/good/001.png"),
        ("001.png: is truncated", "copy it again"),
    ),
    "corrupt picture": (
        lambda root: (root / "test/good/001.png").write_bytes(b"\x89PNG" + bytes(80)),
        ("test/good/001.png", "again"),
    ),
    "empty picture": (lambda root: (root / "train/good/000.png").write_bytes(b""), ("000.png: is empty (0 bytes)",)),
    "mask of another size": (
        lambda root: write_picture(
            root / "ground_truth/logical_anomalies/000/000.png", rectangle(255, 1, 1, 4, 5, (24, 40))
        ),
        ("logical_anomalies/000/000.png", "size"),
    ),
    "all-black validation set": (black, ("validation/good", "no threshold can come from them", "again")),
    "no mask": (
        lambda root: (root / "ground_truth/logical_anomalies/000/000.png").unlink(),
        ("logical_anomalies", "mask"),
    ),
    "no such kind of defect": (
        lambda root: write_picture(root / "ground_truth/logical_anomalies/000/000.png", rectangle(7, 1, 1, 4, 5)),
        ("000.png", "7"),
    ),
}


@pytest.mark.parametrize("fault", CLASSES)
def test_a_faulty_class(tmp_path: Path, fault: str) -> None:
    spoil, words = CLASSES[fault]
    spoil(build_class(tmp_path / "parts"))
    said = run(tmp_path, write_experiment(tmp_path / "e.yaml", ALONE), tmp_path / "parts")
    refused(said, tmp_path, *words, "ensemble-ad data check")


def test_a_folder_that_is_no_class(tmp_path: Path, parts: Path) -> None:
    experiment = write_experiment(tmp_path / "e.yaml", ALONE)
    (tmp_path / "empty").mkdir()
    refused(run(tmp_path, experiment, tmp_path / "empty"), tmp_path, "has no train/good (it is empty)")
    refused(run(tmp_path, experiment, tmp_path / "none"), tmp_path, "none: no such folder")
    refused(run(tmp_path, experiment, parts.parent), tmp_path, "is the parent of class folders", str(parts))
    refused(run(tmp_path, experiment, experiment), tmp_path, "e.yaml: is a file")


def test_an_out_folder_that_is_no_run(tmp_path: Path, parts: Path) -> None:
    write_picture(tmp_path / "photos" / "mine.png", noise(0))
    experiment = write_experiment(tmp_path / "e.yaml", ALONE)
    said = call("run", experiment, "--data", parts, "--out", tmp_path / "photos", "--cache", tmp_path / "cache")
    refused(said, tmp_path, "photos: exists and is not a run folder; name another one with --out")
    assert files_in(tmp_path / "photos") == ["mine.png"]


def test_maps_with_nan_are_a_faulty_submission(tmp_path: Path, parts: Path) -> None:
    for path in parts.glob("test/*/*.png"):
        target = tmp_path / "maps" / "test" / path.parent.name / f"{path.stem}.tiff"
        target.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(target, np.full((12, 20), np.nan if path.parent.name == "good" else 1.0, np.float32))
    said = call("evaluate", tmp_path / "maps", "--data", parts, "--json", tmp_path / "result.json")
    assert said.code == 1
    assert "2 problems" in said.err
    assert "240 of 240 scores are NaN" in said.err
    assert not (tmp_path / "result.json").exists()


def test_fewer_pictures_than_a_batch_just_work(tmp_path: Path) -> None:
    parts = build_class(tmp_path / "parts", train=2, validation=1, good=1)
    assert run(tmp_path, write_experiment(tmp_path / "e.yaml"), parts).code == 0


def full(*_: object) -> None:
    raise OSError(28, "No space left on device", "somewhere/file")


WRITERS = {
    "features": "ensemble_ad.stages.write_tensors",
    "checkpoint": "extractors.training.Path.write_bytes",
    "model": "ensemble_ad.running.save_detector",
    "report": "ensemble_ad.run_report.write_report",
}


@pytest.mark.parametrize("writes", WRITERS)
def test_a_full_disk(tmp_path: Path, parts: Path, monkeypatch: pytest.MonkeyPatch, writes: str) -> None:
    experiment = write_experiment(tmp_path / "e.yaml")
    with monkeypatch.context() as patched:
        patched.setattr(WRITERS[writes], full)
        said = run(tmp_path, experiment, parts)
    assert said.code == 2, said
    assert "the disk is full" in said.err
    assert said.err.splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "run").exists()
    assert [name for name in files_in(tmp_path) if "partial" in name] == []
    assert run(tmp_path, experiment, parts).code == 0


def test_no_permission_to_write(tmp_path: Path, parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", denied)
    said = run(tmp_path, Path(os.devnull), parts, "--preset", "cpu")
    assert said.code == 2
    experiment = tmp_path / "e.yaml"
    experiment.write_text(json.dumps({"size": 64, "detector": ALONE}))
    refused(run(tmp_path, experiment, parts), tmp_path, "Permission denied", "--cache or --out")


def test_a_training_that_diverges_says_what_to_try(tmp_path: Path, parts: Path) -> None:
    wild = {**ALONE, "method": {**SIMPLENET, "learning_rate": 1e30, "adaptor_learning_rate": 1e30, "epochs": 5}}
    said = run(tmp_path, write_experiment(tmp_path / "e.yaml", wild), parts)
    assert said.code == 2
    assert "error: simplenet: the loss became" in said.err
    assert "try a lower learning rate" in said.err
    assert not (tmp_path / "run").exists()
    assert files_in(tmp_path / "cache" / "fit") == []


LONG = {**FUSED, "extractors": [PATCHCORE, {**SIMPLENET, "epochs": 150}]}
"""Trains long enough to be stopped in the middle."""


def start(base: Path, experiment: Path, parts: Path, *words: str) -> "subprocess.Popen[str]":
    code = "import sys; from ensemble_ad.cli import main; sys.argv = ['ensemble-ad', *sys.argv[1:]]; main()"
    places = ["--out", str(base / "run"), "--cache", str(base / "cache")]
    command = [sys.executable, "-c", code, "run", str(experiment), "--data", str(parts), *places, *words]
    same = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}  # sums differ in the last digits otherwise
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=same)


def epochs_done(base: Path) -> int:
    for path in base.glob("cache/checkpoints/*/simplenet.checkpoint"):
        return int(torch.load(path, weights_only=True)["done"])
    return 0


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_a_run_that_is_stopped_goes_on_where_it_was(
    tmp_path: Path, parts: Path, stop: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    experiment = write_experiment(tmp_path / "e.yaml", LONG)
    process = start(tmp_path, experiment, parts)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("cache/checkpoints/*/simplenet.checkpoint")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(stop)
    _, said = process.communicate(timeout=60)
    done = epochs_done(tmp_path)
    assert 0 < done < 150
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()
    if stop == signal.SIGINT:
        assert process.returncode == 130
        assert "the same command goes on from there" in said.splitlines()[-1]
        assert not [name for name in files_in(tmp_path) if "partial" in name]

    with caplog.at_level(logging.INFO, "extractors.training"):
        went_on = run(tmp_path, experiment, parts, "--json", tmp_path / "stopped.json")
    assert went_on.code == 0, went_on.err
    assert f"training goes on after epoch {done} " in caplog.text
    assert "fit patchcore" not in went_on.out, "a finished stage was computed again"
    assert not [name for name in files_in(tmp_path) if "partial" in name]

    other = tmp_path / "other"
    other.mkdir()
    assert run(other, experiment, parts, "--json", tmp_path / "whole.json").code == 0
    stopped, whole = (json.loads((tmp_path / name).read_text()) for name in ("stopped.json", "whole.json"))
    assert without_times(stopped) == without_times(whole)
    assert (tmp_path / "run" / "per_image.csv").read_bytes() == (other / "run" / "per_image.csv").read_bytes()


@pytest.mark.slow
def test_two_runs_at_once_both_end_right(tmp_path: Path, parts: Path) -> None:
    experiment = write_experiment(tmp_path / "e.yaml")
    results = [tmp_path / "a.json", tmp_path / "b.json"]
    processes = [start(tmp_path, experiment, parts, "--json", str(result)) for result in results]
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    first, second = (json.loads(result.read_text()) for result in results)
    assert without_times(first) == without_times(second)
    fits = [name for name in first["seconds"] if name.startswith("fit ")]
    assert [first["seconds"][name] for name in fits] == [second["seconds"][name] for name in fits], "a fit ran twice"
    assert json.loads((tmp_path / "run" / "result.json").read_text()) in (first, second)
    assert not [name for name in files_in(tmp_path) if "partial" in name or ".old" in name]
