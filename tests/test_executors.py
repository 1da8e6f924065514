"""Processes that are pinned, replaced when they die, and gone when nobody needs them."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor
from pathlib import Path

import psutil
import pytest

from ensemble_ad.cluster import one_at_a_time
from ensemble_ad.environment import available_cores
from ensemble_ad.errors import ConfigError
from ensemble_ad.executors import DEATHS, InProcess, Processes, WorkerDiedError, open_executor, opened

TESTS = Path(__file__).parent


def double(number: int) -> int:
    return 2 * number


def fail(text: str) -> None:
    raise ValueError(text)


def about_process(_number: int = 0) -> tuple[int, str]:
    time.sleep(0.05)
    return os.getpid(), os.environ["OMP_NUM_THREADS"]


def die(notes: str, times: int) -> int:
    """Kill the own process the first `times` times; return how often it was tried."""
    tries = Path(notes)
    with tries.open("a") as file:
        file.write(".")
    count = len(tries.read_text())
    if count <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return count


def sleep_and_tell(notes: str) -> None:
    Path(notes).write_text(str(os.getpid()))
    time.sleep(600)


def wait_for(path: Path, seconds: float = 60) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if path.exists() and (text := path.read_text()):
            return text
        time.sleep(0.02)
    raise AssertionError(f"{path} did not come")


def wait_until_gone(pid: int, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end, f"process {pid} is still there"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def two() -> Executor:
    executor = Processes(2)
    yield executor
    executor.shutdown()


def test_one_worker_is_this_process() -> None:
    executor = open_executor(1)
    assert isinstance(executor, InProcess)
    assert executor.submit(os.getpid).result() == os.getpid()


def test_in_this_process_errors_come_with_the_future_and_ctrl_c_comes_at_once() -> None:
    with pytest.raises(ValueError, match="no"):
        InProcess().submit(fail, "no").result()

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        InProcess().submit(interrupt)


def test_processes_answer_like_a_loop(two: Executor) -> None:
    futures = [two.submit(double, number) for number in range(20)]
    assert [future.result() for future in futures] == [2 * number for number in range(20)]


def test_an_error_comes_back_and_the_process_stays(two: Executor) -> None:
    with pytest.raises(ValueError, match="no good"):
        two.submit(fail, "no good").result()
    assert two.submit(double, 4).result() == 8


def test_each_process_has_its_share_of_the_cores(two: Executor) -> None:
    share = min(max(1, available_cores() // 2), int(os.environ.get("OMP_NUM_THREADS") or 10**6))
    told = {future.result() for future in [two.submit(about_process, number) for number in range(8)]}
    assert {threads for _, threads in told} == {str(share)}
    assert len({pid for pid, _ in told} - {os.getpid()}) == 2


def test_a_killed_process_is_replaced_and_its_work_begun_again(two: Executor, tmp_path: Path) -> None:
    others = [two.submit(double, number) for number in range(6)]
    assert two.submit(die, str(tmp_path / "tries"), DEATHS - 1).result() == DEATHS
    assert [future.result() for future in others] == [0, 2, 4, 6, 8, 10]


def test_what_kills_every_process_is_given_up_and_the_others_go_on(two: Executor, tmp_path: Path) -> None:
    with pytest.raises(WorkerDiedError, match=f"died {DEATHS} times"):
        two.submit(die, str(tmp_path / "tries"), 99).result()
    assert len((tmp_path / "tries").read_text()) == DEATHS
    assert two.submit(double, 1).result() == 2


def test_an_interrupted_block_ends_the_processes_at_once(tmp_path: Path) -> None:
    def interrupted() -> None:
        with opened(Processes(1)) as executor:
            executor.submit(sleep_and_tell, str(tmp_path / "pid"))
            wait_for(tmp_path / "pid")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    wait_until_gone(int((tmp_path / "pid").read_text()))


def test_processes_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    notes = tmp_path / "pid"
    script = (
        "from ensemble_ad.executors import Processes\n"
        "from test_executors import sleep_and_tell\n"
        f"if __name__ == '__main__': Processes(1).submit(sleep_and_tell, {str(notes)!r}).result()\n"
    )
    (tmp_path / "parent.py").write_text(script)
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py")], env={**os.environ, "PYTHONPATH": paths}
    ) as parent:
        pid = int(wait_for(notes))
        parent.kill()
    wait_until_gone(pid)


def test_a_worker_with_many_threads_does_one_thing_at_a_time() -> None:
    from concurrent.futures import ThreadPoolExecutor

    together: list[int] = []
    active: list[int] = []

    def work(number: int) -> None:
        active.append(number)
        together.append(len(active))
        time.sleep(0.005)
        active.remove(number)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: one_at_a_time(work, (number,), {}), range(8)))
    assert together == [1] * 8


def test_a_scheduler_that_does_not_answer_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ensemble_ad.cluster.PATIENCE", 0.2)
    with pytest.raises(ConfigError, match="no Dask scheduler answers"):
        open_executor(1, "tcp://127.0.0.1:9")


def test_an_unknown_queue_and_a_job_without_a_size_are_sentences() -> None:
    with pytest.raises(ConfigError, match="did you mean 'slurm'"):
        open_executor(2, queue="slrum", job={"cores": 2, "memory": "4GB"})
    with pytest.raises(ConfigError, match="at least cores and memory"):
        open_executor(2, queue="slurm", job={"cores": 2})
