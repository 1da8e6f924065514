"""What an experiment will need, before it starts."""

from collections.abc import Mapping
from typing import Any

from ensemble_ad.build import make
from ensemble_ad.channels import check_channels
from ensemble_ad.errors import naming
from ensemble_ad.stages import Stages, extractors_of
from extractors import EXTRACTORS

BASE_MB = 700
"""Python, torch, a frozen network and a batch of pictures, about."""


def predicted_memory_mb(stages: Stages, description: Mapping[str, Any]) -> float:
    """Return the largest of the stages' needs in MiB: all training features of one member, twice, beside the base.

    Members are fitted one after another, so their needs do not add up. A rough figure: it counts features, not what a
    training's activations need. Raises ConfigError where a block asks for more than its extractors can give.
    """
    return BASE_MB + _bytes(stages, description) / 2**20


def _bytes(stages: Stages, description: Mapping[str, Any]) -> int:
    if description["name"] == "output_ensemble":
        return max(_bytes(stages, member) for member in description["detectors"])
    if description["name"] == "feature_ensemble":
        check_channels(description)
    needs = []
    for entry in extractors_of(description):
        extractor = make(EXTRACTORS, entry)
        with naming(entry["name"]):
            cells = -(-stages.size[0] // extractor.stride) * -(-stages.size[1] // extractor.stride)
            needs.append(len(stages.folder.train) * cells * extractor.channels * 4)
    together = sum(needs) if description["name"] == "feature_ensemble" else 0
    return max(2 * max(needs), together)
