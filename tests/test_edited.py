"""Edited training pictures as negatives: from training pictures alone, the cells that changed, once."""

from pathlib import Path

import numpy as np
import pytest
import torch
from parts_class import build_parts_class
from small_run import FUSED, small_experiment

from data_loco import GOOD, open_class
from data_loco.sample import Defect, Sample
from ensemble_ad.coverage import covered
from ensemble_ad.detectors import FeatureEnsemble
from ensemble_ad.discriminator import Discriminator
from ensemble_ad.edited import COVERED
from ensemble_ad.stages import Stages
from ensemble_ad.store import Store

LOGICAL = ["missing", "additional", "moved", "swapped", "exchanged", "mirrored", "scaled"]


def sources(folder: Path) -> set[bytes]:
    return {path.read_bytes() for path in (folder / "test" / GOOD).iterdir()}


def test_edits_come_from_training_pictures_and_never_from_those_that_judge_a_study(tmp_path: Path) -> None:
    root = build_parts_class(tmp_path / "parts", train=8)
    experiment = small_experiment({**FUSED, "discriminator": {"hidden": 8, "epochs": 2, "edits": 3}})
    stages = Stages(open_class(root), experiment.size, Store(tmp_path / "store"))
    taught = stages.prediction(experiment.detector, "validation")
    plain = stages.prediction(small_experiment().detector, "validation")
    assert not torch.equal(taught.maps, plain.maps)

    made = list((tmp_path / "store" / "synthetic").glob("*/pictures"))
    assert len(made) == 1
    edited = sources(made[0])
    assert edited <= {path.read_bytes() for path in (root / "train" / "good").iterdir()}
    judge = stages.synthetic(LOGICAL, 3, 1000).test[0].path.parents[2]
    assert judge != made[0]
    assert not edited & sources(judge)


class Drawn(Sample):
    """A sample whose defect is a mask in memory."""

    def __init__(self, mask: np.ndarray) -> None:
        object.__setattr__(self, "drawn", mask)

    def shape(self) -> tuple[int, int]:
        return self.drawn.shape

    def defects(self) -> list[Defect]:
        return [Defect("drawn", 255, self.drawn, 1)]


def test_a_cell_has_changed_where_a_quarter_of_it_is_covered() -> None:
    mask = np.zeros((8, 8), bool)
    mask[0:2, 0:2] = True  # all of a cell
    mask[0:1, 2:4] = True  # half
    mask[4, 4] = True  # a quarter
    many = mask.copy()
    many[6, 0:8:4] = True
    cells = covered([Drawn(mask), Drawn(many)], (4, 4), COVERED)
    assert cells[0].nonzero().tolist() == [[0, 0], [0, 1], [2, 2]]
    assert cells[1].sum() == 5


def test_tensors_alone_cannot_be_edited() -> None:
    with pytest.raises(ValueError, match="edited pictures are made from files"):
        FeatureEnsemble([], discriminator=Discriminator(edits=1)).fit([torch.zeros(1, 3, 8, 8)], [])
