"""What a detector is called: on a terminal, in a report, in the name of a folder."""

import re
from collections.abc import Mapping
from typing import Any


def label_of(description: Mapping[str, Any]) -> str:
    """Return the name of a resolved detector, made of its members and what brings them together.

    >>> alone = [{"name": "standalone", "method": {"name": name}} for name in ("patchcore", "draem")]
    >>> label_of(alone[0])
    'patchcore'
    >>> label_of({"name": "output_ensemble", "detectors": alone, "combiner": {"name": "mean"}})
    'mean(patchcore, draem)'
    """
    if description["name"] == "standalone":
        return str(description["method"]["name"])
    if description["name"] == "map_descriptors":
        return f"map_descriptors({label_of(description['detector'])})"
    rule = description["combiner"]["name"]
    if description["name"] == "output_ensemble":
        return f"{rule}({', '.join(map(label_of, description['detectors']))})"
    return f"{'+'.join(entry['name'] for entry in description['extractors'])} {rule}"


def title_of(description: Mapping[str, Any]) -> str:
    """Return a detector's name for the head of a page.

    >>> title_of({"name": "standalone", "method": {"name": "patchcore"}})
    'patchcore alone'
    """
    if description["name"] == "standalone":
        return f"{label_of(description)} alone"
    if description["name"] == "map_descriptors":
        return f"{label_of(description['detector'])}, scored by what its maps look like"
    rule = description["combiner"]["name"]
    if description["name"] == "output_ensemble":
        return f"{' + '.join(map(label_of, description['detectors']))}, {rule} of outputs"
    return f"{' + '.join(entry['name'] for entry in description['extractors'])}, {rule} block"


def slug_of(description: Mapping[str, Any]) -> str:
    """Return a detector's label without what a file name should not have.

    >>> slug_of({"name": "feature_ensemble", "extractors": [{"name": "ast"}], "combiner": {"name": "global"}})
    'ast-global'
    """
    return re.sub(r"[^\w.+]+", "-", label_of(description)).strip("-")[:120]
