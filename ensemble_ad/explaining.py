"""Why a picture is anomalous, in sentences, by those members of a detector that can say it."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from ensemble_ad.detectors import Detector, OutputEnsemble, Standalone
from ensemble_ad.methods import METHODS
from ensemble_ad.stages import extractors_of


def can_explain(description: Mapping[str, Any]) -> bool:
    """Whether a member of a resolved detector has `explain`."""
    return any(hasattr(METHODS[entry["name"]], "explain") for entry in extractors_of(description))


def explaining(detector: Detector) -> list[Any]:
    """Return the methods of a detector that have `explain`, those of nested members too."""
    return list(_explaining(detector))


def explained(detector: Detector, images: Tensor) -> list[list[str]]:
    """`[N, 3, H, W]` -> for each picture the sentences of all members; none where nothing is to be said."""
    sentences: list[list[str]] = [[] for _ in images]
    for method in explaining(detector):
        for found, said in zip(sentences, method.explain(images)):
            found += [str(finding) for finding in said]
    return sentences


def _explaining(detector: Detector) -> Iterator[Any]:
    if isinstance(detector, OutputEnsemble):
        for member in detector.detectors:
            yield from _explaining(member)
    elif isinstance(detector, Standalone) and hasattr(detector.method, "explain"):
        yield detector.method
