"""What an experiment will need, before it starts."""

from collections.abc import Mapping
from typing import Any

from ensemble_ad.build import make
from ensemble_ad.stages import Stages, extractors_of
from extractors import EXTRACTORS

BASE_MB = 700
"""Python, torch, a frozen network and a batch of pictures, about."""


def predicted_memory_mb(stages: Stages, description: Mapping[str, Any]) -> float:
    """Return the largest of the stages' needs in MiB: all training features of one member, twice, beside the base.

    Extractors are fitted one after another, so needs do not add up. A rough figure: it counts features, not what a
    training's activations need.
    """
    pictures = len(stages.folder.train)
    needs = []
    for entry in extractors_of(description):
        extractor = make(EXTRACTORS, entry)
        cells = -(-stages.size[0] // extractor.stride) * -(-stages.size[1] // extractor.stride)
        needs.append(pictures * cells * extractor.channels * 4)
    together = sum(needs) if description["name"] == "feature_ensemble" else 0
    return BASE_MB + max(2 * max(needs), together) / 2**20
