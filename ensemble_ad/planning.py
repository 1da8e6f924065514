"""What an experiment will need, before it starts."""

from collections.abc import Mapping
from typing import Any

from ensemble_ad.build import make
from ensemble_ad.errors import naming
from ensemble_ad.methods import METHODS
from ensemble_ad.stages import Stages, extractors_of, members_in
from extractors import EXTRACTORS
from extractors.backbone import backbone_of

BASE_MB = 700
"""Python, torch, a frozen network and a batch of pictures, about."""


def predicted_memory_mb(stages: Stages, description: Mapping[str, Any]) -> float:
    """Return the largest of the stages' needs in MiB: all training features of one member, twice, beside the base.

    Members are fitted one after another, so their needs do not add up. A rough figure: it counts features, not what a
    training's activations need.
    """
    return BASE_MB + _bytes(stages, description) / 2**20


def _bytes(stages: Stages, description: Mapping[str, Any]) -> int:
    if members := members_in(description):
        return max(_bytes(stages, member) for member in members)
    needs = []
    for entry in extractors_of(description):
        with naming(entry["name"]):
            channels, stride = _channels_and_stride(entry)
            cells = -(-stages.size[0] // stride) * -(-stages.size[1] // stride)
            needs.append(len(stages.folder.train) * cells * channels * 4)
    together = sum(needs) if description["name"] == "feature_ensemble" else 0
    return max(2 * max(needs), together)


def _channels_and_stride(entry: Mapping[str, Any]) -> tuple[int, int]:
    """Of an extractor's features, of the frozen maps that a scorer reads, or of the picture itself."""
    method = make(METHODS, entry)
    if entry["name"] in EXTRACTORS:
        return method.channels, method.stride
    backbone = backbone_of(entry)
    return (3, 1) if backbone is None else (sum(backbone.channels), min(backbone.strides))
