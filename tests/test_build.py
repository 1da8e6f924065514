"""From a name and parameters to an object: every entry of every choice, and what is said when it cannot be."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_type_hints

import pytest
import yaml

from combiners import CALIBRATIONS, FEATURE_COMBINERS, OUTPUT_COMBINERS
from ensemble_ad.build import checked, describe, did_you_mean, make, parameter_defaults, resolve
from ensemble_ad.errors import ConfigError
from ensemble_ad.experiment import Experiment
from ensemble_ad.schema import DETECTORS, DISCRIMINATORS, PARTS, build_detector, resolve_detector
from extractors import EXTRACTORS

CHOICES = (EXTRACTORS, FEATURE_COMBINERS, DISCRIMINATORS, CALIBRATIONS, OUTPUT_COMBINERS)
ENTRIES = [
    (choices, name) for choices in CHOICES for name in choices if ... not in parameter_defaults(choices[name]).values()
]
of_every_entry = pytest.mark.parametrize(("choices", "name"), ENTRIES, ids=[name for _, name in ENTRIES])


@dataclass
class Toy:
    count: int
    share: float = 0.5
    loud: bool = False
    kind: Literal["a", "b"] = "a"
    layers: tuple[str, ...] = ("one",)
    grid: tuple[int, int] | None = None
    textures: Path | None = None


TOYS = {"toy": Toy}


def parameters_of(built: Any) -> dict[str, Any]:
    return {entry.name: getattr(built, entry.name) for entry in fields(built) if entry.init}


def through_yaml(description: Mapping[str, Any]) -> dict[str, Any]:
    """As an experiment's file would hold it."""
    return yaml.safe_load(Experiment("cpu", (64, 64), 0, 0.99, description).to_yaml())["detector"]


@of_every_entry
def test_a_name_alone_builds_the_published_defaults(choices: dict, name: str) -> None:
    assert parameters_of(make(choices, name)) == parameters_of(choices[name]())


@of_every_entry
def test_a_description_survives_yaml_and_builds_the_same(choices: dict, name: str) -> None:
    description = describe(choices, {"name": name}, seed=3)
    again = make(choices, through_yaml(description))
    assert parameters_of(again) == parameters_of(make(choices, description))
    assert getattr(again, "seed", 3) == 3


@of_every_entry
def test_a_misspelt_parameter_says_what_it_could_have_been(choices: dict, name: str) -> None:
    for key in parameter_defaults(choices[name]):
        with pytest.raises(
            ConfigError, match=rf"has no parameter '{key}s' \(did you mean '{key}'\?\); it takes .*{key}"
        ):
            make(choices, {"name": name, f"{key}s": 1})


@of_every_entry
def test_a_value_of_the_wrong_type_is_named_with_its_key(choices: dict, name: str) -> None:
    for key, kind in get_type_hints(choices[name]).items():
        if key in parameter_defaults(choices[name]) and kind in (int, float, bool):
            with pytest.raises(ConfigError, match=f"{choices[name].__name__}: {key}: .*, got 'many'"):
                make(choices, {"name": name, key: "many"})


@of_every_entry
def test_nothing_learned_can_be_set(choices: dict, name: str) -> None:
    for entry in fields(choices[name]):
        if not entry.init:
            with pytest.raises(ConfigError, match=f"has no parameter '{entry.name}'"):
                make(choices, {"name": name, entry.name: None})


@pytest.mark.parametrize("word", ["patchcor", {"name": "patchcor"}])
def test_an_unknown_name_says_what_it_could_have_been(word: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"unknown component 'patchcor' \(did you mean 'patchcore'\?\); there are .*ast"
    ):
        make(EXTRACTORS, word)


@pytest.mark.parametrize("component", [{}, {"epochs": 3}, {"name": None}, {"name": ["patchcore"]}, {"name": 3}])
def test_a_component_without_a_name_is_refused(component: Any) -> None:
    with pytest.raises(ConfigError, match=r"unknown component .*; there are toy"):
        make(TOYS, component)


def test_values_are_brought_to_the_declared_types() -> None:
    given = {"name": "toy", "count": 3, "share": 1, "layers": ["x", "y"], "grid": [4, 5], "textures": "some/folder"}
    toy = make(TOYS, given)
    assert toy == Toy(3, 1.0, layers=("x", "y"), grid=(4, 5), textures=Path("some/folder"))
    assert isinstance(toy.share, float)


@pytest.mark.parametrize(
    ("key", "value"),
    [("count", 2.5), ("count", None), ("kind", "c"), ("grid", [1, 2, 3]), ("layers", [1]), ("loud", 7), ("share", [])],
)
def test_values_that_cannot_be_are_refused(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"Toy: {key}"):
        make(TOYS, {"name": "toy", "count": 1, key: value})


def test_a_fault_inside_a_list_is_named_with_its_position() -> None:
    with pytest.raises(ConfigError, match=r"Toy: layers\.1: .*, got 3"):
        make(TOYS, {"name": "toy", "count": 1, "layers": ["x", 3]})


def test_a_required_parameter_has_no_default() -> None:
    assert parameter_defaults(Toy)["count"] is ...
    assert checked(Toy, {"share": 0.25}, only=["share"]) == {"share": 0.25}


def test_the_component_wins_over_the_preset_and_the_preset_over_the_default() -> None:
    preset = {"patchcore": {"neighbours": 9, "sigma": 2.0}, "simplenet": {"epochs": 3}}
    resolved = resolve(EXTRACTORS, {"name": "patchcore", "sigma": 1.0}, preset)
    assert resolved == {"name": "patchcore", "neighbours": 9, "sigma": 1.0}
    described = describe(EXTRACTORS, resolved, seed=0)
    assert described["coreset_ratio"] == EXTRACTORS["patchcore"]().coreset_ratio


def test_the_seed_fills_only_what_does_not_set_it() -> None:
    assert describe(EXTRACTORS, {"name": "patchcore"}, seed=7)["seed"] == 7
    assert describe(EXTRACTORS, {"name": "patchcore", "seed": 2}, seed=7)["seed"] == 2
    assert "seed" not in describe(FEATURE_COMBINERS, {"name": "global"}, seed=7)


def test_only_near_misses_are_suggested() -> None:
    assert did_you_mean("zzz", {"patchcore": 1}) == ""


@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_resolves_and_builds_by_its_name_alone(name: str) -> None:
    description = resolve_detector(name, {}, seed=5)
    built = build_detector(through_yaml(description))
    assert type(built) is DETECTORS[name]
    assert set(description) == {"name", *parameter_defaults(DETECTORS[name])}
    assert set(PARTS[name]) <= set(description)


def test_an_ensemble_of_every_extractor_builds_them_in_order() -> None:
    description = resolve_detector({"name": "feature_ensemble", "extractors": list(EXTRACTORS)}, {}, seed=0)
    assert [type(member) for member in build_detector(description).extractors] == list(EXTRACTORS.values())


@pytest.mark.parametrize(
    ("component", "said"),
    [
        ({"name": "feature_ensemble", "extractor": []}, "has no parameter 'extractor' .did you mean 'extractors'"),
        ({"name": "feature_ensemble", "extractors": []}, "extractors: expected a list of at least one"),
        ({"name": "feature_ensemble", "extractors": "patchcore"}, "extractors: expected a list of at least one"),
        ({"name": "feature_ensemble", "extractors": [3]}, "extractors: expected a name or a mapping with name, got 3"),
        ({"name": "feature_ensemble", "combiner": {"name": "globl"}}, "did you mean 'global'"),
        ({"name": "feature_ensemble", "discriminator": {"epoch": 3}}, "did you mean 'epochs'"),
        ({"name": "feature_ensemble", "sigma": "wide"}, "FeatureEnsemble: sigma"),
        ({"name": "feature_ensemble", "image_score": "sum"}, "FeatureEnsemble: image_score"),
        ({"name": "standalone", "method": {"name": "patchcore", "neighbors": 3}}, "did you mean 'neighbours'"),
        ({"name": "ensemble"}, "unknown component 'ensemble'"),
    ],
)
def test_a_detector_that_cannot_be_says_where(component: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        resolve_detector(component, {}, seed=0)
