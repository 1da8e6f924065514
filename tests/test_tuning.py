"""A whole study: what it leaves, what it shares, what it may look at, and how it says how far it can be trusted."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
import pytest
from loco_folder import build_class
from small_run import ALONE, FUSED, PATCHCORE, call, files_in
from small_study import NOISE, RULE, SIGMA, small_study

from data_loco import open_class
from ensemble_ad.errors import ConfigError, StoreError
from ensemble_ad.executors import InProcess
from ensemble_ad.experiment import load_experiment, read_yaml
from ensemble_ad.outcome import outcome
from ensemble_ad.stages import Stages
from ensemble_ad.store import Store
from ensemble_ad.tuning import honesty
from ensemble_ad.tuning.found import Found
from ensemble_ad.tuning.honesty import agreement, resampled
from ensemble_ad.tuning.measures import measure, quality
from ensemble_ad.tuning.run import tune
from ensemble_ad.tuning.study_file import StudyFile
from ensemble_ad.tuning.trial import Place, RejectedError, evaluate
from ensemble_ad.tuning.work import Work

MEMBERS, COMPONENTS = "detector.extractors", "detector.combiner.components"
SPACE = {
    MEMBERS: {"subset_of": ["patchcore", "simplenet"]},
    COMPONENTS: {"low": 4, "high": 40},
    SIGMA: {"low": 0.0, "high": 8.0},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("tuning")
    build_class(base / "parts", good=4)
    return base


@pytest.fixture(scope="module")
def place(base: Path) -> Place:
    return Place(str(base / "cache"))


@pytest.fixture(scope="module")
def study(base: Path) -> StudyFile:
    return small_study(base, space=SPACE, trials=4)


@pytest.fixture(scope="module")
def handed_on() -> list[str]:
    return []


@pytest.fixture(scope="module")
def done(base: Path, study: StudyFile, place: Place, handed_on: list[str]) -> Found:
    work = Work(InProcess(), place, recorded=lambda folder: handed_on.append(folder.name))
    return tune(study, base / "out", work, "ensemble-ad tune study.yaml")


def quietly(study: StudyFile, out: Path, place: Place) -> Found:
    return tune(study, out, Work(InProcess(), place), "")


def measured(found: Found) -> list[tuple[Mapping[str, Any], Mapping[str, float]]]:
    return [(trial.point, trial.measured) for trial in found.trials["search"]]


def stages_of(base: Path, study: StudyFile) -> Stages:
    """The ordinary stages, with the proxy as test split."""
    stages = Stages(open_class(base / "parts"), (64, 64), Store(base / "other_cache"))
    return replace(stages, folder=stages.synthetic(**vars(study.proxy)))


def test_the_folder_holds_all_that_is_promised(base: Path, done: Found) -> None:
    names = files_in(base / "out")
    top = {"study.yaml", "study.journal", "best.yaml", "trials.csv", "summary.md", "index.html"}
    assert {name for name in names if "/" not in name} == top
    assert {"figures/history.svg", "figures/slice.svg", "figures/agreement.svg"} <= set(names)
    assert len([name for name in names if name.endswith("/result.json")]) == 8


def test_both_searches_have_the_same_budget_and_begin_with_the_default(done: Found, study: StudyFile) -> None:
    assert [len(trials) for trials in done.trials.values()] == [4, 4]
    for trials in done.trials.values():
        assert trials[0].point == study.space.default()
    assert done.trials["search"][0].measured == done.trials["random"][0].measured


def test_best_yaml_is_the_experiment_of_the_best_trial(base: Path, done: Found, study: StudyFile) -> None:
    finished = [trial for trial in done.trials["search"] if trial.state == "finished"]
    leader = max(finished, key=lambda trial: trial.measured["quality"])
    assert load_experiment(read_yaml(base / "out" / "best.yaml")) == study.space.experiment(leader.point)


def test_trials_csv_has_every_trial_with_its_parameters_and_measures(base: Path, done: Found) -> None:
    table = pd.read_csv(base / "out" / "trials.csv")
    assert list(table["study"]) == ["search"] * 4 + ["random"] * 4
    assert {MEMBERS, COMPONENTS, SIGMA, "quality", "oracle_test_quality"} <= set(table)
    row, trial = table.iloc[1], done.trials["search"][1]
    assert row[SIGMA] == pytest.approx(trial.point[SIGMA])
    assert row["quality"] == pytest.approx(trial.measured["quality"])


def test_quality_is_the_mean_of_what_the_ordinary_evaluation_says(base: Path, study: StudyFile, done: Found) -> None:
    stages, detector = stages_of(base, study), study.space.experiment(study.space.default()).detector
    result = outcome(stages, detector, stages.prediction(detector, "test")).result
    by_type = [
        fmean([result["au_spro"]["0.05"][kind], result["image_auroc"][kind]])
        for kind in ("logical_anomalies", "structural_anomalies")
        if result["image_auroc"][kind] is not None
    ]
    assert done.trials["search"][0].measured["quality"] == pytest.approx(fmean(by_type), abs=1e-12)


def test_nothing_is_chosen_on_the_test_split(base: Path, study: StudyFile, done: Found, tmp_path: Path) -> None:
    """Without a test split a study has the same trials and the same result."""
    shutil.copytree(base / "parts", tmp_path / "parts")
    shutil.rmtree(tmp_path / "parts" / "test")
    shutil.rmtree(tmp_path / "parts" / "ground_truth")
    blind = replace(study, data=(str(tmp_path / "parts"),))
    found = quietly(blind, tmp_path / "out", Place(str(tmp_path / "cache")))
    assert measured(found) == measured(done)
    assert (tmp_path / "out" / "best.yaml").read_text() == (base / "out" / "best.yaml").read_text()
    assert found.on_test == {}
    assert "not scored on the test split" in (tmp_path / "out" / "summary.md").read_text()


def test_a_finished_study_is_not_done_again(
    base: Path, study: StudyFile, place: Place, done: Found, handed_on: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sorted(handed_on) == sorted(path.name for path in (base / "out" / "trials").iterdir() if path.is_dir())
    before = (base / "out" / "study.journal").read_text().count("\n")
    monkeypatch.setattr("ensemble_ad.tuning.result._draw", lambda found, folder: [])
    again = tune(study, base / "out", Work(InProcess(), place, recorded=lambda _: pytest.fail("handed on twice")), "")
    assert measured(again) == measured(done)
    assert (base / "out" / "study.journal").read_text().count("\n") - before <= 6  # both searches only say who they are


def test_records_are_what_a_run_leaves(base: Path, done: Found, study: StudyFile) -> None:
    folder = base / "out" / "trials" / "search-0002"
    trial = done.trials["search"][2]
    assert load_experiment(read_yaml(folder / "experiment.yaml")) == study.space.experiment(trial.point)
    result = json.loads((folder / "result.json").read_text())
    assert result["proxy"] == trial.measured
    assert (result["class"], result["seed"], result["preset"]) == ("parts", 0, "cpu")


def test_members_and_their_features_are_shared_by_all_trials(base: Path, done: Found) -> None:
    made = {name: len(list((base / "cache" / name).glob("*/stage.yaml"))) for name in ("fit", "features", "synthetic")}
    splits = 3  # training pictures, the proxy, and the test split when the study was over
    assert made == {"fit": 2, "features": 2 * splits, "synthetic": 1}
    assert not list((base / "cache").glob("predict/*/stage.yaml"))  # maps of trials are not kept


def test_a_trial_that_changes_only_the_scoring_has_no_new_head(base: Path, place: Place, study: StudyFile) -> None:
    study = replace(study, space=small_study(base).space)

    def heads(**changes: Any) -> int:
        evaluate(study, place, study.space.default() | changes, lambda _value, _step: None)
        return len(list((base / "cache" / "head").glob("*/stage.yaml")))

    first = heads()
    assert heads(**{SIGMA: 1.5}) == heads(**{RULE: "top_mean"}) == first
    assert heads(**{NOISE: 1.5}) == first + 1


def test_a_point_that_cannot_be_built_is_rejected_before_anything_is_computed(study: StudyFile, tmp_path: Path) -> None:
    point = {MEMBERS: "patchcore", COMPONENTS: 8, SIGMA: -4.0}
    with pytest.raises(RejectedError, match="sigma"):
        evaluate(study, Place(str(tmp_path)), point, lambda _value, _step: None)
    assert not list(tmp_path.iterdir())


def test_an_oracle_is_called_one_wherever_it_shows(base: Path, place: Place, study: StudyFile) -> None:
    found = quietly(replace(study, objective="oracle", trials=2, baseline="none"), base / "oracle", place)
    names = files_in(base / "oracle")
    written = [name for name in names if not name.startswith(("trials/", "study."))]
    assert written
    assert all("oracle" in name for name in written)
    assert all(name.startswith("trials/oracle-") for name in names if name.startswith("trials/"))
    assert "ORACLE" in (base / "oracle" / "best_oracle.yaml").read_text()
    assert "ORACLE" in (base / "oracle" / "summary_oracle.md").read_text().splitlines()[0]
    scores = quality(
        Stages(open_class(base / "parts"), (64, 64), Store(base / "cache")),
        study.space.experiment(study.space.default()).detector,
    )
    assert found.trials["search"][0].measured == scores


def test_several_measures_leave_a_front(base: Path, place: Place) -> None:
    space = {MEMBERS: {"subset_of": ["patchcore", "simplenet"]}}
    study = small_study(base, space=space, optimise=["quality", "model_mb"], trials=3, sampler="grid", name="front")
    found = quietly(study, base / "front", place)
    sizes = {trial.point[MEMBERS]: trial.measured["model_mb"] for trial in found.trials["search"]}
    assert sizes["patchcore+simplenet"] > max(sizes["patchcore"], sizes["simplenet"])
    assert "## Pareto front" in (base / "front" / "summary.md").read_text()
    assert (base / "front" / "figures" / "pareto.svg").exists()


def test_a_limit_that_nothing_keeps_is_said(base: Path, place: Place) -> None:
    study = small_study(base, trials=1, baseline="none", constraints={"model_mb": 0.001}, name="tight")
    with pytest.raises(ConfigError, match=r"no finished trial keeps model_mb <= 0\.001"):
        quietly(study, base / "tight", place)


def test_a_study_in_which_nothing_finished_says_why(
    base: Path, place: Place, study: StudyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_anything: object) -> dict[str, float]:
        raise MemoryError

    monkeypatch.setattr("ensemble_ad.tuning.run.evaluate", fail)
    with pytest.raises(ConfigError, match="none of 4 trials finished: out of memory"):
        quietly(replace(study, name="doomed"), base / "doomed", place)
    reason = json.loads((base / "doomed" / "trials" / "search-0003" / "failed.json").read_text())["reason"]
    assert reason == "out of memory"


def test_a_space_that_is_almost_nowhere_possible_is_given_up(
    base: Path, place: Place, study: StudyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reject(*_anything: object) -> dict[str, float]:
        raise RejectedError("9 components of 8 channels")

    monkeypatch.setattr("ensemble_ad.tuning.run.evaluate", reject)
    with pytest.raises(ConfigError, match=r"21 of 21 points cannot be built \(9 components of 8 channels\)"):
        quietly(replace(study, name="nowhere", trials=1), base / "nowhere", place)


def test_a_folder_of_something_else_is_left_alone(base: Path, place: Place, study: StudyFile) -> None:
    with pytest.raises(StoreError, match="exists and is not the folder of a study"):
        quietly(study, base / "parts", place)


def test_a_method_alone_and_an_output_ensemble_can_be_tuned(base: Path, place: Place) -> None:
    alone = small_study(base, experiment={"size": 64, "detector": ALONE}, space={"detector.method.cut": ["embedding"]})
    point = alone.space.default()
    assert "quality" in evaluate(alone, place, point, lambda _value, _step: None)
    outputs = {"name": "output_ensemble", "detectors": [PATCHCORE, FUSED], "combiner": "mean"}
    space = {"detector.combiner.name": ["mean", "maximum"], "detector.calibration.name": ["robust", "rank"]}
    study = small_study(base, experiment={"size": 64, "detector": outputs}, space=space, trials=2, name="outputs")
    found = quietly(replace(study, baseline="none", check_on_test=False), base / "outputs", place)
    assert [trial.state for trial in found.trials["search"]] == ["finished"] * 2


def test_a_dry_run_says_what_is_there_and_computes_nothing(base: Path, done: Found, tmp_path: Path) -> None:
    small_study(base, space=SPACE | {COMPONENTS: {"low": 4, "high": 40, "when": {MEMBERS: "patchcore+simplenet"}}})
    words = ("tune", base / "study.yaml", "--dry-run", "--out", tmp_path / "out", "--cache")
    there, missing = call(*words, base / "cache"), call(*words, tmp_path / "cache")
    assert (there.code, missing.code) == (0, 0)
    assert "detector.sigma: 0 to 8; default 4.0" in there.out
    assert "where detector.extractors is patchcore+simplenet" in there.out
    assert "reuse  parts: fit patchcore" in there.out
    assert "run    parts: features simplenet on train" in missing.out
    assert not list(tmp_path.glob("out*"))


def test_rank_correlations_are_those_worked_out_by_hand() -> None:
    """Ranks 1 2 3 4 5 against 2 1 4 3 5: Spearman 1 - 6 x 4 / 120, Kendall (8 - 2) / 10."""
    found = agreement([0.1, 0.2, 0.3, 0.4, 0.5], [0.6, 0.5, 0.8, 0.7, 0.9])
    assert found is not None
    assert (found.trials, found.spearman, found.kendall) == (5, 0.8, 0.6)
    assert agreement([0.1, 0.2, 0.3], [0.1, 0.2, 0.3]) is None
    assert agreement([0.1, 0.2, 0.3, 0.4], [0.5] * 4) is None


def test_every_picture_drawn_once_gives_the_exact_test_quality(
    base: Path, study: StudyFile, done: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        honesty, "draw", lambda counts, *_: {kind: np.ones((1, count)) for kind, count in counts.items()}
    )
    stages = Stages(open_class(base / "parts"), (64, 64), Store(base / "cache"))
    detector = study.space.experiment(study.space.default()).detector
    again = resampled(stages, detector).values
    assert again == pytest.approx([measure(stages, detector, ("quality",))["quality"]], abs=1 / 192)
    assert done.on_test["search"][0] == pytest.approx(measure(stages, detector, ("quality",))["quality"])


def test_the_command_says_what_it_found_and_refuses_what_it_cannot_do(
    base: Path, study: StudyFile, done: Found
) -> None:
    words = ("tune", base / "study.yaml", "--out", base / "out", "--cache", base / "cache", "--no-track")
    small_study(base, space=SPACE, trials=4)  # writes study.yaml
    said = call(*words)
    assert said.code == 0, said.err
    assert "search: quality" in said.out
    assert str(base / "out" / "summary.md") in said.out
    other = call(*words[:2], "--out", base / "out", "--cache", base / "cache", "--data", base / "nothing")
    assert (other.code, "Traceback" in other.err) == (2, False)
    small_study(base, space=SPACE | {"seed": [0, 1]}, trials=4)
    changed = call(*words)
    assert changed.code == 2
    assert "with another space" in changed.err
