"""The search space: every point is an experiment, what does not apply is not drawn, and nonsense is refused at once."""

import random
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from small_run import FUSED, PATCHCORE, SIMPLENET, small_experiment
from small_study import SPACE, small_study, write_study

from ensemble_ad.errors import ConfigError
from ensemble_ad.experiment import load_experiment
from ensemble_ad.tuning.space import Space, parse_space
from ensemble_ad.tuning.study_file import load_study

CONTENT: dict[str, Any] = {"size": 64, "detector": FUSED}
BLOCK, COMPONENTS = "detector.combiner.name", "detector.combiner.components"
MEMBERS, CUT = "detector.extractors", "detector.extractors.simplenet.cut"


def space_of(entries: Any, content: Any = CONTENT) -> Space:
    return parse_space(entries, content, "s.yaml")


def some_points(space: Space, count: int = 200) -> list[dict[str, Any]]:
    chance = random.Random(1)
    return [space.draw(lambda parameter: chance.choice(parameter.candidates())) for _ in range(count)]


def test_the_default_point_is_the_default_experiment() -> None:
    space = space_of(SPACE | {MEMBERS: {"subset_of": ["patchcore", "simplenet"]}, "size": [64, [64, 96]]})
    assert space.experiment(space.default()) == small_experiment()


def test_a_point_sets_exactly_its_keys() -> None:
    space = space_of({"detector.sigma": {"low": 0.0, "high": 8.0}, "detector.image_score": ["maximum", "top_mean"]})
    moved = space.experiment({"detector.sigma": 2.5, "detector.image_score": "top_mean"})
    assert moved == small_experiment({**FUSED, "sigma": 2.5, "image_score": "top_mean"})


def test_a_subset_is_every_non_empty_one_once_with_the_settings_of_the_default() -> None:
    space = space_of({MEMBERS: {"subset_of": ["patchcore", "simplenet"]}})
    found = {point[MEMBERS]: space.experiment(point).detector["extractors"] for point in space.points()}
    assert sorted(found) == ["patchcore", "patchcore+simplenet", "simplenet"]
    assert found["simplenet"] == small_experiment({**FUSED, "extractors": [SIMPLENET]}).detector["extractors"]
    assert (
        len(space_of({MEMBERS: {"subset_of": [PATCHCORE, SIMPLENET], "at_least": 2}}).parameters[0].candidates()) == 1
    )


def test_a_setting_of_a_member_is_drawn_only_with_the_member() -> None:
    space = space_of({CUT: ["adapted", "hidden"], MEMBERS: {"subset_of": ["patchcore", "simplenet"]}})
    points = some_points(space)
    assert {CUT in point for point in points} == {True, False}
    assert all((CUT in point) == ("simplenet" in point[MEMBERS]) for point in points)
    cut = space.experiment({MEMBERS: "simplenet", CUT: "hidden"}).detector["extractors"][0]["cut"]
    assert cut == "hidden"


def test_a_condition_decides_whether_a_key_is_drawn() -> None:
    content = {"size": 64, "detector": {**FUSED, "combiner": "global"}}
    when = {BLOCK: ["global", "individual"]}
    space = space_of(
        {COMPONENTS: {"low": 16, "high": 512, "when": when}, BLOCK: ["global", "individual", "none"]}, content
    )
    assert all((COMPONENTS in point) == (point[BLOCK] != "none") for point in some_points(space))


def test_a_grid_is_the_product_of_its_axes_less_what_does_not_apply() -> None:
    content = {"size": 64, "detector": {**FUSED, "combiner": {"name": "global", "whiten": False}}}
    space = space_of(
        {
            BLOCK: ["global", "individual"],
            "detector.sigma": {"low": 0, "high": 8, "step": 4},
            "detector.combiner.whiten": {"choices": [True, False], "when": {BLOCK: "global"}},
        },
        content,
    )
    whole = {(block, sigma, whiten) for block, sigma, whiten in product(("global",), (0, 4, 8), ("true", "false"))}
    whole |= {("individual", sigma, None) for sigma in (0, 4, 8)}
    keys = (BLOCK, "detector.sigma", "detector.combiner.whiten")
    assert {tuple(point.get(key) for key in keys) for point in space.points()} == whole


def test_what_trials_share_is_known_before_they_start() -> None:
    space = space_of({MEMBERS: {"subset_of": ["patchcore", "simplenet"]}, CUT: ["adapted", "hidden"]})
    made = [entry for point in space.member_points() for entry in space.experiment(point).detector["extractors"]]
    assert {(entry["name"], entry.get("cut")) for entry in made} == {
        ("patchcore", "embedding"),
        ("simplenet", "adapted"),
        ("simplenet", "hidden"),
    }


REFUSED: dict[str, tuple[Any, str]] = {
    "nothing": (None, "space: expected keys of an experiment"),
    "a number": ({"seed": 3}, "space: seed: expected a list of at least one value, got 3"),
    "no value": ({"seed": []}, "space: seed: expected a list of at least one value"),
    "the same value twice": ({"seed": [0, 1, 0]}, "expected different values, got 0, 1, 0"),
    "a range that is empty": ({"detector.sigma": {"low": 8, "high": 2}}, "the range is empty: low is 8, high is 2"),
    "a range of one number": ({"detector.sigma": {"low": 4.0, "high": 4.0}}, "the range is empty"),
    "half a range": ({"detector.sigma": {"low": 8}}, "detector.sigma: high: expected a number, got None"),
    "a number that YAML reads as a word": (
        {"detector.sigma": {"low": "1e-3", "high": 1.0}},
        "low: expected a number, got '1e-3'; YAML wants a point in 1.0e-3",
    ),
    "a logarithm of zero": ({"detector.sigma": {"low": 0, "high": 2, "log": True}}, "expected low above 0"),
    "a step too far": (
        {"detector.sigma": {"low": 0, "high": 2, "step": 3}},
        "step: expected a number above 0, up to 2",
    ),
    "an unknown word": (
        {"detector.sigma": {"low": 0, "high": 2, "lag": True}},
        "unknown key 'lag' (did you mean 'log'?)",
    ),
    "subset and range at once": ({MEMBERS: {"subset_of": ["ast"], "low": 2}}, "expected a list, {low, high} or"),
    "too many members": ({MEMBERS: {"subset_of": list("abcdefghi")}}, "subset_of: expected a list of 1 to 8 members"),
    "more members than there are": (
        {MEMBERS: {"subset_of": ["ast"], "at_least": 2}},
        "at_least: expected a number from 1",
    ),
    "an unknown key": (
        {"detector.sigmma": [1.0, 2.0]},
        "detector.sigmma: there is no 'sigmma' (did you mean 'sigma'?)",
    ),
    "an unknown member": ({"detector.extractors.simplnet.cut": ["adapted"]}, "never applies"),
    "a default outside": ({"detector.sigma": {"low": 5.0, "high": 8.0}}, "the default experiment has 4.0, which"),
    "a choice without the default": ({"detector.image_score": ["top_mean"]}, "the default experiment has 'maximum'"),
    "a condition on nothing": ({"seed": {"choices": [0, 1], "when": {"sead": 1}}}, "'sead' is not in the space"),
    "a condition on a range": (
        {"seed": {"choices": [0], "when": {"detector.sigma": 1}}, "detector.sigma": {"low": 0.0, "high": 8.0}},
        "detector.sigma is a range; a condition asks for choices",
    ),
    "a condition that is never met": (
        {"seed": {"choices": [0], "when": {"detector.image_score": "mean"}}, "detector.image_score": ["maximum"]},
        "detector.image_score is never 'mean'; it takes maximum",
    ),
    "conditions in a circle": (
        {
            "seed": {"choices": [0], "when": {"detector.image_score": "maximum"}},
            "detector.image_score": {"choices": ["maximum"], "when": {"seed": 0}},
        },
        "the conditions of seed, detector.image_score go round in a circle",
    ),
    "parts that do not go together": (
        {BLOCK: ["global", "none"]},
        "Concatenation has no parameter 'components'",
    ),
}


@pytest.mark.parametrize(("entries", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_faulty_space_is_refused_before_anything_is_computed(entries: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        space_of(entries)
    assert sentence in str(refusal.value)
    assert str(refusal.value).startswith("s.yaml") or "so it is at" in str(refusal.value)


SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown key": ({"trails": 5}, "unknown key 'trails' (did you mean 'trials'?)"),
    "no trials": ({"trials": 0}, "trials: input should be greater than or equal to 1, got 0"),
    "an unknown sampler": ({"sampler": "tpee"}, "sampler: input should be 'tpe', 'random', 'grid', 'cmaes' or 'nsga2'"),
    "an unknown measure": ({"optimise": "qualty"}, "got 'qualty'"),
    "a limit on quality": ({"constraints": {"quality": 1}}, "constraints"),
    "a limit of nothing": ({"constraints": {"model_mb": 0}}, "greater than 0"),
    "an unknown kind": ({"proxy": {"kinds": ["missin"]}}, "missin"),
    "a pruner for several measures": (
        {"optimise": ["quality", "model_mb"], "pruner": "median"},
        "pruner: median needs one measure",
    ),
    "classes for wilcoxon": ({"pruner": "wilcoxon"}, "pruner: wilcoxon compares class by class"),
    "a grid that is endless": ({"sampler": "grid"}, "a grid needs a list of values, or a range with a step"),
    "a grid that is too large": (
        {"sampler": "grid", "space": {"seed": list(range(9))}, "trials": 8},
        "the grid has more than 8 points; raise `trials`",
    ),
    "no class": ({"data": None}, "data: expected class folders"),
    "an experiment that is a list": ({"experiment": [1]}, "experiment: expected keys and values"),
    "a faulty experiment": ({"experiment": {"sead": 1}}, "unknown key 'sead'"),
}


@pytest.mark.parametrize(("changes", "sentence"), SETTINGS.values(), ids=SETTINGS)
def test_a_faulty_study_is_refused_before_anything_is_computed(
    changes: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as refusal:
        load_study(write_study(tmp_path / "s.yaml", **changes))
    assert sentence in str(refusal.value)
    assert "s.yaml" in str(refusal.value)


def test_several_measures_are_searched_by_nsga2_and_one_by_tpe(tmp_path: Path) -> None:
    assert small_study(tmp_path, optimise=["quality", "model_mb"]).sampler == "nsga2"
    assert small_study(tmp_path).sampler == "tpe"
    assert small_study(tmp_path, sampler="random").baseline == "none"


def test_what_makes_trials_comparable_changes_the_identity(tmp_path: Path) -> None:
    identity = small_study(tmp_path).identity(["pictures"])
    assert small_study(tmp_path, trials=9, sampler="random", pruner="median").identity(["pictures"]) == identity
    others = [
        small_study(tmp_path).identity(["other pictures"]),
        small_study(tmp_path, objective="oracle").identity(["pictures"]),
        small_study(tmp_path, proxy={"seed": 1}).identity(["pictures"]),
        small_study(tmp_path, space={"seed": [0, 1]}).identity(["pictures"]),
        small_study(tmp_path, experiment={"size": 96, "detector": FUSED}).identity(["pictures"]),
    ]
    assert len({identity, *others}) == len(others) + 1


def test_weights_of_an_ensemble_are_searched_one_by_one() -> None:
    study = load_study(Path(__file__).parents[1] / "studies" / "tune_logic.yaml", [Path("parts")])
    default = study.space.default()
    assert [default[f"detector.combiner.weights.{place}"] for place in range(3)] == ["6", "1", "4"]
    other = study.space.experiment(default | {"detector.combiner.weights.1": "0"}).detector
    assert list(other["combiner"]["weights"]) == [6, 0, 4]


def test_the_shipped_study_is_valid() -> None:
    study = load_study(Path(__file__).parents[1] / "studies" / "tune_fusion.yaml", [Path("parts")])
    default = load_experiment({"preset": "cpu"})
    assert study.space.experiment(study.space.default()) == default
