"""The only place where a name becomes an object.

A component in YAML is a name, or a mapping with `name` and keyword arguments of its class. The constructor is the
schema: types are checked against the dataclass fields, and a wrong key says what it could have been.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, fields
from functools import lru_cache
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from ensemble_ad.errors import ConfigError, naming

Choices = Mapping[str, type]
Component = Mapping[str, Any]
"""`{"name": ..., parameter: value, ...}`."""


def make(choices: Choices, component: str | Component) -> Any:
    """Return the object that `component` describes, unfitted.

    Raises ConfigError for an unknown name, an unknown or missing parameter, or a value of the wrong type or range.

    >>> from combiners import FEATURE_COMBINERS
    >>> make(FEATURE_COMBINERS, {"name": "global", "components": 8}).components
    8
    """
    parameters = resolve(choices, component)
    name = parameters.pop("name")
    return _made(choices, name, checked(choices[name], parameters))


def resolve(
    choices: Choices, component: str | Component, preset: Mapping[str, Component] | None = None
) -> dict[str, Any]:
    """Return `component` as a mapping with its `name` first, the preset's values for that name filled in.

    >>> resolve({"mean": dict}, "mean", {"mean": {"weight": 2}})
    {'name': 'mean', 'weight': 2}
    """
    given = {"name": component} if isinstance(component, str) else dict(component)
    name = given.pop("name", None)
    if not isinstance(name, str) or name not in choices:
        raise ConfigError(
            f"unknown component {name!r}{did_you_mean(str(name), choices)}; there are {', '.join(choices)}"
        )
    return {"name": name, **(preset or {}).get(name, {}), **given}


def describe(choices: Choices, component: Component, seed: int) -> dict[str, Any]:
    """Return `component` with every parameter of its class, checked: what YAML files and cache keys are made of.

    `seed` fills the parameter of that name where the component does not set it. Raises ConfigError as `make` does.
    """
    parameters = dict(component)
    name = parameters.pop("name")
    defaults = parameter_defaults(choices[name])
    if "seed" in defaults:
        defaults["seed"] = seed
    described = defaults | checked(choices[name], parameters)
    _made(choices, name, described)
    return {"name": name, **described}


def _made(choices: Choices, name: str, parameters: Mapping[str, Any]) -> Any:
    """Return the object, after its own `check()` where it has one: ranges are known to the component alone."""
    component = choices[name](**parameters)
    if hasattr(component, "check"):
        with naming(name):
            component.check()
    return component


def parameter_defaults(component: type) -> dict[str, Any]:
    """Return the constructor's parameters and their defaults, in order; a required one has the value `...`."""
    return {entry.name: _default(entry) for entry in fields(component) if entry.init}


def did_you_mean(word: str, known: Mapping[str, Any]) -> str:
    """Return ` (did you mean 'x'?)` for a near miss, else nothing.

    >>> did_you_mean("patchcor", {"patchcore": 1})
    " (did you mean 'patchcore'?)"
    """
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _default(entry: Field) -> Any:
    if entry.default is not MISSING:
        return entry.default
    return ... if entry.default_factory is MISSING else entry.default_factory()


def checked(component: type, parameters: Mapping[str, Any], only: Iterable[str] | None = None) -> dict[str, Any]:
    """Return `parameters` converted to the constructor's types (of its parameters `only`), or raise ConfigError."""
    known = parameter_defaults(component)
    for key in parameters:
        if key not in known:
            raise ConfigError(
                f"{component.__name__} has no parameter {key!r}{did_you_mean(key, known)}; it takes {', '.join(known)}"
            )
    try:
        values = _schema(component, tuple(known if only is None else only)).model_validate(parameters)
    except ValidationError as error:
        raise ConfigError(f"{component.__name__}: {first_fault(error)}") from error
    return {key: getattr(values, key) for key in parameters}


def first_fault(error: ValidationError) -> str:
    """Return one line for the first thing that pydantic found wrong: key, what was expected, what came."""
    fault = error.errors()[0]
    parameter, *inside = fault["loc"]
    positions = [part for part in inside if isinstance(part, int)]  # the rest names branches of a union
    key = ".".join(str(part) for part in (parameter, *positions))
    return f"{key}: {fault['msg'][0].lower()}{fault['msg'][1:]}, got {fault['input']!r}"


@lru_cache(maxsize=256)
def _schema(component: type, names: tuple[str, ...]) -> type[BaseModel]:
    hints, defaults = get_type_hints(component, include_extras=True), parameter_defaults(component)
    entries = {name: (hints[name], defaults[name]) for name in names}
    settings = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=(), strict=False)
    return create_model(component.__name__, __config__=settings, **entries)  # type: ignore[call-overload]
