"""The same table from every engine, whoever is killed on the way. Real processes, a real Dask scheduler on loopback."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
import torch
from loco_folder import build_class
from small_run import PATCHCORE, SIMPLENET
from small_survey import cells_in, survey_in, without_cost, write_grid

pytestmark = pytest.mark.slow

PATIENCE = 1200
"""Seconds; each survey takes about fifteen on a quiet machine."""
ROOT = Path(__file__).parents[1]
LONG = SIMPLENET | {"epochs": 120}
DETECTORS = {"patchcore": PATCHCORE, "simplenet": LONG}
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("engines")
    build_class(base / "data" / "bolts")
    build_class(base / "data" / "pins", train=7)
    return base


@pytest.fixture(scope="module")
def expected(base: Path) -> pd.DataFrame:
    """The table of a survey in this process that nobody disturbed; sums depend on the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    survey_in(base, cells_in(base, detectors=DETECTORS), "expected", "expected_cache")
    torch.set_num_threads(threads)
    return table_in(base / "expected")


def table_in(out: Path) -> pd.DataFrame:
    return without_cost(pd.read_csv(out / "table.csv", keep_default_na=False))


@contextmanager
def started(*words: object) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-m", *map(str, words)]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def survey_command(base: Path, name: str, *words: object) -> list[object]:
    grid = write_grid(base / f"{name}.yaml", DETECTORS)
    return ["ensemble_ad", "survey", grid, "--out", base / name, "--cache", base / f"{name}_cache", *words]


def wait_until(true: Callable[[], Any], process: subprocess.Popen | None = None, seconds: float = PATIENCE) -> Any:
    end = time.monotonic() + seconds
    while not (found := true()):
        assert process is None or process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def begun(base: Path, name: str) -> bool:
    """Whether a stage is in the middle: its folder has not got its name yet."""
    return any((base / f"{name}_cache").glob("*/.*.partial"))


def stages_in(base: Path, name: str) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (base / f"{name}_cache").rglob("stage.yaml")}


def test_a_survey_killed_and_started_again_ends_alike_and_repeats_nothing(base: Path, expected: pd.DataFrame) -> None:
    command = survey_command(base, "killed", "--workers", 2)
    with started(*command) as process:
        wait_until(lambda: list((base / "killed" / "cells").glob("*/result.json")), process)
        process.send_signal(signal.SIGKILL)
    wait_until(lambda: not _processes_of(base / "killed"))
    finished = stages_in(base, "killed")
    assert 0 < len(finished) < len(stages_in(base, "expected"))
    with started(*command) as process:
        assert process.wait(PATIENCE) == 0
    assert table_in(base / "killed").equals(expected)
    after = stages_in(base, "killed")
    assert {path: after[path] for path in finished} == finished
    assert len(after) == len(stages_in(base, "expected"))


def test_a_killed_worker_process_does_not_stop_the_survey(base: Path, expected: pd.DataFrame) -> None:
    with started(*survey_command(base, "struck", "--workers", 2)) as process:
        wait_until(lambda: begun(base, "struck"), process)
        children = psutil.Process(process.pid).children()
        workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        for worker in workers:
            worker.kill()
        assert process.wait(PATIENCE) == 0
    assert len(workers) == 2
    assert table_in(base / "struck").equals(expected)


def test_dask_gives_the_same_table_though_a_worker_is_killed_at_work(base: Path, expected: pd.DataFrame) -> None:
    file = base / "scheduler.json"
    arguments = ["--scheduler-file", file, "--interface", "lo"]
    with ExitStack() as stack:
        stack.enter_context(started("distributed.cli.dask_scheduler", *arguments, "--port", 0, "--no-dashboard"))
        wait_until(file.exists)
        worker = ["distributed.cli.dask_worker", *arguments, "--nthreads", 1, "--no-dashboard", "--no-nanny"]
        workers = [stack.enter_context(started(*worker, "--local-directory", base / f"w{n}")) for n in range(2)]
        address = json.loads(file.read_text())["address"]
        survey = stack.enter_context(started(*survey_command(base, "dask", "--scheduler", address)))
        wait_until(lambda: begun(base, "dask"), survey)
        workers[0].send_signal(signal.SIGKILL)
        assert survey.wait(PATIENCE) == 0, survey.stderr.read().decode()
    assert table_in(base / "dask").equals(expected)


def test_a_scheduler_that_goes_ends_the_survey_with_a_sentence_and_without_failed_cells(base: Path) -> None:
    file = base / "gone.json"
    with ExitStack() as stack:
        scheduler = stack.enter_context(
            started(
                "distributed.cli.dask_scheduler",
                "--scheduler-file",
                file,
                "--interface",
                "lo",
                "--no-dashboard",
                "--port",
                0,
            )
        )
        wait_until(file.exists)
        address = json.loads(file.read_text())["address"]
        survey = stack.enter_context(started(*survey_command(base, "gone", "--scheduler", address)))  # no worker comes
        wait_until((base / "gone" / "survey.yaml").exists, survey)
        time.sleep(3)
        scheduler.send_signal(signal.SIGKILL)
        assert survey.wait(PATIENCE) == 2
        assert "the same command goes on from there" in survey.stderr.read().decode()
    assert not list((base / "gone").rglob("failed.json"))


def test_ctrl_c_ends_survey_and_workers_and_says_how_to_go_on(base: Path, expected: pd.DataFrame) -> None:
    command = survey_command(base, "interrupted", "--workers", 2)
    with started(*command) as process:
        wait_until(lambda: list((base / "interrupted" / "cells").glob("*/result.json")), process)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
        said = process.stderr.read().decode()
    assert "the same command goes on from there" in said
    assert "Traceback" not in said
    wait_until(lambda: not _processes_of(base / "interrupted"))
    assert not list((base / "interrupted").rglob("*.partial"))
    with started(*command) as process:
        assert process.wait(PATIENCE) == 0
    assert table_in(base / "interrupted").equals(expected)


def _processes_of(folder: Path) -> list[int]:
    """Whoever still has a file below `folder` or its cache open, such as a lock."""
    held = []
    for process in psutil.process_iter():
        try:
            files = [file.path for file in process.open_files()]
        except psutil.Error:
            continue
        if any(path.startswith(str(folder)) for path in files):
            held.append(process.pid)
    return held
