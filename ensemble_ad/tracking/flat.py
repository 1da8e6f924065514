"""Nested settings and results as the flat names and values that MLflow shows."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

VALUE_LIMIT = 500
"""Characters of a parameter that every MLflow server takes; experiment.yaml has the whole."""
NAME_LIMIT = 250
SETTINGS = ("seed", "size", "parameters")
"""What a result.json repeats of the experiment."""
TYPES = {"logical_anomalies": "logical", "structural_anomalies": "structural"}
DEFECT_METRICS = ("/au_spro_0.05", "/image_auroc")
"""Endings of the metrics of a defect kind that are shown."""


def params_of(experiment: Mapping[str, Any]) -> dict[str, str]:
    """Return an experiment's values by dotted path, as text of at most 500 characters.

    >>> params_of({"seed": 0, "detector": {"extractors": [{"name": "patchcore", "weights": None}]}})
    {'seed': '0', 'detector.extractors.0.name': 'patchcore', 'detector.extractors.0.weights': 'null'}
    """
    return {clean(".".join(path)): _short(text_of(value)) for path, value in _leaves(experiment)}


def metrics_of(result: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a result.json by names such as `au_spro_0.05/logical`; what is null is left out.

    Of a defect kind the headline figures alone; what looked at the test split bears `oracle` in its name.

    >>> metrics_of({"au_spro": {"0.05": {"logical_anomalies": 0.5, "mean": None}}, "seconds": {"fit": 2.0}})
    {'au_spro_0.05/logical': 0.5, 'seconds/fit': 2.0, 'seconds/total': 2.0}
    """
    found: dict[str, float] = {}
    for path, value in _leaves(result):
        name = "/".join(TYPES.get(part, part) for part in path)
        name = re.sub(r"(au_s?pro)/", r"\1_", name).replace("f1_max", "oracle_f1_max")
        wanted = path[0] not in SETTINGS and (path[0] != "per_defect" or name.endswith(DEFECT_METRICS))
        if wanted and isinstance(value, (int, float)) and not isinstance(value, bool):
            found[clean(name)] = float(value)
    seconds = result.get("seconds", {})
    return found | ({"seconds/total": float(sum(seconds.values()))} if seconds else {})


def clean(name: str) -> str:
    """Return a name with nothing that MLflow refuses in keys.

    >>> clean("seconds/head patchcore+simplenet global")
    'seconds/head patchcore_simplenet global'
    """
    return re.sub(r"[^/\w.\- :]", "_", name)[:NAME_LIMIT]


def name_of(detector: Any) -> str:
    """Return a detector's name for people, whatever it is made of.

    >>> name_of({"name": "feature_ensemble", "extractors": [{"name": "patchcore"}, "draem"], "combiner": "global"})
    'patchcore+draem global'
    """
    if not isinstance(detector, Mapping):
        return str(detector)
    members = detector.get("extractors") or detector.get("detectors") or [detector.get("method", detector.get("name"))]
    if len(members) == 1 and "combiner" not in detector:
        return name_of(members[0])
    return f"{'+'.join(map(name_of, members))} {name_of(detector.get('combiner', ''))}".strip()


def text_of(value: Any) -> str:
    """Return a value as text: text as it is, anything else as in JSON."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Everything in nested mappings and sequences that is neither, with its path; an empty one is a leaf."""
    if value and isinstance(value, (Mapping, list, tuple)):
        entries = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, entry in entries:
            yield from _leaves(entry, (*path, str(key)))
    elif path:
        yield path, value


def _short(text: str) -> str:
    return text if len(text) <= VALUE_LIMIT else text[: VALUE_LIMIT - 3] + "..."
