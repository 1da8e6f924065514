"""Units go to workers in order, once each, and what fails takes along only what needs it."""

import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor

import pytest

from ensemble_ad.errors import EngineError, StoreError
from ensemble_ad.executors import InProcess
from ensemble_ad.survey.cell import Failure, Place
from ensemble_ad.survey.loop import do_all
from ensemble_ad.survey.units import Unit

NOWHERE = Place("cells", "cache")


class Ledger:
    """A watcher that writes down what it hears."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.failed: dict[str, str] = {}
        self.seen_running: set[str] = set()

    def planned(self, units: Mapping[str, Unit]) -> None:
        self.total = len(units)

    def running(self, units: list[Unit]) -> None:
        self.seen_running |= {unit.label for unit in units}

    def ended(self, unit: Unit, failure: Failure | None) -> None:
        self.order.append(unit.label)
        if failure is not None:
            self.failed[unit.label] = failure.reason


def units_from(needs: Mapping[str, list[str]]) -> dict[str, Unit]:
    """Units named by letters; `needs` lists each after what it needs."""
    made: dict[str, Unit] = {}
    for label, before in needs.items():
        keys = tuple(made[name].key for name in before)
        made[label] = Unit("fit", "root", "", (64, 64), label, label, keys)
    return {unit.key: unit for unit in made.values()}


def run(needs: Mapping[str, list[str]], work: Callable, executor: Executor | None = None) -> Ledger:
    ledger = Ledger()
    do_all(units_from(needs), NOWHERE, executor or InProcess(), ledger, work)
    return ledger


def nothing(unit: Unit, place: Place) -> None:
    return None


def random_graph(seed: int, count: int = 40) -> dict[str, list[str]]:
    dice = random.Random(seed)
    names = [f"u{number}" for number in range(count)]
    return {name: dice.sample(names[:number], min(number, dice.randrange(4))) for number, name in enumerate(names)}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("workers", [0, 3])
def test_every_unit_is_done_once_and_after_all_that_it_needs(seed: int, workers: int) -> None:
    needs, began, ended, lock = random_graph(seed), [], [], threading.Lock()

    def work(unit: Unit, place: Place) -> None:
        with lock:
            began.append((unit.label, list(ended)))
        time.sleep(0.0005 * (len(unit.label) % 3))
        with lock:
            ended.append(unit.label)

    with InProcess() if workers == 0 else ThreadPoolExecutor(workers) as executor:
        ledger = run(needs, work, executor)
    assert sorted(label for label, _ in began) == sorted(needs)
    assert all(set(needs[label]) <= set(before) for label, before in began)
    assert sorted(ledger.order) == sorted(needs)


def test_one_worker_finishes_one_cell_after_the_other() -> None:
    needs = {"fit a": [], "cell a": ["fit a"], "fit b": [], "cell b": ["fit b"]}
    assert run(needs, nothing).order == ["fit a", "cell a", "fit b", "cell b"]


def test_workers_begin_what_has_become_ready_before_what_comes_later_anyway() -> None:
    needs = {
        f"{what} {name}": ([f"fit {name}"] if what == "cell" else []) for name in "abcdef" for what in ("fit", "cell")
    }

    class Two(ThreadPoolExecutor):
        at_once = 2

    with Two(2) as executor:
        order = run(needs, lambda unit, place: time.sleep(0.02), executor).order
    assert order.index("cell a") < order.index("fit d")
    assert order.index("cell c") < order.index("fit f")


def test_a_failure_takes_along_what_needs_it_and_nothing_else() -> None:
    needs = {"a": [], "b": ["a"], "c": ["b"], "d": [], "e": ["d", "b"], "f": ["d"]}
    done: list[str] = []

    def work(unit: Unit, place: Place) -> Failure | None:
        done.append(unit.label)
        return Failure("no good") if unit.label == "b" else None

    ledger = run(needs, work)
    assert set(done) == {"a", "b", "d", "f"}
    assert ledger.failed == dict.fromkeys("bce", "no good")
    assert sorted(ledger.order) == list("abcdef")


def test_the_failures_come_back_by_key() -> None:
    units = units_from({"a": [], "b": ["a"]})
    failures = do_all(units, NOWHERE, InProcess(), Ledger(), lambda unit, place: Failure("no"))
    assert {units[key].label for key in failures} == {"a", "b"}


def test_an_exception_of_the_engine_is_one_units_failure() -> None:
    def work(unit: Unit, place: Place) -> None:
        if unit.label == "a":
            raise RuntimeError("its worker process died 3 times")

    assert run({"a": [], "b": []}, work).failed == {"a": "its worker process died 3 times"}


def test_a_full_disk_ends_the_survey() -> None:
    def work(unit: Unit, place: Place) -> None:
        raise StoreError("the disk is full")

    with pytest.raises(StoreError, match="disk is full"):
        run({"a": [], "b": []}, work)


def test_a_scheduler_that_is_gone_ends_the_survey_and_fails_no_cell() -> None:
    class Gone(Executor):
        def submit(self, fn, /, *args, **kwargs) -> Future:
            future: Future = Future()
            future.set_exception(CancelledError())
            return future

    ledger = Ledger()
    with pytest.raises(EngineError, match="the same command goes on"):
        do_all(units_from({"a": []}), NOWHERE, Gone(), ledger, nothing)
    assert ledger.failed == {}


def test_a_watcher_hears_what_is_running_even_from_a_worker_that_answers_at_once() -> None:
    assert run({"a": [], "b": ["a"]}, nothing).seen_running == {"a", "b"}


def test_nothing_to_do_is_fine() -> None:
    assert run({}, nothing).order == []
