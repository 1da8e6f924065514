"""Values out of range: refused when an experiment is read, in the words in which a fit refuses them."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from loco_folder import build_class
from small_run import call, write_experiment

from combiners import CALIBRATIONS, FEATURE_COMBINERS, OUTPUT_COMBINERS
from ensemble_ad.build import describe, make
from ensemble_ad.errors import ConfigError
from ensemble_ad.schema import DISCRIMINATORS
from extractors import EXTRACTORS

CHOICES: tuple[dict[str, Any], ...] = (
    EXTRACTORS,
    FEATURE_COMBINERS,
    OUTPUT_COMBINERS,
    CALIBRATIONS,
    dict(DISCRIMINATORS),
)
NEEDED = {"weighted_mean": {"weights": [1.0, 1.0]}}
WRONG = -7
"""Within the range of no number of any component but a seed."""

NAMED = [
    (EXTRACTORS, "patchcore", "coreset_ratio", 7, r"in \(0, 1\], got 7"),
    (EXTRACTORS, "patchcore", "coreset_ratio", 0.0, r"in \(0, 1\], got 0.0"),
    (EXTRACTORS, "patchcore", "reweight", 1, "0 or at least 2"),
    (EXTRACTORS, "patchcore", "projection", 0, "of at least 1, got 0"),
    (EXTRACTORS, "simplenet", "learning_rate", float("nan"), "above 0, got nan"),
    (EXTRACTORS, "simplenet", "noise_std", 0.0, "above 0, got 0.0"),
    (EXTRACTORS, "draem", "clean_ratio", 1.5, r"in \[0, 1\], got 1.5"),
    (EXTRACTORS, "cs_flow", "epochs", 0, "of at least 1, got 0"),
    (EXTRACTORS, "ast", "image_scale", 0, "of at least 1, got 0"),
    (EXTRACTORS, "reverse_distillation", "blocks", [1, 1, 0, 1], r"of at least 1, got \(1, 1, 0, 1\)"),
    (FEATURE_COMBINERS, "global", "components", -3, "count >= 1 or a share"),
    (FEATURE_COMBINERS, "individual", "components", 1.5, "count >= 1 or a share"),
    (FEATURE_COMBINERS, "none", "grid", [0, 4], "at least 1 x 1 cells, got 0 x 4"),
    (OUTPUT_COMBINERS, "weighted_mean", "weights", [0, 0], "one of them above 0"),
    (OUTPUT_COMBINERS, "random_forest", "leaves", 1, "2 to 30"),
    (CALIBRATIONS, "quantile", "lower", 0.999, "lower < upper"),
    (DISCRIMINATORS, "discriminator", "batch", 1, "of at least 2, got 1"),
    (DISCRIMINATORS, "discriminator", "margin", float("inf"), "above 0, got inf"),
]


def numbers() -> Iterator[tuple[dict[str, Any], str, str, Any]]:
    """Every parameter of every component that is a number or several, but for seeds, and a wrong value for it."""
    for choices in CHOICES:
        for name, component in choices.items():
            kinds = get_type_hints(component)
            for entry in (entry for entry in dataclasses.fields(component) if entry.init and entry.name != "seed"):
                kind = str(kinds[entry.name]).removeprefix("<class '")
                if kind.startswith(("int", "float", "tuple[int", "tuple[float")):
                    many = {"grid": 2, "blocks": 4, "weights": 2}.get(entry.name)
                    yield choices, name, entry.name, [WRONG] * many if many else WRONG


ALL_NUMBERS = list(numbers())


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_class(tmp_path_factory.mktemp("data") / "parts")


@pytest.mark.parametrize(
    ("choices", "name", "key", "value"), ALL_NUMBERS, ids=[f"{name}-{key}" for _, name, key, _ in ALL_NUMBERS]
)
def test_no_number_goes_unchecked(choices: dict[str, Any], name: str, key: str, value: Any) -> None:
    component = {"name": name, **NEEDED.get(name, {}), key: value}
    for use in (make, lambda *given: describe(*given, seed=0)):
        with pytest.raises(ConfigError, match=rf"^{name}: .*{key.rstrip('s')}"):
            use(choices, component)


@pytest.mark.parametrize(
    ("choices", "name", "key", "value", "said"), NAMED, ids=[f"{n}-{k}-{v}" for _, n, k, v, _ in NAMED]
)
def test_what_is_expected_and_what_came_is_said(
    choices: dict[str, Any], name: str, key: str, value: Any, said: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^{name}: expected .*{said}"):
        describe(choices, {"name": name, **NEEDED.get(name, {}), key: value}, seed=0)


@pytest.mark.parametrize("choices", [EXTRACTORS, FEATURE_COMBINERS, DISCRIMINATORS])
def test_a_fit_refuses_the_same_before_it_looks_at_anything(choices: dict[str, Any]) -> None:
    def untouched() -> Iterator[Any]:
        raise AssertionError("the pictures were looked at")
        yield

    for _, name, key, value in (given for given in ALL_NUMBERS if given[0] == choices):
        component = choices[name](**{key: tuple(value) if isinstance(value, list) else value})
        with pytest.raises(ValueError, match=f"expected .*{key.rstrip('s')}"):
            component.fit(untouched())


def test_defaults_and_their_descriptions_are_in_range() -> None:
    for choices in CHOICES:
        for name in choices:
            description = describe(choices, {"name": name, **NEEDED.get(name, {})}, seed=4)
            assert next(iter(description)) == "name"
            assert describe(choices, description, seed=5) == description


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("detector.extractors.0.coreset_ratio=7", "patchcore: expected coreset_ratio in (0, 1], got 7"),
        ("detector.combiner.components=-3", "global: expected components as a count >= 1"),
        ("detector.discriminator.epochs=0", "discriminator: expected epochs of at least 1, got 0"),
        ("detector.sigma=-1", "FeatureEnsemble: sigma: input should be greater than or equal to 0, got -1"),
    ],
)
def test_a_dry_run_ends_in_a_sentence(tmp_path: Path, parts: Path, setting: str, said: str) -> None:
    file = write_experiment(tmp_path / "e.yaml")
    called = call("run", file, "--data", parts, "--cache", tmp_path / "cache", "--dry-run", "--set", setting)
    assert called.code == 2
    assert said in called.err
