"""Why a picture is anomalous, in sentences, by those members of a detector that can say it."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ensemble_ad.detectors import Detector, extractors_in
from ensemble_ad.methods import METHODS
from ensemble_ad.stages import extractors_of


def can_explain(description: Mapping[str, Any]) -> bool:
    """Whether a member of a resolved detector has `explain`."""
    return any(hasattr(METHODS[entry["name"]], "explain") for entry in extractors_of(description))


def explaining(detector: Detector) -> list[Any]:
    """Return the methods of a detector that have `explain`, those of nested members too."""
    return [method for method in extractors_in(detector) if hasattr(method, "explain")]


def explained(detector: Detector, images: Tensor) -> list[list[str]]:
    """`[N, 3, H, W]` -> for each picture the sentences of all members; none where nothing is to be said."""
    sentences: list[list[str]] = [[] for _ in images]
    for method in explaining(detector):
        for found, said in zip(sentences, method.explain(images)):
            found += [str(finding) for finding in said]
    return sentences
