"""Negatives that are no noise: cells of training pictures with a component removed, doubled, swapped and so on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from data_loco import GOOD, Sample
from data_loco.loading import to_size
from ensemble_ad.batches import Together
from ensemble_ad.detectors import CellsOf

if TYPE_CHECKING:
    from ensemble_ad.stages import Stages

COVERED = 63
"""Of 255: a cell is a negative where the edit changed a quarter of it."""


def edited_pictures(stages: "Stages", description: Mapping[str, Any]) -> Iterator[tuple[list[Tensor], CellsOf]]:
    """Yield members' features of edited training pictures, and which cells of a grid the edits changed, in batches.

    Sources are training pictures and the seed is the discriminator's; a study's proxy edits validation pictures.
    """
    from ensemble_ad.synthesis.kinds import LOGICAL, TYPES

    count, seed = description["discriminator"]["edits"], description["discriminator"]["seed"]
    if count == 0:
        return
    kinds = [kind for kind, type_ in TYPES.items() if type_ == LOGICAL]
    made = stages.synthetic(kinds, count, seed, "train")
    view = replace(stages, folder=replace(made, test=tuple(sample for sample in made.test if sample.kind != GOOD)))
    start = 0
    for members in Together([view.features(entry, "test") for entry in description["extractors"]]):
        stop = start + len(members[0])
        yield members, partial(changed_cells, view.folder.test[start:stop])
        start = stop


def changed_cells(samples: Sequence[Sample], grid: tuple[int, int]) -> Tensor:
    """Samples -> bool `[N, h, w]`: the cells of a grid (h, w) that their defects cover, to a quarter at least."""
    masks = []
    for sample in samples:
        union = np.zeros(sample.shape(), np.uint8)
        for defect in sample.defects():
            union[defect.mask] = 255
        masks.append(torch.from_numpy(to_size(union, grid) > COVERED))
    return torch.stack(masks)
