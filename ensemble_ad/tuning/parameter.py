"""One dimension of a search space: a choice among values, or a range of numbers, for one key of an experiment."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isclose
from typing import Any

from ensemble_ad.errors import ConfigError
from ensemble_ad.experiment import check_keys

Label = str
"""A choice as it is stored and shown."""
Condition = Mapping[str, tuple[Label, ...]]
"""The labels that each of these keys must have for a parameter to be there at all."""

LARGEST_SUBSET = 8
"""Members of which all subsets are choices: 255 of them."""


@dataclass(frozen=True)
class Choice:
    """Some values of one key."""

    key: str
    values: Mapping[Label, Any]
    when: Condition

    def candidates(self) -> Sequence[Label]:
        """Every choice."""
        return list(self.values)

    def grid(self) -> Sequence[Label]:
        """Every choice."""
        return list(self.values)

    def value(self, drawn: Label) -> Any:
        """What the experiment gets."""
        return self.values[drawn]


@dataclass(frozen=True)
class Range:
    """Numbers between two ends, both included; whole ones where both ends are."""

    key: str
    low: float
    high: float
    when: Condition
    log: bool = False
    """Drawn evenly in the logarithm."""
    step: float | None = None
    """Only low, low + step, ..."""

    @property
    def whole(self) -> bool:
        """Whether values are whole numbers."""
        return isinstance(self.low, int)

    def candidates(self) -> Sequence[float]:
        """Both ends."""
        return [self.low, self.high]

    def grid(self) -> Sequence[float]:
        """Every value; raises ConfigError where there are infinitely many."""
        step = self.step or (1 if self.whole and not self.log else None)
        if step is None:
            raise ConfigError(f"{self.key}: a grid needs a list of values, or a range with a step")
        count = int((self.high - self.low) / step + 1e-9) + 1
        return [self.low + number * step for number in range(count)]

    def value(self, drawn: float) -> float:
        """What the experiment gets."""
        return drawn

    def near(self, number: Any) -> Sequence[float]:
        """Return the number in the type of the range where it could be drawn, else nothing.

        >>> Range("detector.sigma", 0, 8, {}, step=4).near(4.0), Range("detector.sigma", 0, 8, {}).near(4.5)
        ([4], [])
        """
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not self.low <= number <= self.high:
            return []
        steps = (number - self.low) / self.step if self.step else 0
        if not isclose(steps, round(steps), abs_tol=1e-9) or (self.whole and number != int(number)):
            return []
        return [int(number) if self.whole else float(number)]


Parameter = Choice | Range


def parse_parameter(key: str, entry: Any, where: str) -> Parameter:
    """Return the parameter that an entry of `space` describes; raises ConfigError, beginning with `where`.

    >>> parse_parameter("seed", [0, 1], "study.yaml").candidates()
    ['0', '1']
    >>> parse_parameter("detector.sigma", {"low": 0, "high": 8, "step": 4}, "study.yaml").grid()
    [0, 4, 8]
    """
    where = f"{where}: space: {key}"
    given = dict(entry) if isinstance(entry, Mapping) else {"choices": entry}
    when = _condition(given.pop("when", {}), where)
    kinds = [name for name in ("choices", "subset_of", "low") if name in given]
    if len(kinds) != 1:
        raise ConfigError(f"{where}: expected a list, {{low, high}} or {{subset_of: [...]}}, got {entry!r}")
    return _PARSERS[kinds[0]](key, given, when, where)


def label_of(value: Any) -> Label:
    """Return how a choice is stored and shown.

    >>> label_of("global"), label_of(False), label_of([256, 384])
    ('global', 'false', '[256, 384]')
    """
    return value if isinstance(value, str) else json.dumps(value)


def _choice(key: str, given: Mapping[str, Any], when: Condition, where: str) -> Choice:
    check_keys(given, ("choices",), where)
    values = given["choices"]
    if not isinstance(values, list) or not values:
        raise ConfigError(f"{where}: expected a list of at least one value, got {values!r}")
    return Choice(key, _labelled([(label_of(value), value) for value in values], where), when)


def _subset(key: str, given: Mapping[str, Any], when: Condition, where: str) -> Choice:
    check_keys(given, ("subset_of", "at_least"), where)
    members, least = given["subset_of"], given.get("at_least", 1)
    if not isinstance(members, list) or not 1 <= len(members) <= LARGEST_SUBSET:
        raise ConfigError(f"{where}: subset_of: expected a list of 1 to {LARGEST_SUBSET} members, got {members!r}")
    if isinstance(least, bool) or not isinstance(least, int) or not 1 <= least <= len(members):
        raise ConfigError(f"{where}: at_least: expected a number from 1 to {len(members)}, got {least!r}")
    chosen = [list(some) for size in range(least, len(members) + 1) for some in combinations(members, size)]
    return Choice(key, _labelled([("+".join(map(_member_name, some)), some) for some in chosen], where), when)


def _range(key: str, given: Mapping[str, Any], when: Condition, where: str) -> Range:
    check_keys(given, ("low", "high", "log", "step"), where)
    low, high = (_number(given.get(end), f"{where}: {end}") for end in ("low", "high"))
    step = given.get("step")
    step = None if step is None else _number(step, f"{where}: step")
    log = given.get("log", False)
    if not low < high:
        raise ConfigError(f"{where}: the range is empty: low is {low}, high is {high}")
    if not isinstance(log, bool):
        raise ConfigError(f"{where}: log: expected true or false, got {log!r}")
    if log and (low <= 0 or step is not None):
        raise ConfigError(f"{where}: log: expected low above 0 and no step, got low {low}, step {step}")
    if step is not None and not 0 < step <= high - low:
        raise ConfigError(f"{where}: step: expected a number above 0, up to {high - low}, got {step}")
    if not all(isinstance(number, int) for number in (low, high, step or 1)):
        low, high = float(low), float(high)
    return Range(key, low, high, when, log, step)


_PARSERS: Mapping[str, Callable[..., Parameter]] = {
    "choices": _choice,
    "subset_of": _subset,
    "low": _range,
}


def _condition(given: Any, where: str) -> Condition:
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where}: when: expected keys of the space with their values, got {given!r}")
    listed = {key: value if isinstance(value, list) else [value] for key, value in given.items()}
    return {str(key): tuple(map(label_of, values)) for key, values in listed.items()}


def _labelled(pairs: Sequence[tuple[Label, Any]], where: str) -> dict[Label, Any]:
    labels = [label for label, _ in pairs]
    if len(set(labels)) < len(labels):
        raise ConfigError(f"{where}: expected different values, got {', '.join(labels)}")
    return dict(pairs)


def _member_name(member: Any) -> str:
    """What a member of a list is called: a method on its own by the method."""
    if not isinstance(member, Mapping):
        return str(member)
    return _member_name(member["method"]) if "method" in member else str(member.get("name"))


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        hint = "; YAML wants a point in 1.0e-3" if isinstance(value, str) and "e" in value.lower() else ""
        raise ConfigError(f"{where}: expected a number, got {value!r}{hint}")
    return value
