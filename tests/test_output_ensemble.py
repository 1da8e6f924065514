"""Output ensembles: they give what their parts give by hand, share their members' work, never see the test split."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from loco_folder import build_class, noise, write_picture
from small_run import ALONE, FUSED, PATCHCORE, SIMPLENET, call, small_experiment, write_experiment

from combiners import CALIBRATIONS, OUTPUT_COMBINERS
from combiners.calibrated import Calibrated
from combiners.calibration import Rank, Robust, ZScore
from combiners.outputs import Maximum, Mean
from combiners.stacking import LogisticRegression, RandomForest
from data_loco import open_class
from data_loco.loading import Pictures
from ensemble_ad import output_stages
from ensemble_ad.coverage import covered
from ensemble_ad.detectors import OutputEnsemble, Standalone, extractors_in, folds_of
from ensemble_ad.errors import ConfigError
from ensemble_ad.experiment import Experiment, load_experiment
from ensemble_ad.labels import label_of, slug_of
from ensemble_ad.output_samples import Labelled, picture_examples, pixel_examples, pixel_values
from ensemble_ad.persistence import Saved, load_detector, save_detector
from ensemble_ad.planning import predicted_memory_mb
from ensemble_ad.prediction import Prediction, joined
from ensemble_ad.running import default_out, run
from ensemble_ad.schema import build_detector
from ensemble_ad.stages import Stages, extractors_of
from ensemble_ad.store import Store
from extractors import recall
from extractors.backbone import Backbone
from extractors.runtime import Runtime, using

SIZE = (64, 64)
OUTPUTS: dict[str, Any] = {"name": "output_ensemble", "detectors": [PATCHCORE, SIMPLENET]}
NESTED: dict[str, Any] = {
    "name": "output_ensemble",
    "detectors": [{**OUTPUTS, "combiner": "maximum", "calibration": "z_score"}, FUSED, PATCHCORE],
    "combiner": {"name": "weighted_mean", "weights": [1, 2, 3]},
    "score_combiner": "median",
}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_class(tmp_path_factory.mktemp("data") / "parts", validation=4)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _few_anomalies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_stages, "COUNT", 6)


def stages_of(parts: Path, cache: Path) -> Stages:
    return Stages(open_class(parts), SIZE, Store(cache))


def resolved(detector: Mapping[str, Any], **changes: Any) -> Mapping[str, Any]:
    return small_experiment(detector, **changes).detector


def made(stages: Stages) -> dict[str, int]:
    """How many stages of each name had to be computed."""
    names = [name.split()[0] for name, entry in stages.store.log if not entry.reused]
    return {name: names.count(name) for name in names}


def said_alone(stages: Stages, split: str) -> list[Prediction]:
    alone = [{"name": "standalone", "method": method} for method in (PATCHCORE, SIMPLENET)]
    return [stages.prediction(resolved(member), split) for member in alone]


def close(one: Prediction, other: Prediction) -> None:
    torch.testing.assert_close(one.scores, other.scores, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(one.maps, other.maps, rtol=1e-4, atol=1e-4)


# --- what is written ---------------------------------------------------------------------------------------------


def test_members_may_be_named_in_every_way_and_nest() -> None:
    given = yaml.safe_load("""
      name: output_ensemble
      detectors:
        - patchcore
        - {name: draem, epochs: 3}
        - {name: standalone, method: {name: draem, epochs: 3}}
        - {name: feature_ensemble, extractors: [simplenet]}
        - {name: output_ensemble, detectors: [ast]}
      combiner: {name: majority_vote, quantile: 0.9}
      calibration: rank
    """)
    detector = load_experiment({"detector": given, "seed": 5}).detector
    kinds = ["standalone", "standalone", "standalone", "feature_ensemble", "output_ensemble"]
    assert [member["name"] for member in detector["detectors"]] == kinds
    assert detector["detectors"][1] == detector["detectors"][2]
    assert detector["detectors"][0] == load_experiment({"detector": "standalone", "seed": 5}).detector
    assert detector["score_combiner"] == detector["combiner"] == {"name": "majority_vote", "quantile": 0.9}
    assert detector["calibration"] == {"name": "rank"}
    assert [entry["name"] for entry in extractors_of(detector)] == ["patchcore", "draem", "draem", "simplenet", "ast"]
    assert all(entry["seed"] == 5 for entry in extractors_of(detector))


@pytest.mark.parametrize("combiner", [name for name in OUTPUT_COMBINERS if name != "weighted_mean"])
@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_yaml_gives_back_an_equal_experiment(combiner: str, calibration: str) -> None:
    detector = {"name": "output_ensemble", "combiner": combiner, "score_combiner": None, "calibration": calibration}
    experiment = load_experiment({"detector": detector, "seed": 3})
    assert load_experiment(yaml.safe_load(experiment.to_yaml())).to_yaml() == experiment.to_yaml()
    assert isinstance(build_detector(experiment.detector), OutputEnsemble)
    assert experiment.detector["combiner"].get("seed", 3) == 3


FAULTS = {
    "an unknown member": ({"detectors": ["patchcor"]}, r"unknown component 'patchcor' \(did you mean 'patchcore'\?\)"),
    "no member": ({"detectors": []}, r"detectors: expected a list of at least one of patchcore, .*, got \[\]"),
    "a member that is a number": ({"detectors": [3]}, "detectors: expected a name or a mapping with name, got 3"),
    "a member's parameter": ({"detectors": [{"name": "draem", "epoch": 3}]}, r"'epoch' \(did you mean 'epochs'\?\)"),
    "a feature combiner": ({"combiner": "global"}, "unknown component 'global'.*there are mean, weighted_mean"),
    "a calibration": ({"calibration": "zscore"}, r"unknown component 'zscore' \(did you mean 'z_score'\?\)"),
    "a parameter": ({"fold": 3}, r"output_ensemble has no parameter 'fold' \(did you mean 'folds'\?\)"),
    "half a fold": ({"folds": 2.5}, "folds: .*, got 2.5"),
    "too few weights": (
        {"combiner": {"name": "weighted_mean", "weights": [1]}},
        "combiner: weights: expected one for each of the 4 detectors, got 1",
    ),
    "one fold": ({"folds": 1}, "folds: .*greater than or equal to 2, got 1"),
    "a quantile": ({"combiner": {"name": "majority_vote", "quantile": 2}}, r"expected a quantile in \[0, 1\], got 2"),
    "a level": ({"calibration": {"name": "quantile", "level": 0}}, "quantile: expected a level above 0, got 0"),
    "the leaves": ({"score_combiner": {"name": "random_forest", "leaves": 99}}, "leaves of 2 to 30, got 32 and 99"),
    "no weights": ({"combiner": "weighted_mean"}, "weights: field required"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_is_refused_before_anything_is_fitted(fault: str) -> None:
    change, says = FAULTS[fault]
    with pytest.raises(ConfigError, match=says):
        load_experiment({"detector": {"name": "output_ensemble", **change}})


def test_names_of_ensembles_say_what_is_in_them(parts: Path) -> None:
    assert label_of(resolved(NESTED)) == (
        "weighted_mean(maximum(patchcore, simplenet), patchcore+simplenet global, patchcore)"
    )
    assert slug_of(resolved(OUTPUTS)) == "mean-patchcore-simplenet"
    out = default_out(small_experiment(OUTPUTS), open_class(parts), Path("runs"))
    assert out.name.startswith("mean-patchcore-simplenet-cpu-seed0-")


# --- what is computed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("combiner", "score_combiner", "calibration", "score_calibration"),
    [
        ("mean", None, "robust", None),
        ("maximum", "mean", "z_score", None),
        ("majority_vote", "median", "rank", None),
        ("mean", None, "quantile", "trimmed_z"),
    ],
)
def test_an_ensemble_equals_its_parts_by_hand(
    parts: Path, cache: Path, combiner: str, score_combiner: str | None, calibration: str, score_calibration: str | None
) -> None:
    stages = stages_of(parts, cache)
    normal, test = said_alone(stages, "validation"), said_alone(stages, "test")
    scale, rule = CALIBRATIONS, OUTPUT_COMBINERS
    maps = Calibrated(scale[calibration](), rule[combiner]())
    maps.fit(torch.stack([member.maps.flatten() for member in normal]))
    scores = Calibrated(scale[score_calibration or calibration](), rule[score_combiner or combiner]())
    scores.fit(torch.stack([member.scores for member in normal]))
    rules = {"combiner": combiner, "score_combiner": score_combiner, "calibration": calibration}
    detector = {**OUTPUTS, **rules, "score_calibration": score_calibration}
    got = stages.prediction(resolved(detector), "test")
    assert torch.equal(got.maps, maps.transform(torch.stack([member.maps for member in test])))
    assert torch.equal(got.scores, scores.transform(torch.stack([member.scores for member in test])))


@pytest.mark.parametrize("detector", [OUTPUTS, {**OUTPUTS, "folds": 3}, NESTED], ids=["plain", "folds", "nested"])
def test_the_cache_gives_what_fitting_and_predicting_directly_gives(
    parts: Path, cache: Path, detector: Mapping[str, Any]
) -> None:
    folder = open_class(parts)
    direct = build_detector(resolved(detector))
    direct.fit(Pictures(folder.train, SIZE), Pictures(folder.validation, SIZE))
    expected = direct.predict(torch.cat(list(Pictures(folder.test, SIZE))))
    close(stages_of(parts, cache).prediction(resolved(detector), "test"), expected)


@pytest.mark.parametrize("combiner", OUTPUT_COMBINERS)
def test_the_fitted_detector_says_what_the_prediction_says(parts: Path, cache: Path, combiner: str) -> None:
    rule = {"name": combiner, "weights": [1, 2]} if combiner == "weighted_mean" else combiner
    stages, description = stages_of(parts, cache), resolved({**OUTPUTS, "combiner": rule})
    again = stages.detector(description).predict(next(iter(Pictures(stages.folder.test, SIZE))))
    close(again, stages.prediction(description, "test"))


@pytest.mark.parametrize("folds", [2, 6])
def test_folds_judge_every_training_picture_by_members_fitted_on_the_others(
    parts: Path, cache: Path, folds: int
) -> None:
    train = list(open_class(parts).train)
    normal: list[list[Prediction]] = [[], []]
    for number in range(folds):
        part = train[number::folds]
        rest = [sample for sample in train if sample not in part]
        for said, method in zip(normal, (PATCHCORE, SIMPLENET)):
            member = build_detector(resolved({"name": "standalone", "method": method}))
            member.fit(Pictures(rest, SIZE), [])
            said.append(member.predict(next(iter(Pictures(part, SIZE)))))
    expected = Robust().fit(torch.stack([joined(said).scores for said in normal]))
    stages = stages_of(parts, cache)
    scores = expected.transform(torch.stack([member.scores for member in said_alone(stages, "test")]))
    got = stages.prediction(resolved({**OUTPUTS, "folds": folds}), "test").scores
    torch.testing.assert_close(got, scores.mean(0), rtol=1e-3, atol=1e-3)


def test_a_fold_is_never_judged_by_what_it_was_fitted_on() -> None:
    for rest, part in folds_of(7, 3):
        assert sorted(rest + part) == list(range(7))
    assert sorted(number for _, part in folds_of(7, 3) for number in part) == list(range(7))


def test_more_folds_than_pictures_name_the_ensemble(parts: Path, tmp_path: Path) -> None:
    says = r"mean\(patchcore, simplenet\): expected folds from 2 to 6, the number of training pictures, got 7"
    with pytest.raises(ConfigError, match=says):
        stages_of(parts, tmp_path).detector(resolved({**OUTPUTS, "folds": 7}))


def test_without_validation_pictures_folds_are_asked_for(parts: Path, tmp_path: Path) -> None:
    stages = stages_of(parts, tmp_path)
    stages.folder = replace(stages.folder, validation=())
    with pytest.raises(ConfigError, match="expected normal validation pictures to calibrate on, got none; set folds"):
        stages.prediction(resolved(OUTPUTS), "test")
    assert stages.prediction(resolved({**OUTPUTS, "folds": 2}), "test").maps.shape == (4, 64, 64)
    direct = build_detector(resolved(OUTPUTS))
    with pytest.raises(ValueError, match="got none; set folds"):
        direct.fit(Pictures(stages.folder.train, SIZE), [])


def test_members_on_one_network_share_its_pass(parts: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = stages_of(parts, cache).detector(resolved(NESTED))
    passes: list[int] = []
    forward = Backbone._run
    monkeypatch.setattr(Backbone, "_run", lambda self, images: passes.append(len(images)) or forward(self, images))
    recall.forget()
    detector.predict(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(8)))
    assert passes == [2]
    assert len(extractors_in(detector)) == 5


# --- what is learned from anomalies ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["logistic_regression", "random_forest"])
def test_a_stacker_learns_from_synthetic_anomalies_on_validation_pictures(parts: Path, cache: Path, name: str) -> None:
    stages = stages_of(parts, cache)
    description = resolved({**OUTPUTS, "combiner": name, "calibration": "z_score"}, seed=2)
    anomalies = Stages(stages.synthetic(output_stages.KINDS, 6, seed=2), SIZE, stages.store)
    kinds = [sample.kind for sample in anomalies.folder.test]
    assert kinds.count("good") == 4
    alone = [resolved({"name": "standalone", "method": method}, seed=2) for method in (PATCHCORE, SIMPLENET)]
    said = [anomalies.prediction(member, "test") for member in alone]
    normal, test = ([stages.prediction(member, split) for member in alone] for split in ("validation", "test"))
    rule = LogisticRegression(seed=2) if name == "logistic_regression" else RandomForest(seed=2)
    by_hand = Calibrated(ZScore(), rule).fit(torch.stack([member.scores for member in normal]))
    labels = torch.tensor([kind != "good" for kind in kinds])
    by_hand.learn(torch.stack([member.scores for member in said]), labels)
    got = stages.prediction(description, "test")
    torch.testing.assert_close(got.scores, by_hand.transform(torch.stack([member.scores for member in test])))
    assert got.maps.isfinite().all()


def test_masks_of_synthetic_anomalies_are_brought_to_the_size_of_the_maps(parts: Path, cache: Path) -> None:
    stages = stages_of(parts, cache)
    test = stages.synthetic(output_stages.KINDS, 6).test
    for sample, mask in zip(test, covered(test, (24, 40), 0.5)):  # twice the pictures' size
        union = torch.zeros(12, 20, dtype=torch.bool)
        for defect in sample.defects():
            union |= torch.from_numpy(defect.mask)
        assert mask.shape == (24, 40)
        assert abs(mask.float().mean() - union.float().mean()) < 0.05


def test_a_stacker_with_folds_learns_on_held_out_pictures_only(parts: Path, tmp_path: Path) -> None:
    stages = stages_of(parts, tmp_path)
    stages.folder = replace(stages.folder, validation=())
    stages.prediction(resolved({**OUTPUTS, "combiner": "logistic_regression", "folds": 2}), "test")
    assert made(stages)["synthetic"] == 2
    assert made(stages)["fit"] == 6  # two members on two folds, and on all


def test_only_the_ensemble_itself_is_told_that_it_needs_anomalies(parts: Path) -> None:
    ensemble = build_detector(resolved({**OUTPUTS, "score_combiner": "random_forest"}))
    with pytest.raises(ValueError, match=r"a stacker learns from synthetic anomalies, .*ensemble_ad.stages.Stages"):
        ensemble.fit([torch.zeros(2, 3, 64, 64)], [torch.zeros(1, 3, 64, 64)])
    assert ensemble.detectors[0].method.bank_ is None


def test_pixels_are_taken_at_the_same_places_of_every_member_and_from_every_column() -> None:
    maps = [torch.arange(4 * 6 * 8.0).view(4, 6, 8), -torch.arange(4 * 6 * 8.0).view(4, 6, 8)]
    sample = pixel_values(maps, limit=50)
    assert sample.shape[1] <= 50
    assert torch.equal(sample[0], -sample[1])
    assert set((sample[0] % 8).tolist()) == set(range(8))
    assert torch.equal(pixel_values(maps, limit=1000)[0], maps[0].flatten())


def labelled() -> Labelled:
    masks = torch.zeros(3, 20, 20, dtype=torch.bool)
    masks[1, 4:9, 4:9] = masks[2, :3, :2] = True
    maps = [torch.where(masks, 1.0, 0.0) + member for member in range(2)]
    return Labelled([Prediction(one.flatten(1).amax(1), one) for one in maps], masks)


def test_examples_are_labelled_by_their_masks_and_about_balanced() -> None:
    values, labels = pixel_examples(labelled(), seed=0)
    assert torch.equal(values[0] == 1, labels)
    assert torch.equal(values[1] == 2, labels)
    assert labels.sum() == 31
    assert 25 <= (~labels).sum() <= 31
    assert all(torch.equal(*pair) for pair in zip(pixel_examples(labelled(), 0), (values, labels)))
    assert pixel_examples(labelled(), seed=0, limit=4)[1].sum() == 4
    scores, anomalous = picture_examples(labelled())
    assert anomalous.tolist() == [False, True, True]
    assert scores.tolist() == [[0.0, 1.0, 1.0], [1.0, 2.0, 2.0]]


def test_empty_masks_are_refused() -> None:
    empty = labelled()._replace(masks=torch.zeros(3, 20, 20, dtype=torch.bool))
    with pytest.raises(ValueError, match="got masks that are all empty"):
        pixel_examples(empty, seed=0)


# --- what is kept ------------------------------------------------------------------------------------------------


def test_members_are_computed_once_and_shared_with_runs_of_their_own(parts: Path, tmp_path: Path) -> None:
    stages = stages_of(parts, tmp_path)
    for split in ("validation", "test"):
        said_alone(stages, split)
        stages.prediction(resolved(FUSED), split)
    for detector, rules in ((OUTPUTS, 1), ({**OUTPUTS, "combiner": "median"}, 1), (NESTED, 2)):
        later = stages_of(parts, tmp_path)
        later.prediction(resolved(detector), "test")
        nested = 2 * (rules - 1)  # the ensemble inside says something about both splits
        assert made(later) == {"rules": rules, "predict": 1 + nested}
    again = stages_of(parts, tmp_path)
    again.prediction(resolved(NESTED), "test")
    assert made(again) == {}


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        ("test/good/000.png", {"predict": 3}),
        ("validation/good/000.png", {"predict": 4, "rules": 1, "synthetic": 1}),
    ],
)
def test_rules_depend_on_validation_pictures_and_never_on_the_test_split(
    parts: Path, cache: Path, tmp_path: Path, picture: str, expected: dict[str, int]
) -> None:
    detector = resolved({**OUTPUTS, "combiner": "logistic_regression"})
    stages_of(parts, cache).prediction(detector, "test")
    copy = build_class(tmp_path / "parts", validation=4)
    write_picture(copy / picture, noise(99))
    later = stages_of(copy, cache)
    later.prediction(detector, "test")
    if "synthetic" in expected:
        expected = {**expected, "predict": 2 + 2 + 1}  # on validation, on anomalies, and the ensemble's own
    assert made(later) == expected


def test_masks_and_labels_of_the_test_split_change_nothing(parts: Path, cache: Path, tmp_path: Path) -> None:
    detector = resolved({**OUTPUTS, "combiner": "logistic_regression"})
    stages_of(parts, cache).prediction(detector, "test")
    copy = build_class(tmp_path / "parts", validation=4)
    (copy / "ground_truth" / "structural_anomalies" / "000" / "001.png").unlink()
    later = stages_of(copy, cache)
    later.prediction(detector, "test")
    assert made(later) == {}


def test_the_plan_says_what_will_happen(parts: Path, tmp_path: Path) -> None:
    stages, description = stages_of(parts, tmp_path), resolved(OUTPUTS)
    names = ["fit patchcore", "predict patchcore on test", "fit simplenet", "predict simplenet on test"]
    names += ["fit the rules of mean(patchcore, simplenet)", "predict mean(patchcore, simplenet) on test"]
    assert stages.plan(description) == [(name, False) for name in names]
    stages.prediction(description, "test")
    assert all(there for _, there in stages_of(parts, tmp_path).plan(description))
    other = resolved({**OUTPUTS, "combiner": "maximum"})
    assert [there for _, there in stages_of(parts, tmp_path).plan(other)] == [True] * 4 + [False] * 2


def test_an_ensemble_needs_the_memory_of_its_largest_member(parts: Path, tmp_path: Path) -> None:
    stages = stages_of(parts, tmp_path)
    needs = [predicted_memory_mb(stages, resolved(member)) for member in (ALONE, FUSED)]
    both = resolved({"name": "output_ensemble", "detectors": [ALONE, FUSED]})
    assert predicted_memory_mb(stages, both) == max(needs)


@pytest.mark.parametrize("combiner", ["mean", "random_forest"])
def test_a_saved_ensemble_predicts_the_same_bits(parts: Path, cache: Path, tmp_path: Path, combiner: str) -> None:
    detector = {**NESTED, "combiner": combiner, "calibration": "rank"}
    experiment, stages = small_experiment(detector), stages_of(parts, cache)
    fitted = stages.detector(experiment.detector)
    folder = save_detector(tmp_path / "model", Saved(experiment, fitted, 1.0, (0.0, 1.0)))
    assert not [path for path in folder.iterdir() if path.suffix not in (".safetensors", ".yaml")]
    images = next(iter(Pictures(stages.folder.test, SIZE)))
    again, expected = load_detector(folder).detector.predict(images), fitted.predict(images)
    assert torch.equal(again.maps, expected.maps)
    assert torch.equal(again.scores, expected.scores)
    (folder / "detector0.scores.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"detector0\.scores\.safetensors: cannot be restored"):
        load_detector(folder)


def test_a_run_leaves_what_every_run_leaves_with_a_column_for_each_member(
    parts: Path, cache: Path, tmp_path: Path
) -> None:
    with using(Runtime(cache=cache / "backbone")):
        done = run(stages_of(parts, cache), small_experiment(NESTED), tmp_path / "run", "command")
    assert (done.folder / "model" / "detector0.detector1.method.safetensors").is_file()
    page = (done.folder / "report.html").read_text()
    for name in ("maximum(patchcore, simplenet)", "patchcore+simplenet global", "weighted_mean of outputs"):
        assert name in page
    assert done.result["au_spro"]["0.05"]["mean"] is not None


def plan_of(*words: object) -> dict[str, Any]:
    called = call("run", "--dry-run", *words)
    assert called.code == 0, called.err
    text = called.out.partition("\nrun  ")[0].partition("\nreuse  ")[0]
    return yaml.safe_load(text)["detector"]


def test_the_command_line_names_members_and_combiner(parts: Path, tmp_path: Path) -> None:
    base = ("--data", parts, "--cache", tmp_path)
    detector = plan_of(*base, "--extractors", "patchcore, draem", "--combiner", "median")
    assert detector["name"] == "output_ensemble"
    assert [member["method"]["name"] for member in detector["detectors"]] == ["patchcore", "draem"]
    assert detector["combiner"]["name"] == detector["score_combiner"]["name"] == "median"

    file = write_experiment(tmp_path / "own.yaml", {**NESTED, "calibration": "rank", "folds": 3})
    kept = plan_of(file, *base, "--combiner", "maximum", "--set", "detector.score_combiner=mean")
    assert [member["name"] for member in kept["detectors"]] == ["output_ensemble", "feature_ensemble", "standalone"]
    assert (kept["calibration"], kept["folds"]) == ({"name": "rank"}, 3)
    assert (kept["combiner"]["name"], kept["score_combiner"]["name"]) == ("maximum", "mean")

    fused = plan_of(write_experiment(tmp_path / "two.yaml", OUTPUTS), *base, "--combiner", "global")
    assert (fused["name"], len(fused["extractors"])) == ("feature_ensemble", 2)
    others = plan_of(write_experiment(tmp_path / "two.yaml", OUTPUTS), *base, "--extractors", "ast")
    assert (others["name"], others["combiner"]["name"]) == ("output_ensemble", "mean")


def test_the_list_shows_output_combiners_and_calibrations() -> None:
    shown = call("list").out
    for name in (*OUTPUT_COMBINERS, *CALIBRATIONS):
        assert name in shown
    assert "leaves" in call("list", "random_forest").out


def test_an_ensemble_of_python_objects_takes_its_score_rule_from_its_map_rule() -> None:
    ensemble = OutputEnsemble([Standalone(build_detector(resolved(ALONE)).method)], Maximum())
    assert isinstance(ensemble.scores_.combiner, Maximum)
    assert ensemble.scores_.combiner is not ensemble.combiner
    other = OutputEnsemble([], Maximum(), score_combiner=Mean(), calibration=Rank())
    assert isinstance(other.scores_.combiner, Mean)
    assert other.maps_.calibration is not other.scores_.calibration


def test_an_experiment_of_outputs_is_told_from_one_of_features() -> None:
    one, other = small_experiment(OUTPUTS), small_experiment(FUSED)
    assert isinstance(one, Experiment)
    assert one.to_yaml() != other.to_yaml()
