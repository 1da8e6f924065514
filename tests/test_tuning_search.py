"""The search: repeatable, hard to kill, honest about what failed; with formulas in place of detectors."""

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest
from small_study import NOISE, RULE, SIGMA, SPACE, bowl, go_on, search_in, small_study

from ensemble_ad.errors import ConfigError, StoreError
from ensemble_ad.tuning.kept import RETRIES, free_the_dead
from ensemble_ad.tuning.owner import is_gone, this_process
from ensemble_ad.tuning.search import Search, attempt, begin, importances, trials_of
from ensemble_ad.tuning.space import Point, Space
from ensemble_ad.tuning.storage import _opened, reached
from ensemble_ad.tuning.trial import RejectedError
from ensemble_ad.tuning.trials import best, candidates, pareto

DEFAULT = {NOISE: 0.5, SIGMA: 4.0, RULE: "maximum"}


def killed_in(search: Search) -> None:
    """Begin a trial in a process that is gone before the trial ends, without a word."""

    def end(_point: Point, _report: Any) -> dict[str, float]:
        os._exit(9)

    child = os.fork()
    if child == 0:
        attempt(search, end)
    os.waitpid(child, 0)


def raising(error: BaseException) -> Callable[..., dict[str, float]]:
    def formula(*_: Any, **__: Any) -> dict[str, float]:
        raise error

    return formula


def test_the_default_is_the_first_trial_and_its_seed_decides_the_others(tmp_path: Path) -> None:
    runs = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        runs.append([trial.point for trial in go_on(search_in(tmp_path / name, seed=seed), 5)])
    assert runs[0][0] == runs[2][0] == DEFAULT
    assert runs[0] == runs[1]
    assert runs[0][1:] != runs[2][1:]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_killed_search_goes_on_as_if_nothing_had_happened(sampler: str, tmp_path: Path) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = go_on(search_in(tmp_path / "whole", sampler=sampler), 7)
    search = search_in(tmp_path / "killed", sampler=sampler)
    go_on(search, 4)
    killed_in(search)
    after = go_on(search_in(tmp_path / "killed", sampler=sampler), 3)
    assert [trial.point for trial in after] == [trial.point for trial in whole]
    assert [trial.measured for trial in after] == [trial.measured for trial in whole]
    assert [trial.number for trial in after] == [0, 1, 2, 3, 5, 6, 7]


def nobodys(search: Search, last: Callable[[], None]) -> int:
    """Draw a trial in another process, which does `last` before the trial says whose it is."""
    child = os.fork()
    if child == 0:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(optuna.Trial, "set_user_attr", lambda *_: last())
            attempt(search, lambda *_: os._exit(1))
    return child


def test_a_search_killed_before_its_trial_says_whose_it_is_goes_on_at_once(tmp_path: Path) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = go_on(search_in(tmp_path / "whole"), 5)
    search = search_in(tmp_path / "killed")
    go_on(search, 3)
    os.waitpid(nobodys(search, lambda: os._exit(9)), 0)
    after = go_on(search, 2)
    assert [(trial.point, trial.measured) for trial in after] == [(trial.point, trial.measured) for trial in whole]


def test_a_trial_that_does_not_say_yet_whose_it_is_is_left_alone_while_that_may_live(tmp_path: Path) -> None:
    search = search_in(tmp_path)
    child = nobodys(search, lambda: time.sleep(60))
    try:
        while not trials_of(search):
            time.sleep(0.01)
        assert [trial.state for trial in trials_of(search)] == ["running"]
        assert [trial.state for trial in go_on(search, 1)] == ["running", "finished"]
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert [trial.state for trial in trials_of(search)] == ["finished"]
    assert go_on(search, 1)[-1].point == DEFAULT


def test_a_trial_that_says_whose_it_is_while_another_process_looks_is_left_alone(tmp_path: Path) -> None:
    search = search_in(tmp_path)

    def look(point: Point, _report: Any) -> dict[str, float]:
        with pytest.MonkeyPatch.context() as patch, reached(search.storage, "") as storage:
            study = optuna.load_study(study_name=search.name, storage=storage)
            (early,) = study.get_trials()
            early.user_attrs = {}
            real = study.get_trials
            patch.setattr(study, "get_trials", lambda **asked: [early] if "states" in asked else real(**asked))
            free_the_dead(study)
        return bowl(point)

    attempt(search, look)
    assert [trial.state for trial in trials_of(search)] == ["finished"]


def test_a_trial_that_kills_every_process_is_given_up(tmp_path: Path) -> None:
    search = search_in(tmp_path)
    for _ in range(RETRIES + 1):
        killed_in(search)
    (failed,) = trials_of(search)
    assert (failed.state, failed.point, failed.counts) == ("failed", DEFAULT, True)
    assert "its process died 3 times" in failed.reason
    assert go_on(search, 1)[-1].point != DEFAULT


def test_ctrl_c_loses_no_trial(tmp_path: Path) -> None:
    search = search_in(tmp_path)

    def stop(_point: Point, _report: Any) -> dict[str, float]:
        raise KeyboardInterrupt

    for _ in range(RETRIES + 2):
        with pytest.raises(KeyboardInterrupt):
            attempt(search, stop)
    assert [trial.point for trial in go_on(search, 1)] == [DEFAULT]


def test_a_running_trial_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    search, inside = search_in(tmp_path), []

    def look(point: Point, _report: Any) -> dict[str, float]:
        inside.extend(trials_of(search))
        return bowl(point)

    attempt(search, look)
    assert [trial.state for trial in inside] == ["running"]
    assert [trial.state for trial in trials_of(search)] == ["finished"]


def test_an_owner_is_gone_only_when_this_machine_says_so() -> None:
    host, pid, created, now = this_process().split()
    assert not is_gone(f"another-{host} 1 0.0 {now}")
    assert is_gone(f"{host} {pid} {float(created) - 100} {now}")  # another process had this number


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory"),
        (ConfigError("discriminator: expected hidden of at least 1, got 0"), "discriminator: expected hidden"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
    ],
)
def test_a_failing_trial_is_written_down_and_the_study_goes_on(error: Exception, reason: str, tmp_path: Path) -> None:
    search = search_in(tmp_path)
    go_on(search, 1, raising(error))
    failed, after = go_on(search, 1)
    assert (failed.state, failed.counts, failed.measured) == ("failed", True, {})
    assert failed.reason.startswith(reason)
    assert after.state == "finished"


def test_a_full_disk_stops_the_study_and_its_trial_is_tried_again(tmp_path: Path) -> None:
    search = search_in(tmp_path)
    with pytest.raises(StoreError, match="the disk is full"):
        go_on(search, 1, raising(StoreError("the disk is full")))
    assert [(trial.point, trial.state) for trial in go_on(search, 1)] == [(DEFAULT, "finished")]


def test_what_cannot_be_built_does_not_count(tmp_path: Path) -> None:
    search = search_in(tmp_path)
    rejected, after = (go_on(search, 1, formula)[-1] for formula in (raising(RejectedError("too many")), bowl))
    assert (rejected.state, rejected.counts, rejected.reason) == ("rejected", False, "too many")
    assert after.counts


def test_with_several_measures_too(tmp_path: Path) -> None:
    search = search_in(tmp_path, optimise=["quality", "ms_per_picture"])
    for formula in (raising(RejectedError("too many")), raising(MemoryError()), bowl):
        go_on(search, 1, formula)
    assert [trial.state for trial in trials_of(search)] == ["rejected", "failed", "finished"]


def test_tpe_learns_from_what_it_saw(tmp_path: Path) -> None:
    """On a smooth bowl its last trials lie nearer to the top than those drawn at random, by a wide margin."""
    means = {}
    for sampler in ("tpe", "random"):
        (tmp_path / sampler).mkdir()
        trials = go_on(search_in(tmp_path / sampler, sampler=sampler, trials=28), 28)
        means[sampler] = sum(trial.measured["quality"] for trial in trials[-12:]) / 12
    assert means["tpe"] > means["random"] + 0.1
    assert means["tpe"] > 0.8


def test_a_grid_is_searched_point_by_point_the_default_first(tmp_path: Path) -> None:
    space = {SIGMA: {"low": 0.0, "high": 8.0, "step": 4.0}, RULE: ["maximum", "top_mean"]}
    trials = go_on(search_in(tmp_path, space=space, sampler="grid"), 6, lambda point: {"quality": point[SIGMA]})
    assert trials[0].point == {SIGMA: 4.0, RULE: "maximum"}
    assert {(trial.point[SIGMA], trial.point[RULE]) for trial in trials} == {
        (sigma, rule) for sigma in (0.0, 4.0, 8.0) for rule in ("maximum", "top_mean")
    }


def test_cma_es_searches_numbers(tmp_path: Path) -> None:
    pytest.importorskip("cmaes", reason="the extra `cmaes` is not installed")
    trials = go_on(search_in(tmp_path, sampler="cmaes", trials=40), 40)
    assert max(trial.measured["quality"] for trial in trials[-10:]) > 0.9


def test_cma_es_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = raising(ModuleNotFoundError("No module named 'cmaes'", name="cmaes"))
    monkeypatch.setattr(optuna.samplers, "CmaEsSampler", missing)
    with pytest.raises(ConfigError, match=r"pip install 'ensemble-ad\[cmaes\]'"):
        go_on(search_in(tmp_path, sampler="cmaes"), 2)


def test_several_measures_end_in_a_front_that_nothing_beats(tmp_path: Path) -> None:
    search = search_in(tmp_path, optimise=["quality", "ms_per_picture"], trials=16)
    trials = go_on(search, 16)
    front = pareto(trials, search.study.optimise, search.study.low_is_good)
    for trial in trials:
        beaten = any(
            other.measured["quality"] >= trial.measured["quality"]
            and other.measured["ms_per_picture"] <= trial.measured["ms_per_picture"]
            and other.measured != trial.measured
            for other in trials
        )
        assert beaten == (trial not in front)
    qualities = [trial.measured["quality"] for trial in front]
    assert qualities == sorted(qualities, reverse=True)


def test_a_constraint_is_kept_by_the_result_and_learned_by_the_search(tmp_path: Path) -> None:
    trials = go_on(search_in(tmp_path, constraints={"ms_per_picture": 3.0}, trials=16), 16)
    leader = best(trials, "quality")
    assert leader is not None
    assert leader.measured["ms_per_picture"] <= 3.0
    assert max(trials, key=lambda trial: trial.measured["quality"]).measured["ms_per_picture"] > 3.0
    assert {trial.number for trial in candidates(trials)} == {
        trial.number for trial in trials if trial.measured["ms_per_picture"] <= 3.0
    }


def climbing(final: float) -> Callable[..., dict[str, float]]:
    def evaluate(_point: Point, report: Any) -> dict[str, float]:
        for step in (1, 3):
            report(final * step / 9, step)
        return {"quality": final}

    return evaluate


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_a_pruner_stops_what_falls_behind_and_the_random_search_has_none(pruner: str, tmp_path: Path) -> None:
    search = search_in(tmp_path, pruner=pruner)
    for _ in range(8):
        attempt(search, climbing(0.9))
    for _ in range(4):
        attempt(search, climbing(0.1))
    states = [trial.state for trial in trials_of(search)]
    assert "pruned" in states[8:]
    assert states[0] == "finished"
    assert all(trial.counts for trial in trials_of(search))
    baseline = Search(search.study, search.storage, baseline=True)
    begin(baseline, search.study.identity([]))
    for final in (0.9,) * 8 + (0.1,) * 4:
        attempt(baseline, climbing(final))
    assert {trial.state for trial in trials_of(baseline)} == {"finished"}


def test_wilcoxon_stops_what_is_worse_class_by_class(tmp_path: Path) -> None:
    search = search_in(tmp_path, pruner="wilcoxon", data=[f"class{number}" for number in range(12)])

    def over_classes(offset: float) -> Callable[..., dict[str, float]]:
        def evaluate(_point: Point, report: Any) -> dict[str, float]:
            values = [0.5 + 0.03 * number + offset for number in range(12)]
            for number, value in enumerate(values):
                report(value, number + 1)
            return {"quality": sum(values) / 12}

        return evaluate

    for offset in (0.0, -0.2, 0.1):
        attempt(search, over_classes(offset))
    assert [trial.state for trial in trials_of(search)] == ["finished", "pruned", "finished"]


def test_a_study_of_another_space_is_left_as_it_is(tmp_path: Path) -> None:
    go_on(search_in(tmp_path), 2)
    with pytest.raises(ConfigError, match=r"exists in .* with another space, objective or pictures; give this one"):
        search_in(tmp_path, space={RULE: ["maximum", "top_mean"]})
    assert len(go_on(search_in(tmp_path, trials=9, sampler="random"), 1)) == 3


def test_the_study_of_somebody_else_is_left_as_it_is(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'theirs.db'}"
    theirs = optuna.create_study(storage=url, study_name="study")
    theirs.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(ConfigError, match="with another space"):
        search_in(tmp_path, storage=url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:////nowhere/at/all/study.db", "unable to open database file"),
        ("nonsense://host/name", "cannot be used"),
        ("postgresql://me:secret@localhost:1/studies", ""),
    ],
)
def test_a_storage_that_cannot_be_reached_is_said_so_without_its_password(url: str, said: str, tmp_path: Path) -> None:
    with pytest.raises((StoreError, ConfigError)) as refusal:  # ConfigError where the server's driver is missing
        search_in(tmp_path, storage=url)
    assert said in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_a_database_keeps_the_same_trials_as_a_journal(tmp_path: Path) -> None:
    storages = {"journal": None, "sqlite": f"sqlite:///{tmp_path / 'study.db'}"}
    found = [go_on(search_in(tmp_path, storage=url), 4) for url in storages.values()]
    kept = [[(trial.point, trial.measured) for trial in trials] for trials in found]
    assert kept[0] == kept[1]


def test_an_unfinished_line_of_a_journal_is_cut_off(tmp_path: Path) -> None:
    for name in ("whole", "torn"):
        (tmp_path / name).mkdir()
        go_on(search_in(tmp_path / name), 3)
    torn = tmp_path / "torn" / "study.journal"
    moved = torn.rename(tmp_path / "torn" / "other.journal")  # opened for the first time by this process
    with moved.open("a") as file:
        file.write('{"op_code":6,"worker')
    search = Search(small_study(tmp_path / "torn"), str(moved))
    assert [trial.point for trial in go_on(search, 2)] == [
        trial.point for trial in go_on(search_in(tmp_path / "whole"), 2)
    ]


def test_importance_finds_the_key_that_matters(tmp_path: Path) -> None:
    search = search_in(tmp_path, sampler="random", trials=20)
    go_on(search, 20, lambda point: {"quality": point[SIGMA] / 8})
    shares = importances(search)
    assert next(iter(shares)) == SIGMA
    assert shares[SIGMA] > 0.9
    assert sum(shares.values()) == pytest.approx(1)


def test_importance_is_silent_where_it_cannot_tell(tmp_path: Path) -> None:
    search = search_in(tmp_path)
    go_on(search, 1)
    assert importances(search) == {}


def test_workers_that_ask_at_the_same_moment_draw_different_points(tmp_path: Path) -> None:
    """A second worker asks while the first one's trial runs; together they draw what one worker alone draws."""
    space = {NOISE: SPACE[NOISE], SIGMA: SPACE[SIGMA]}
    for name in ("alone", "together"):
        (tmp_path / name).mkdir()
    alone = go_on(search_in(tmp_path / "alone", space=space, sampler="random"), 5)
    search = search_in(tmp_path / "together", space=space, sampler="random")
    drawn = []

    def nested(point: Point, _report: Any) -> dict[str, float]:
        drawn.append(point)
        if len(drawn) < 5:
            attempt(search, nested)
        return bowl(point)

    attempt(search, nested)
    assert [trial.point for trial in trials_of(search)] == drawn == [trial.point for trial in alone]
    assert len({trial.point[SIGMA] for trial in alone}) == 5


def test_a_trial_interrupted_before_it_drew_anything_draws_the_same_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("whole", "interrupted"):
        (tmp_path / name).mkdir()
    whole = go_on(search_in(tmp_path / "whole", sampler="random"), 4)
    search = search_in(tmp_path / "interrupted", sampler="random")
    go_on(search, 2)
    monkeypatch.setattr(Space, "draw", raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        attempt(search, lambda _point, _report: {})
    monkeypatch.undo()
    assert [trial.point for trial in go_on(search, 2)] == [trial.point for trial in whole]


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_no_queued_trial_is_taken_twice(kind: str, tmp_path: Path) -> None:
    """Four threads with a connection each take what is queued, as workers do."""
    place = f"sqlite:///{tmp_path / 'study.db'}" if kind == "sqlite" else str(tmp_path / "study.journal")
    with reached(place, "study.yaml") as first:
        study = optuna.create_study(storage=first, study_name="queue")
    for number in range(12):
        study.enqueue_trial({"x": number})

    def take(_: int) -> list[int]:
        own = optuna.load_study(study_name="queue", storage=_opened.__wrapped__(place))
        return [own.ask().number for _ in range(3)]

    with ThreadPoolExecutor(4) as threads:
        taken = [number for numbers in threads.map(take, range(4)) for number in numbers]
    assert sorted(taken) == list(range(12))
