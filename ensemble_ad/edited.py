"""Negatives that are no noise: cells of training pictures with a component removed, doubled, swapped and so on."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor

from data_loco import GOOD
from ensemble_ad.batches import Together
from ensemble_ad.coverage import covered
from ensemble_ad.detectors import CellsOf

if TYPE_CHECKING:
    from ensemble_ad.stages import Stages

COVERED = 0.25
"""Share of a cell that an edit must have changed for the cell to be a negative."""


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
        yield members, partial(covered, view.folder.test[start:stop], share=COVERED)
        start = stop
