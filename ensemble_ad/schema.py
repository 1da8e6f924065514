"""How detectors are written in YAML: which of their parameters are components themselves, and of what choice."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from combiners import CALIBRATIONS, FEATURE_COMBINERS, OUTPUT_COMBINERS
from ensemble_ad.build import Choices, Component, checked, describe, did_you_mean, make, parameter_defaults, resolve
from ensemble_ad.detectors import DescribedMaps, FeatureEnsemble, OutputEnsemble, Standalone
from ensemble_ad.discriminator import Discriminator
from ensemble_ad.errors import ConfigError
from ensemble_ad.experiment import DEFAULT_MEMBERS
from ensemble_ad.methods import METHODS
from extractors import EXTRACTORS
from scorers import SCORERS

DETECTORS: Choices = {
    "standalone": Standalone,
    "feature_ensemble": FeatureEnsemble,
    "output_ensemble": OutputEnsemble,
    "map_descriptors": DescribedMaps,
}
"""Name in YAML -> class."""

DISCRIMINATORS: Choices = {"discriminator": Discriminator}

MEMBERS: Choices = {**METHODS, **DETECTORS}
"""What an output ensemble is made of; a method, by its name or with parameters, stands for itself alone."""


class Part(NamedTuple):
    """A parameter of a detector that is a component, or a list of them."""

    choices: Choices
    default: Any
    many: bool = False


PARTS: Mapping[str, Mapping[str, Part]] = {
    "standalone": {"method": Part(METHODS, "patchcore")},
    "feature_ensemble": {
        "extractors": Part(EXTRACTORS, DEFAULT_MEMBERS, many=True),
        "combiner": Part(FEATURE_COMBINERS, "global"),
        "discriminator": Part(DISCRIMINATORS, "discriminator"),
    },
    "output_ensemble": {
        "detectors": Part(MEMBERS, DEFAULT_MEMBERS, many=True),
        "combiner": Part(OUTPUT_COMBINERS, "mean"),
        "score_combiner": Part(OUTPUT_COMBINERS, None),
        "calibration": Part(CALIBRATIONS, "robust"),
        "score_calibration": Part(CALIBRATIONS, None),
    },
    "map_descriptors": {"detector": Part(MEMBERS, "patchcore")},
}


def resolve_detector(component: str | Component, preset: Mapping[str, Component], seed: int) -> dict[str, Any]:
    """Return a detector with every parameter of every part, checked; raises ConfigError.

    Values come from the component, else from the preset's entry for that name, else from the published defaults.
    """
    if not isinstance(component, (str, Mapping)):
        raise ConfigError(f"detector: expected a name or a mapping with name, got {component!r}")
    given = resolve(DETECTORS, component, preset)
    name = given.pop("name")
    parts, defaults = PARTS[name], parameter_defaults(DETECTORS[name])
    for key in given:
        if key not in defaults:
            raise ConfigError(
                f"{name} has no parameter {key!r}{did_you_mean(key, defaults)}; it takes {', '.join(defaults)}"
            )
    resolved: dict[str, Any] = {"name": name}
    for key, part in parts.items():
        value = given.get(key, part.default)
        if value is None and key.startswith("score_"):
            value = resolved[key.removeprefix("score_")]
        resolved[key] = _resolve_part(key, part, value, preset, seed)
    _refuse_weights(resolved)
    plain = {key: given.get(key, default) for key, default in defaults.items() if key not in parts}
    return resolved | checked(DETECTORS[name], plain, only=plain)


def build_detector(description: Mapping[str, Any]) -> Any:
    """Return the unfitted detector of a resolved description."""
    parameters = dict(description)
    name = parameters.pop("name")
    for key, part in PARTS[name].items():
        built = [_build_one(part.choices, entry) for entry in _listed(parameters[key])]
        parameters[key] = built if part.many else built[0]
    return DETECTORS[name](**parameters)


def _resolve_part(key: str, part: Part, value: Any, preset: Mapping[str, Component], seed: int) -> Any:
    if part.many and (not isinstance(value, list) or not value):
        raise ConfigError(f"{key}: expected a list of at least one of {', '.join(part.choices)}, got {value!r}")
    resolved = [_resolve_one(key, part.choices, entry, preset, seed) for entry in _listed(value)]
    return resolved if part.many else resolved[0]


def _build_one(choices: Choices, entry: Component) -> Any:
    return build_detector(entry) if choices is MEMBERS else make(choices, entry)


def _resolve_one(key: str, choices: Choices, entry: Any, preset: Mapping[str, Component], seed: int) -> dict[str, Any]:
    if not isinstance(entry, (str, Mapping)):
        raise ConfigError(f"{key}: expected a name or a mapping with name, got {entry!r}")
    if choices is MEMBERS:
        alone = resolve(MEMBERS, entry)["name"] in METHODS
        return resolve_detector({"name": "standalone", "method": entry} if alone else entry, preset, seed)
    if choices is EXTRACTORS and (name := entry if isinstance(entry, str) else entry.get("name")) in SCORERS:
        raise ConfigError(
            f"{key}: {name} judges the picture as a whole and has no features to fuse; make it a member of an output "
            f"ensemble (detectors: [patchcore, {name}], combiner: mean) or run it alone (combiner none)"
        )
    if isinstance(entry, Mapping) and "name" not in entry and len(choices) == 1:
        entry = {"name": next(iter(choices)), **entry}
    return describe(choices, resolve(choices, entry, preset), seed)


def _refuse_weights(detector: Mapping[str, Any]) -> None:
    """Raise ConfigError where a weighted mean has not one weight per member."""
    for key in ("combiner", "score_combiner"):
        weights = detector.get(key, {}).get("weights")
        if weights is not None and len(weights) != len(detector["detectors"]):
            members = len(detector["detectors"])
            raise ConfigError(f"{key}: weights: expected one for each of the {members} detectors, got {len(weights)}")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
