"""The search space: which keys of an experiment vary, over what, and when; every point of it is an experiment.

    experiment: {detector: {name: feature_ensemble, extractors: [patchcore, simplenet], combiner: global}}
    space:
      detector.extractors: {subset_of: [patchcore, simplenet, draem]}
      detector.extractors.simplenet.cut: [adapted, hidden]              # only where simplenet is a member
      detector.combiner.name: [global, individual, none]
      detector.combiner.components: {low: 0.5, high: 1.0, when: {detector.combiner.name: [global, individual]}}
      detector.discriminator.noise_std: {low: 0.1, high: 2.0, log: true}

The experiment itself is the hand-made default; it lies in the space and is the first trial of every study.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ensemble_ad.build import did_you_mean
from ensemble_ad.errors import ConfigError
from ensemble_ad.experiment import DEFAULTS, Experiment, load_experiment
from ensemble_ad.key_path import get, position, put
from ensemble_ad.plain import plain
from ensemble_ad.tuning.parameter import Choice, Parameter, parse_parameter

Point = dict[str, Any]
"""By key, the label of a choice or the number from a range; without those that do not apply."""

MEMBER_KEYS = {"extractors", "method", "detectors"}
"""Keys of a detector below which its members are."""
RANDOM_POINTS = 64
"""Points looked at before a study starts, besides those that differ from the default in one key."""


@dataclass(frozen=True)
class Space:
    """Some keys of an experiment that vary."""

    where: str
    """The file, for messages."""
    content: Mapping[str, Any]
    """The default experiment as it was written."""
    entries: Mapping[str, Any]
    """The space as it was written."""
    parameters: tuple[Parameter, ...]
    """Each after those that decide whether it applies."""

    def draw(self, pick: Callable[[Parameter], Any]) -> Point:
        """Return a point: `pick` is asked for each parameter that applies, given what it picked before."""
        point: Point = {}
        content = plain(self.content)
        for parameter in self.parameters:
            if self._applies(parameter, point, content):
                point[parameter.key] = pick(parameter)
                self._set(content, parameter, point)
        return point

    def experiment(self, point: Point) -> Experiment:
        """Return the resolved experiment at a point; raises ConfigError where the components do not allow it."""
        content = plain(self.content)
        for parameter in self.parameters:
            if parameter.key in point:
                self._set(content, parameter, point)
        return load_experiment(content, self.where)

    def default(self) -> Point:
        """Return the point of the default experiment; raises ConfigError where it lies outside of the space."""
        default = load_experiment(self.content, self.where)
        return self.draw(lambda parameter: self._default(parameter, default))

    def points(self) -> Iterator[Point]:
        """Yield every point of a finite space, the last key changing first; ConfigError for an infinite one."""
        try:
            grids = {parameter.key: parameter.grid() for parameter in self.parameters}
        except ConfigError as error:
            raise ConfigError(f"{self.where}: space: {error}") from None
        return self._extended({}, 0, grids)

    def member_points(self) -> list[Point]:
        """Return points that have every member and every choice of its settings: what can be made before the trials."""
        default = self.default()
        varied = [
            {**default, parameter.key: label}
            for parameter in self.parameters
            if isinstance(parameter, Choice) and MEMBER_KEYS & set(parameter.key.split("."))
            for label in parameter.values
        ]
        return [default, *(self.near(wanted) for wanted in varied)]

    def near(self, wanted: Point) -> Point:
        """Return the point that has the wanted values as far as they apply, and the first candidates besides."""
        return self.draw(lambda parameter: wanted.get(parameter.key, parameter.candidates()[0]))

    def _extended(self, point: Point, start: int, grids: Mapping[str, Sequence[Any]]) -> Iterator[Point]:
        content = plain(self.content)
        for parameter in self.parameters[:start]:
            if parameter.key in point:
                self._set(content, parameter, point)
        if start == len(self.parameters):
            yield point
        elif not self._applies(self.parameters[start], point, content):
            yield from self._extended(point, start + 1, grids)
        else:
            key = self.parameters[start].key
            for drawn in grids[key]:
                yield from self._extended({**point, key: drawn}, start + 1, grids)

    def _applies(self, parameter: Parameter, point: Point, content: Mapping[str, Any]) -> bool:
        met = all(point.get(key) in labels for key, labels in parameter.when.items())
        return met and not _leads_to_no_member(content, parameter.key)

    def _set(self, content: dict[str, Any], parameter: Parameter, point: Point) -> None:
        put(content, parameter.key, plain(parameter.value(point[parameter.key])), f"{self.where}: space")

    def _default(self, parameter: Parameter, default: Experiment) -> Any:
        """The choice or the number with which the experiment is the default one."""
        try:
            number = get(vars(default), parameter.key)
        except KeyError as error:
            step, known = error.args
            hint = did_you_mean(step, dict.fromkeys(known))
            raise ConfigError(f"{self.where}: space: {parameter.key}: there is no {step!r}{hint}") from None
        drawn: Sequence[Any] = parameter.candidates() if isinstance(parameter, Choice) else parameter.near(number)
        for candidate in drawn:
            content = plain(self.content)
            put(content, parameter.key, plain(parameter.value(candidate)), f"{self.where}: space")
            if _is(content, default):
                return candidate
        raise ConfigError(
            f"{self.where}: space: {parameter.key}: the default experiment has {number!r}, which the search could "
            f"not draw; add it, or set {parameter.key} under `experiment`"
        )


def parse_space(entries: Any, content: Mapping[str, Any], where: str) -> Space:
    """Return the space of a study file, after looking at some of its points; raises ConfigError."""
    if not isinstance(entries, Mapping) or not entries:
        raise ConfigError(f"{where}: space: expected keys of an experiment with their values, got {entries!r}")
    start = plain({"detector": DEFAULTS["detector"], **content})
    parameters = [
        parse_parameter(str(key), _with_settings(entry, str(key), start), where) for key, entry in entries.items()
    ]
    space = Space(where, start, plain(entries), _in_order(parameters, where))
    _look_around(space)
    return space


def _in_order(parameters: Sequence[Parameter], where: str) -> tuple[Parameter, ...]:
    """Parameters after those they depend on: those of their condition, and those whose key theirs begins with."""
    by_key = {parameter.key: parameter for parameter in parameters}
    for parameter in parameters:
        for key, labels in parameter.when.items():
            _refuse_condition(f"{where}: space: {parameter.key}: when", key, labels, by_key)
    ordered: dict[str, Parameter] = {}
    while len(ordered) < len(parameters):
        ready = [
            parameter
            for parameter in parameters
            if parameter.key not in ordered and all(key in ordered for key in _needs(parameter, by_key))
        ]
        if not ready:
            left = ", ".join(key for key in by_key if key not in ordered)
            raise ConfigError(f"{where}: space: the conditions of {left} go round in a circle")
        ordered |= {parameter.key: parameter for parameter in ready}
    return tuple(ordered.values())


def _needs(parameter: Parameter, by_key: Mapping[str, Parameter]) -> list[str]:
    return [key for key in by_key if key in parameter.when or parameter.key.startswith(f"{key}.")]


def _refuse_condition(where: str, key: str, labels: Sequence[str], by_key: Mapping[str, Parameter]) -> None:
    asked = by_key.get(key)
    if asked is None:
        raise ConfigError(f"{where}: {key!r} is not in the space{did_you_mean(key, by_key)}")
    if not isinstance(asked, Choice):
        raise ConfigError(f"{where}: {key} is a range; a condition asks for choices")
    for label in labels:
        if label not in asked.values:
            raise ConfigError(f"{where}: {key} is never {label!r}; it takes {', '.join(asked.values)}")


def _look_around(space: Space) -> None:
    """Resolve the default, its neighbours and some other points; ConfigError for the first that cannot be built."""
    default = space.default()
    chance = random.Random(0)  # noqa: S311, no secret
    points = [default]
    points += [
        space.near({**default, changed.key: drawn}) for changed in space.parameters for drawn in changed.candidates()
    ]
    points += [space.draw(lambda parameter: chance.choice(parameter.candidates())) for _ in range(RANDOM_POINTS)]
    for point in points:
        try:
            space.experiment(point)
        except ConfigError as error:
            shown = ", ".join(f"{key}={value}" for key, value in point.items())
            raise ConfigError(f"{error}; so it is at {shown}: restrict a key with `when`") from error
    for parameter in space.parameters:
        if not any(parameter.key in point for point in points):
            raise ConfigError(f"{space.where}: space: {parameter.key} never applies: there is no such member or place")


def _with_settings(entry: Any, key: str, content: Mapping[str, Any]) -> Any:
    """An entry whose members of a subset, where named alone, are those of the default experiment with their values."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("subset_of"), list):
        return entry
    try:
        written = get(content, key)
    except KeyError:
        return entry
    named = {member["name"]: member for member in written if isinstance(member, Mapping) and "name" in member}
    members = [named.get(member, member) if isinstance(member, str) else member for member in entry["subset_of"]]
    return {**entry, "subset_of": members}


def _is(content: Mapping[str, Any], default: Experiment) -> bool:
    """Whether it is the default to the letter: 1 component is not the share 1.0 of the variance."""
    try:
        return load_experiment(content).to_yaml() == default.to_yaml()
    except ConfigError:
        return False


def _leads_to_no_member(content: Any, path: str) -> bool:
    """Whether a path goes to a component of a list by a name that is not there."""
    for step in path.split("."):
        if isinstance(content, list):
            place = position(content, step)
            if place is None:
                return not step.isdecimal()
            content = content[place]
        elif isinstance(content, Mapping) and step in content:
            content = content[step]
        else:
            return False
    return False
