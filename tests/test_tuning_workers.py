"""Studies on several processes, on real storages, and after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import postgres
import pytest
from loco_folder import build_class
from small_study import go_on, search_in, small_study, write_study

from ensemble_ad.executors import InProcess, open_executor, opened
from ensemble_ad.tuning.found import Found
from ensemble_ad.tuning.run import tune
from ensemble_ad.tuning.study_file import StudyFile, load_study
from ensemble_ad.tuning.trial import Place
from ensemble_ad.tuning.work import Work

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("workers")
    build_class(base / "parts", good=4)
    return base


def searched(study: StudyFile, out: Path, cache: Path, workers: int = 1) -> Found:
    with opened(open_executor(workers) if workers > 1 else InProcess()) as executor:
        return tune(study, out, Work(executor, Place(str(cache)), workers), "")


def refuse_doubles(found: Found, study: StudyFile) -> None:
    """The budget is kept to the trial, and the default is what one process makes of it."""
    for trials in found.trials.values():
        assert [trial.state for trial in trials] == ["finished"] * study.trials
        assert len({json.dumps(trial.point, sort_keys=True) for trial in trials}) == study.trials


def test_two_processes_share_a_study(base: Path) -> None:
    study = small_study(base, name="shared", check_on_test=False, storage=f"sqlite:///{base / 'shared.db'}")
    found = searched(study, base / "shared", base / "cache", workers=2)
    refuse_doubles(found, study)
    alone = small_study(base, name="alone", check_on_test=False, trials=1)
    default = searched(alone, base / "alone", base / "cache").trials["search"][0]
    assert default.measured in [trial.measured for trial in found.trials["search"]]


@pytest.fixture
def database() -> Iterator[str]:
    pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")
    programs = postgres.programs()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed (apt-get install postgresql)")
    with postgres.server(programs) as url:
        yield url


def test_a_postgresql_server_carries_two_workers(base: Path, database: str) -> None:
    study = small_study(base, name="served", check_on_test=False, storage=database)
    refuse_doubles(searched(study, base / "served", base / "cache", workers=2), study)
    again = searched(study, base / "served", base / "cache", workers=2)
    assert sum(len(trials) for trials in again.trials.values()) == 2 * study.trials


def test_a_study_killed_in_the_middle_ends_as_one_that_was_not(base: Path, tmp_path: Path) -> None:
    changes = {"name": "killed", "check_on_test": False, "trials": 8, "baseline": "none", "data": [str(base / "parts")]}
    path = write_study(tmp_path / "study.yaml", **changes)
    out, cache = tmp_path / "out", tmp_path / "cache"
    command = [sys.executable, "-m", "ensemble_ad", "tune", path, "--out", out, "--cache", cache, "--no-track"]
    process = subprocess.Popen([*map(str, command)], start_new_session=True)
    while process.poll() is None and len(list(out.glob("trials/*/result.json"))) < 3:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "best.yaml").exists(), "it was finished before it could be killed"
    study = load_study(path)
    after = searched(study, out, cache).trials["search"]
    whole = searched(study, tmp_path / "whole", tmp_path / "other_cache").trials["search"]
    assert [(trial.point, trial.measured) for trial in after] == [(trial.point, trial.measured) for trial in whole]


def test_the_dashboard_opens_the_storage(tmp_path: Path) -> None:
    pytest.importorskip("optuna_dashboard", reason="the extra `dashboard` is not installed")
    search = search_in(tmp_path)
    go_on(search, 3)
    command = [Path(sys.executable).with_name("optuna-dashboard"), search.storage, "--port", "28080"]
    process = subprocess.Popen([*map(str, command)])
    try:
        names = None
        for _ in range(240):
            try:
                with urlopen("http://127.0.0.1:28080/api/studies", timeout=10) as answer:
                    names = [summary["study_name"] for summary in json.load(answer)["study_summaries"]]
                break
            except OSError:
                time.sleep(0.5)
        assert names == [search.name]
    finally:
        process.terminate()
        process.wait()
