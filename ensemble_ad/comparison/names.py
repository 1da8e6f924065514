"""What detectors are called in a comparison: as briefly as tells them apart."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Description = Mapping[str, Any]

SHOWN = 3
"""Settings named at most where two detectors differ in many."""


def without_seed(node: Any, seed: int) -> Any:
    """Return a nested description without the seeds that the experiment's own seed has set.

    >>> without_seed({"name": "simplenet", "seed": 3, "epochs": 4}, seed=3)
    {'name': 'simplenet', 'epochs': 4}
    """
    if isinstance(node, Mapping):
        return {key: without_seed(value, seed) for key, value in node.items() if (key, value) != ("seed", seed)}
    return [without_seed(entry, seed) for entry in node] if isinstance(node, list) else node


def short_name(detector: Description) -> str:
    """Return a detector's name from its kind and its members.

    >>> short_name({"name": "output_ensemble", "combiner": {"name": "mean"},
    ...             "detectors": [{"name": "standalone", "method": {"name": name}} for name in ("ast", "draem")]})
    'mean(ast, draem)'
    """
    if "method" in detector:
        return str(detector["method"]["name"])
    if "detector" in detector:
        return f"{detector['name']}({short_name(detector['detector'])})"
    rule = str(detector["combiner"]["name"]) if "combiner" in detector else str(detector["name"])
    if "detectors" in detector:
        return f"{rule}({', '.join(map(short_name, detector['detectors']))})"
    return f"{'+'.join(str(member['name']) for member in detector.get('extractors', ()))} {rule}".strip()


def telling_apart(names: Sequence[str], settings: Sequence[Description]) -> list[str]:
    """Return the names, with differing settings added where several are the same; never two alike.

    >>> telling_apart(["ast", "draem", "ast"], [{"size": 64}, {"size": 64}, {"size": 96}])
    ['ast size=64', 'draem', 'ast size=96']
    """
    told = list(names)
    for name in dict.fromkeys(names):
        alike = [place for place, other in enumerate(names) if other == name]
        if len(alike) > 1:
            for place, addition in zip(alike, _differences([settings[place] for place in alike])):
                told[place] = f"{name} {addition}".strip()
    return [
        f"{name} #{told[: place + 1].count(name)}" if told.count(name) > 1 else name for place, name in enumerate(told)
    ]


def _differences(settings: Sequence[Description]) -> list[str]:
    flat = [dict(_flattened(setting)) for setting in settings]
    keys = dict.fromkeys(key for one in flat for key in one)
    differing = [key for key in keys if len({repr(one.get(key)) for one in flat}) > 1]
    shown = differing[:SHOWN]
    return [", ".join(f"{key.rpartition('.')[2]}={one.get(key, '-')}" for key in shown) for one in flat]


def _flattened(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every plain value of a nested description, by its dotted path; a component by its name first."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _flattened(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list) and any(isinstance(entry, (Mapping, list)) for entry in node):
        for place, entry in enumerate(node):
            yield from _flattened(entry, f"{path}.{place}")
    else:
        yield path, node
