"""What the rules of an output ensemble learn from: a bounded sample of the members' pixels and image scores."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ensemble_ad.prediction import Prediction

CALIBRATION_PIXELS = 1_000_000
"""Normal pixels of each member that calibrate at most."""
EXAMPLE_PIXELS = 20_000
"""Pixels of each kind that a stacker learns from at most."""


class Labelled(NamedTuple):
    """M detectors' predictions of the same N pictures, and where these are anomalous."""

    members: Sequence[Prediction]
    masks: Tensor
    """Bool `[N, H, W]`, of the maps' size."""


def pixel_values(maps: Sequence[Tensor], limit: int = CALIBRATION_PIXELS) -> Tensor:
    """M maps `[N, H, W]` of the same pictures -> `[M, K]`, K at most `limit`: every so-many-th pixel, an odd number.

    An odd step visits all columns of a map whose width is even. Maps may be memory-mapped: the rest is not copied.

    >>> pixel_values([torch.arange(8.0).view(2, 2, 2)], limit=3)
    tensor([[0., 3., 6.]])
    """
    total = maps[0].numel()
    step = -(-total // limit) | 1
    return torch.stack([member.reshape(-1)[::step] for member in maps])


def no_anomalies(seed: int) -> Labelled:  # noqa: ARG001
    """Raise ValueError: what a stacker gets where nobody makes synthetic anomalies for it."""
    raise ValueError(
        "a stacker learns from synthetic anomalies, which are pictures on disk: fit it through "
        "ensemble_ad.stages.Stages, or give fit_rules some"
    )


def picture_examples(labelled: Labelled) -> tuple[Tensor, Tensor]:
    """Return image scores `[M, N]` and whether each picture has an anomaly, bool `[N]`."""
    return torch.stack([member.scores for member in labelled.members]), labelled.masks.flatten(1).any(1)


def pixel_examples(labelled: Labelled, seed: int, limit: int = EXAMPLE_PIXELS) -> tuple[Tensor, Tensor]:
    """Return values `[M, K]` and labels, bool `[K]`: about as many normal as anomalous pixels, at most `limit` of each.

    Drawn by `seed`. Pixels beside an anomaly count as normal, as they do in every metric. Raises ValueError where no
    pixel is anomalous.
    """
    flat = labelled.masks.reshape(-1)
    anomalous = flat.nonzero()[:, 0]
    if len(anomalous) == 0:
        raise ValueError("expected synthetic anomalies to learn from, got masks that are all empty")
    generator = torch.Generator().manual_seed(seed)
    anomalous = anomalous[torch.randperm(len(anomalous), generator=generator)[:limit]]
    anywhere = torch.randint(len(flat), (len(anomalous),), generator=generator)
    chosen = torch.cat([anomalous, anywhere[~flat[anywhere]]])
    return torch.stack([member.maps.reshape(-1)[chosen] for member in labelled.members]), flat[chosen]
