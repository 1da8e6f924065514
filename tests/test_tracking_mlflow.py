"""Against MLflow itself: an SQLite store, a server on loopback, and the model it hands out."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pandas as pd
import pytest
from loco_folder import build_class
from small_run import FUSED, write_experiment
from test_tracking_record import RESULT, write_record, write_survey

from ensemble_ad.errors import StoreError
from ensemble_ad.progress import Silent
from ensemble_ad.tracking import mirror as mirrors
from ensemble_ad.tracking import outbox
from ensemble_ad.tracking.mirror import KEY, mirror, mirror_all
from ensemble_ad.tracking.place import BOX, SETTINGS
from ensemble_ad.tracking.record import read_record

pytestmark = pytest.mark.slow
QUIET = {**os.environ, **SETTINGS}
SYNC = [sys.executable, "-c", "from ensemble_ad.cli_track import track; track()", "sync"]


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in ("MLFLOW_TRACKING_URI", *SETTINGS)}
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    yield
    for name, value in before.items():
        os.environ.pop(name, None)
        os.environ.update({} if value is None else {name: value})


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite store with its tables, which take MLflow seconds to make."""
    home = tmp_path_factory.mktemp("empty")
    assert runs_in(home) == []
    return home / "mlflow.db"


@pytest.fixture
def home(tmp_path: Path, empty: Path) -> Path:
    shutil.copy(empty, tmp_path)
    return tmp_path


def uri_of(home: Path) -> str:
    return f"sqlite:///{home}/mlflow.db"


def client_of(home: Path | str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(home if isinstance(home, str) else uri_of(home))


def runs_in(home: Path | str) -> list[Any]:
    client = client_of(home)
    return list(client.search_runs([entry.experiment_id for entry in client.search_experiments()]))


def names_of(runs: list[Any]) -> list[str]:
    return sorted(run.info.run_name for run in runs)


def artifacts_of(home: Path | str, run_id: str, inside: str | None = None) -> list[str]:
    return sorted(entry.path for entry in client_of(home).list_artifacts(run_id, inside))


def test_mlflow_shows_what_the_record_says(home: Path) -> None:
    folder = write_record(home / "run")
    made = mirror(folder, uri_of(home))
    run, record = client_of(home).get_run(made.run_id), read_record(folder)
    assert made.new
    assert run.data.params == record.params
    assert run.data.metrics == record.metrics
    assert run.data.tags.items() >= record.tags.items()
    assert (run.info.run_name, run.info.status) == ("run", "FINISHED")
    assert run.info.end_time - run.info.start_time == 2500
    assert artifacts_of(home, made.run_id) == ["experiment.yaml", "per_image.csv", "result.json"]
    assert Path(run.info.artifact_uri.removeprefix("file://")).is_relative_to(home / "mlartifacts")


def test_a_record_is_one_run_however_often_and_from_wherever(home: Path) -> None:
    first = mirror(write_record(home / "run"), uri_of(home))
    again = mirror(home / "run", uri_of(home))
    moved = mirror((home / "run").rename(home / "moved"), uri_of(home))
    assert (again, moved) == ((first.run_id, False), (first.run_id, False))
    assert len(runs_in(home)) == 1


@pytest.mark.parametrize("where", ["fill", "end"])
def test_what_was_killed_on_the_way_is_completed(home: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    folder = write_record(home / "run")
    with monkeypatch.context() as patched:
        patched.setattr(mirrors._Store, where, killed)
        with pytest.raises(KeyboardInterrupt):
            mirror(folder, uri_of(home))
    assert [run.info.status for run in runs_in(home)] == ["RUNNING"]
    assert mirror(folder, uri_of(home)).new
    (run,) = runs_in(home)
    assert (run.info.status, run.data.metrics) == ("FINISHED", read_record(folder).metrics)


def test_what_was_deleted_in_mlflow_is_mirrored_anew(home: Path) -> None:
    made = mirror(write_record(home / "run"), uri_of(home))
    client_of(home).delete_run(made.run_id)
    assert mirror(home / "run", uri_of(home)).run_id != made.run_id
    (run,) = runs_in(home)
    client_of(home).delete_experiment(run.info.experiment_id)
    with pytest.raises(StoreError, match="experiment 'ensemble-ad/parts' was deleted: restore it"):
        mirror(home / "run", uri_of(home))


def test_a_record_that_changes_meanwhile_leaves_no_mixture(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_record(home / "run")

    def replaced(*_: object) -> None:
        (folder / "result.json").write_text(json.dumps({**RESULT, "threshold": 9.0}))

    with monkeypatch.context() as patched:
        patched.setattr(mirrors._Store, "fill", replaced)
        with pytest.raises(StoreError, match="was replaced while it was mirrored"):
            mirror(folder, uri_of(home))
    assert runs_in(home) == []
    mirror(folder, uri_of(home))
    assert runs_in(home)[0].data.metrics["threshold"] == 9.0


def test_of_twins_made_at_the_same_time_one_stays(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that did not see the other's run when it looked, takes its own back when it looks again."""
    first = mirror(write_record(home / "run"), uri_of(home))
    client, looks = client_of(home), []
    search = client.search_runs

    def late(*words: Any) -> Any:
        looks.append(words)
        return [] if len(looks) == 1 else search(*words)

    monkeypatch.setattr(client, "search_runs", late)
    store = mirrors._Store(client, read_record(home / "run"))
    found = store.run(store.record.key, "twin", None, {})
    assert found.info.run_id == first.run_id
    assert len(looks) == 3
    assert names_of(runs_in(home)) == ["run"]


def test_a_survey_is_nested_and_its_tables_grow(home: Path) -> None:
    out = write_survey(home / "loco")
    summary = mirror_all(out, uri_of(home), Silent())
    assert (summary.new, summary.there, summary.failures) == (4, 0, [])
    runs = {run.info.run_name: run for run in runs_in(home)}
    parent = {name: run.data.tags.get("mlflow.parentRunId") for name, run in runs.items()}
    ids = {name: run.info.run_id for name, run in runs.items()}
    assert parent == {
        "loco": None, "parts": ids["loco"], "bolts": ids["loco"], "fused, seed 3": ids["parts"],
        "tuned, seed 3": ids["bolts"], "big, seed 0": ids["bolts"],
    }  # fmt: skip
    assert {name for name, run in runs.items() if run.info.status != "FINISHED"} == {"big, seed 0"}
    assert runs["big, seed 0"].info.status == "FAILED"
    assert artifacts_of(home, ids["loco"], "figures") == ["figures/au_spro.svg"]
    assert mirror_all(out, uri_of(home), Silent()).new == 0
    (out / "table.csv").write_text("class,value\n")
    write_record(out / "cells" / "k4")
    assert mirror_all(out, uri_of(home), Silent()).new == 2
    assert len(runs_in(home)) == 7


def test_one_bad_record_does_not_stop_the_others(home: Path) -> None:
    for name in ("a", "b"):
        write_record(home / "runs" / name, {**RESULT, "class": name})
    (home / "runs" / "a" / "result.json").write_text("{")
    summary = mirror_all(home / "runs", uri_of(home), Silent())
    assert (summary.new, len(summary.failures)) == (1, 1)
    assert summary.failures[0].startswith(f"{home}/runs/a")


def test_an_error_of_mlflow_is_given_a_second_chance(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two machines that write the same parameter at the same moment: the server refuses one of them."""
    fill, tries = mirrors._Store.fill, []

    def refused_once(store: Any, run: Any) -> None:
        tries.append(run)
        if len(tries) == 1:
            raise RuntimeError("UNIQUE constraint failed: params.key, params.run_uuid")
        fill(store, run)

    monkeypatch.setattr(mirrors._Store, "fill", refused_once)
    write_record(home / "run")
    assert mirror_all(home, uri_of(home), Silent()) == mirrors.Summary(new=1)
    (run,) = runs_in(home)
    assert run.info.status == "FINISHED"


def test_processes_at_once_lock_nothing_and_make_no_twins(home: Path) -> None:
    """Also with a survey whose parents all want to make."""
    write_survey(home / "loco")
    for number in range(4):
        write_record(home / "runs" / str(number), {**RESULT, "threshold": float(number)})
    workers = [subprocess.Popen([*SYNC, str(home)], stderr=subprocess.PIPE, text=True, env=QUIET) for _ in range(3)]
    said = [worker.communicate()[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 3, said
    assert len({run.data.tags[KEY] for run in runs_in(home)}) == len(runs_in(home)) == 10


class Server:
    """`mlflow server` on loopback, with its store and artifacts in one folder."""

    process: "subprocess.Popen[bytes] | None" = None

    def __init__(self, folder: Path) -> None:
        with closing(socket.socket()) as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        self.uri, self.folder = f"http://127.0.0.1:{self.port}", folder

    def start(self) -> None:
        if self.process is not None:
            return
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--backend-store-uri",
            uri_of(self.folder),
            "--workers",
            "1",
        ]
        command += ["--artifacts-destination", str(self.folder / "artifacts"), "--port", str(self.port)]
        with (self.folder / "log").open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=QUIET, start_new_session=True)
        for _ in range(1200):
            try:
                urlopen(f"{self.uri}/health", timeout=2).close()
            except (URLError, OSError):
                time.sleep(0.5)
            else:
                return
        raise AssertionError((self.folder / "log").read_text())

    def stop(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, 15)
            self.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty: Path) -> Iterator[Server]:
    """Not started yet: the first test needs it silent."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty, folder)
    server = Server(folder)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    build_class(folder / "parts")
    write_experiment(folder / "fused.yaml", FUSED)
    return folder


def test_a_run_does_not_wait_for_a_silent_server_and_outlives_its_terminal(
    base: Path, server: Server, empty: Path
) -> None:
    """Everything that belongs to the run's terminal is killed when it ends; the mirror is made all the same."""
    words = ["run", base / "fused.yaml", "--data", base / "parts", "--cache", base / "cache", "--out", base / "run"]
    command = [sys.executable, "-m", "ensemble_ad", *map(str, words), "--track"]
    done = subprocess.run(
        [*command, "--tracking-uri", server.uri], env=QUIET, capture_output=True, text=True, check=True
    )
    assert f"MLflow, {server.uri}" in done.stdout
    until(lambda: "does not answer" in (base / BOX / "log").read_text())

    shutil.copy(empty, base)
    terminal = subprocess.Popen(command, env=QUIET, stdout=subprocess.DEVNULL, start_new_session=True)
    assert terminal.wait() == 0
    with pytest.raises(ProcessLookupError):
        os.killpg(terminal.pid, 9)
    until(lambda: any(run.info.status == "FINISHED" for run in runs_in(base)))
    until(lambda: len(list((base / BOX).glob("*.json"))) == 1)


def until(true: Any, seconds: float = 900) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.5)


def test_what_waited_for_the_server_goes_when_it_is_back(base: Path, server: Server) -> None:
    server.start()
    outbox.deliver(base)
    assert names_of(runs_in(server.uri)) == ["run"]
    assert list((base / BOX).glob("*.json")) == []


def test_syncs_at_once_to_a_server_make_no_twins(home: Path, server: Server) -> None:
    server.start()
    write_survey(home / "loco")
    command = [*SYNC, str(home), "--tracking-uri", server.uri]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    workers = [subprocess.Popen(command, text=True, env=QUIET, **pipes) for _ in range(2)]
    said = [worker.communicate()[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], said
    experiment = client_of(server.uri).get_experiment_by_name("ensemble-ad/loco")
    runs = client_of(server.uri).search_runs([experiment.experiment_id])
    assert names_of(runs) == ["big, seed 0", "bolts", "fused, seed 3", "loco", "parts", "tuned, seed 3"]
    again = subprocess.run(command, capture_output=True, text=True, check=True, env=QUIET)
    assert f"{home} -> {server.uri}: 0 mirrored, 4 there already, 0 failed" in again.stdout
    assert artifacts_of(server.uri, next(run.info.run_id for run in runs if run.info.run_name == "loco"))


LOAD = """
import json, sys
from pathlib import Path
import mlflow, pandas as pd

mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(f"runs:/{sys.argv[2]}/model")
assert "ensemble_ad.cli" not in sys.modules
pictures = pd.DataFrame({"picture": [Path(path).read_bytes() for path in sys.argv[4:]]})
found = model.predict(pictures, params={"maps": True})
assert list(model.predict(pictures).columns) == ["score", "anomalous"]
found["shape"] = [list(scores.shape) for scores in found["map"]]
found["peak"] = [float(scores.max()) for scores in found.pop("map")]
found["example"] = model.predict(model.input_example)["score"][0]
found.to_json(sys.argv[3], double_precision=15)
"""


def test_the_model_says_what_predict_says(base: Path, server: Server, tmp_path: Path) -> None:
    uri = server.uri
    run = next(run for run in runs_in(uri) if run.info.run_name == "run")
    pictures = sorted((base / "parts" / "test").glob("*/*.png")) + sorted((base / "parts" / "train").glob("*/*.png"))
    script = [sys.executable, "-c", LOAD, uri, run.info.run_id, tmp_path / "found.json", *pictures]
    subprocess.run(list(map(str, script)), check=True, env=QUIET, cwd=tmp_path)
    predict = [sys.executable, "-m", "ensemble_ad", "predict", base / "run", *pictures, "--out", tmp_path / "out"]
    subprocess.run(list(map(str, predict)), check=True, env=QUIET, stdout=subprocess.DEVNULL)
    found, expected = (
        pd.read_json(tmp_path / "found.json", precise_float=True),
        pd.read_csv(tmp_path / "out" / "scores.csv"),
    )
    assert found.score.tolist() == pytest.approx(expected.score.tolist(), abs=1e-6, rel=0)
    assert found.anomalous.tolist() == expected.anomalous.tolist()
    assert found["shape"].tolist() == [[12, 20]] * len(pictures)
    assert found.example.notna().all()


def test_the_model_is_yaml_and_tensors_and_no_pickle(base: Path, server: Server, tmp_path: Path) -> None:
    import mlflow

    mlflow.set_tracking_uri(server.uri)
    run = next(run for run in runs_in(server.uri) if run.info.run_name == "run")
    (model,) = client_of(server.uri).search_logged_models([run.info.experiment_id])
    folder = Path(mlflow.artifacts.download_artifacts(model.model_uri, dst_path=str(tmp_path)))
    suffixes = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert suffixes == {"", ".json", ".safetensors", ".txt", ".yaml"}
    assert "loader_module: ensemble_ad.served" in (folder / "MLmodel").read_text()
    assert "mlflow" in (folder / "requirements.txt").read_text()


def test_the_model_answers_over_http(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `mlflow models serve` would do with the example that lies beside the model."""
    from fastapi.testclient import TestClient
    from mlflow.pyfunc import load_model
    from mlflow.pyfunc.scoring_server import init

    run = next(run for run in runs_in(base) if run.info.run_name == "run")
    (model,) = client_of(base).search_logged_models([run.info.experiment_id])
    loaded = load_model(model.artifact_location)
    body = json.loads(
        (Path(model.artifact_location.removeprefix("file://")) / "serving_input_example.json").read_text()
    )
    monkeypatch.setenv("MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT", "600")
    answer = TestClient(init(loaded)).post("/invocations", json={**body, "params": {"maps": True}})
    assert answer.status_code == 200, answer.text
    (row,) = answer.json()["predictions"]
    assert row["score"] == pytest.approx(loaded.predict(loaded.input_example)["score"][0], abs=1e-6)
    assert (len(row["map"]), len(row["map"][0])) == (64, 64)
