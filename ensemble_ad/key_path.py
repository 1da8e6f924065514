"""Values inside nested settings, named by paths such as `detector.combiner.components`.

An entry of a list is named by its position, or by its name where it is a component: `detector.extractors.simplenet`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ensemble_ad.errors import ConfigError


def put(content: dict[str, Any], path: str, value: Any, where: str) -> None:
    """Set one value; what is missing on the way becomes a mapping, a component's name alone one with that `name`.

    Raises ConfigError, beginning with `where`, for a path that leads through a plain value or past the end of a list.

    >>> content = {"detector": {"extractors": ["patchcore"], "combiner": "global"}}
    >>> put(content, "detector.combiner.components", 8, "--set")
    >>> put(content, "detector.extractors.patchcore.seed", 3, "--set")
    >>> content["detector"]
    {'extractors': [{'name': 'patchcore', 'seed': 3}], 'combiner': {'name': 'global', 'components': 8}}
    """
    node: Any = content
    steps = path.split(".")
    for number, step in enumerate(steps):
        place = _place(node, step, where)
        if number == len(steps) - 1:
            node[place] = value
            return
        child = node[place] if isinstance(node, list) else node.setdefault(place, {})
        if isinstance(child, str):
            child = {"name": child}
            node[place] = child
        if not isinstance(child, (dict, list)):
            raise ConfigError(f"{where}: {'.'.join(steps[: number + 1])} is a value, it has no {steps[number + 1]!r}")
        node = child


def get(content: Any, path: str) -> Any:
    """Return one value; raises KeyError with the first step that leads nowhere and what there is instead.

    >>> get({"extractors": [{"name": "draem", "epochs": 3}]}, "extractors.draem.epochs")
    3
    >>> get({"weights": (4, 1, 2)}, "weights.2")
    2
    """
    for step in path.split("."):
        if isinstance(content, (list, tuple)):
            place = position(content, step)
            if place is None:
                raise KeyError(step, [str(number) for number in range(len(content))])
            content = content[place]
        elif isinstance(content, Mapping) and step in content:
            content = content[step]
        else:
            raise KeyError(step, list(content) if isinstance(content, Mapping) else [])
    return content


def position(entries: Sequence[Any], step: str) -> int | None:
    """Return which entry a step of a path names; None for none.

    >>> position(["patchcore", {"name": "draem"}], "draem"), position(["patchcore"], "3")
    (1, None)
    """
    if step.isdecimal():
        return int(step) if int(step) < len(entries) else None
    names = [entry.get("name") if isinstance(entry, Mapping) else entry for entry in entries]
    return names.index(step) if step in names else None


def _place(node: Any, step: str, where: str) -> Any:
    if not isinstance(node, list):
        return step
    found = position(node, step)
    if found is None:
        raise ConfigError(f"{where}: expected a position 0 to {len(node) - 1}, got {step!r} (or a component's name)")
    return found
