"""Tracking from the command line: on unless somebody says no, and never in the way."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from loco_folder import build_class
from small_run import ALONE, call, write_experiment
from test_tracking_outbox import URI, free_port
from test_tracking_record import write_record

from ensemble_ad import cli_track, running
from ensemble_ad.experiment import Experiment
from ensemble_ad.running import Run
from ensemble_ad.tracking import Tracking, outbox
from ensemble_ad.tracking import mirror as mirrors
from ensemble_ad.tracking.mirror import Summary
from ensemble_ad.tracking.place import BOX


@pytest.fixture(autouse=True)
def _no_server_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    homes: list[Path] = []
    monkeypatch.setattr(outbox, "start", homes.append)
    return homes


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    build_class(folder / "parts")
    return folder


def stand_in(_stages: Any, experiment: Experiment, out: Path, *_: Any) -> Run:
    out.mkdir(exist_ok=True)
    (out / "experiment.yaml").write_text(experiment.to_yaml())
    metrics = {name: {"mean": 0.5} for name in ("image_auroc", "pixel_auroc", "au_pr")}
    return Run(out, {**metrics, "au_pro": {}, "au_spro": {}}, reused=True)


def test_a_run_is_noted_unless_somebody_says_no(
    base: Path, started: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(file: Path, *words: object) -> str:
        done = call("run", file, "--data", base / "parts", "--out", base / "run", "--cache", base / "cache", *words)
        assert done.code == 0, done.err
        return done.out

    monkeypatch.setattr(running, "run", stand_in)
    monkeypatch.delenv("ENSEMBLE_AD_TRACK", raising=False)
    on, off = write_experiment(base / "on.yaml", ALONE), write_experiment(base / "off.yaml", ALONE, tracking=False)
    there = write_experiment(base / "there.yaml", ALONE, tracking=URI)
    assert f"MLflow, sqlite:///{base}/mlflow.db: ensemble-ad track ui {base}" in said(on)
    assert len(started) == 1
    for file, words in ((off, ()), (on, ("--no-track",)), (on, ("--set", "tracking=false"))):
        assert "MLflow" not in said(file, *words)
    monkeypatch.setenv("ENSEMBLE_AD_TRACK", "0")
    assert "MLflow" not in said(on)
    assert len(started) == 1
    assert "MLflow, sqlite" in said(off, "--track")
    assert "MLflow, http://other" in said(there, "--track", "--tracking-uri", "http://other")
    assert f"MLflow, {URI}" in said(there, "--track")
    uris = {json.loads(note.read_text())["uri"] for note in (base / BOX).glob("*.json")}
    assert uris == {f"sqlite:///{base}/mlflow.db", "http://other", URI}
    assert "tracking" not in yaml.safe_load((base / "run" / "experiment.yaml").read_text())


def test_nonsense_under_tracking_ends_in_a_sentence(base: Path) -> None:
    file = write_experiment(base / "wrong.yaml", ALONE, tracking=3)
    said = call("run", file, "--data", base / "parts", "--out", base / "none")
    assert (said.code, said.err) == (2, "error: tracking: expected true, false or a tracking URI, got 3\n")


IMPORTS = """
import sys
from unittest.mock import patch
from ensemble_ad.cli import main
from ensemble_ad import running
from ensemble_ad.tracking import Tracking, outbox
from test_tracking_cli import stand_in

for tracked in ("--track", "--no-track"):
    with patch.object(sys, "argv", [*sys.argv, tracked]), patch.object(outbox, "start"):
        with patch.object(running, "run", stand_in):
            try:
                main()
            except SystemExit as end:
                assert not end.code
print("mlflow" in sys.modules, file=sys.stderr)
"""


def test_a_run_imports_no_mlflow_tracked_or_not(base: Path) -> None:
    words = ["run", write_experiment(base / "on.yaml", ALONE), "--data", base / "parts", f"--out={base / 'run'}"]
    command = [sys.executable, "-c", IMPORTS, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent)
    assert done.stderr.splitlines()[-1] == "False"
    assert len(list((base / BOX).glob("*.json"))) >= 1


@pytest.mark.parametrize("failures", [[], ["runs/b: no"]])
def test_sync_counts_and_says_what_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: list[str]) -> None:
    asked = []

    def stand_in_all(root: Path, uri: str, _progress: Any) -> Summary:
        asked.append((root, uri))
        return Summary(new=2, there=1, failures=failures)

    monkeypatch.setattr(mirrors, "mirror_all", stand_in_all)
    (tmp_path / "runs").mkdir()
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    outbox.post(Tracking(tmp_path, uri), tmp_path / "runs" / "a")
    outbox.post(Tracking(tmp_path, URI), tmp_path / "runs" / "a")
    said = call("track", "sync", tmp_path, tmp_path / "runs")
    assert asked == [(tmp_path, uri), (tmp_path / "runs", uri)]
    assert f"{tmp_path} -> {uri}: 2 mirrored, 1 there already, {len(failures)} failed" in said.out
    assert (said.code, said.err.splitlines()) == (bool(failures), 2 * failures)
    waiting = {json.loads(note.read_text())["uri"] for note in (tmp_path / BOX).glob("*.json")}
    assert waiting == ({uri, URI} if failures else {URI})


def test_sync_of_nothing_or_to_nobody_ends_in_a_sentence(tmp_path: Path) -> None:
    said = call("track", "sync", tmp_path / "none")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "no such folder" in said.err
    write_record(tmp_path / "run")
    silent = call("track", "sync", tmp_path, "--tracking-uri", f"http://127.0.0.1:{free_port()}")
    assert (silent.code, silent.err.count("\n")) == (2, 1)
    assert "does not answer" in silent.err


def test_the_pages_of_a_store_are_started_and_those_of_a_server_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = []

    def stand_in_exec(_python: str, command: list[str], environment: dict[str, str]) -> None:
        commands.append(command)
        assert environment["MLFLOW_DISABLE_TELEMETRY"] == environment["DO_NOT_TRACK"] == "true"

    monkeypatch.setattr(cli_track.os, "execve", stand_in_exec)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    words = ["mlflow", "ui", "--backend-store-uri", uri, "--workers", "1", "--port", "5001"]
    assert call("track", "ui", tmp_path, "--port", 5001, "--print").out.split() == words
    assert "no such store yet; `ensemble-ad track sync" in call("track", "ui", tmp_path).err
    (tmp_path / "mlflow.db").touch()
    assert "http://127.0.0.1:5001" in call("track", "ui", tmp_path, "--port", 5001).out
    assert commands == [[sys.executable, "-m", *words]]
    assert call("track", "ui", tmp_path, "--tracking-uri", URI).out == f"MLflow's pages are at {URI}\n"
