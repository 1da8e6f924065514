"""The members of an ensemble, and the same ensemble made of some of them."""

from collections.abc import Mapping
from typing import Any

from ensemble_ad.attribution.shapley import Coalition
from ensemble_ad.errors import ConfigError
from ensemble_ad.labels import label_of
from ensemble_ad.plain import plain

Description = Mapping[str, Any]
"""A resolved detector."""

MEMBERS = ("extractors", "detectors")
"""Under which key an ensemble lists its members: a feature ensemble's, an output ensemble's."""
COMBINERS = ("combiner", "score_combiner")


def members_of(detector: Description) -> list[Description]:
    """Return the members, in order; raises ConfigError for fewer than two."""
    members: list[Description] = next((detector[key] for key in MEMBERS if key in detector), [])
    if len(members) < 2:
        raise ConfigError(
            f"attribute: expected an ensemble of at least two members, got {detector['name']!r} with "
            f"{len(members)}; name some with --extractors"
        )
    return members


def member_names(detector: Description) -> tuple[str, ...]:
    """Return what the members are called: by method, and by what differs where a method is there more than once.

    >>> member_names({"name": "e", "extractors": [{"name": "a", "cut": "x"}, {"name": "b"}, {"name": "a", "cut": "y"}]})
    ('a cut=x', 'b', 'a cut=y')
    """
    members = members_of(detector)
    methods = [member["name"] if "extractors" in detector else label_of(member) for member in members]
    values = [_leaves(member.get("method", member)) for member in members]
    names = []
    for method, own in zip(methods, values):
        alike = [other for other, name in zip(values, methods) if name == method]
        differing = [key for key in own if any(other.get(key) != own[key] for other in alike)]
        names.append(" ".join([method, *(f"{key}={own[key]}" for key in differing)]))
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"attribute: expected different members, got {twice} more than once")
    return tuple(names)


def restricted(detector: Description, members: Coalition) -> dict[str, Any]:
    """Return the same ensemble of some members only, in their order.

    Weights of a combiner go with their members.
    """
    (listed,) = [key for key in MEMBERS if key in detector]
    chosen = sorted(members)
    result = plain(detector) | {listed: plain([detector[listed][index] for index in chosen])}
    for key in COMBINERS:
        if result.get(key, {}) and isinstance(result[key].get("weights"), list):
            result[key]["weights"] = [result[key]["weights"][index] for index in chosen]
    return result


def _leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Every value inside nested mappings and lists, by its path."""
    if isinstance(value, Mapping):
        entries = [(str(key), entry) for key, entry in value.items()]
    elif isinstance(value, (list, tuple)):
        entries = [(str(index), entry) for index, entry in enumerate(value)]
    else:
        return {path: value}
    return {key: leaf for name, entry in entries for key, leaf in _leaves(entry, f"{path}.{name}".strip(".")).items()}
