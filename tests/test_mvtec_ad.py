import numpy as np
import pytest
from loco_folder import noise, rectangle, write_picture

from data_loco.check import check_class
from data_loco.errors import DataError
from data_loco.loco import open_class


@pytest.fixture
def root(tmp_path):
    """Two defect types, no config, no validation: bent has two components that touch at a corner and one apart."""
    folder = tmp_path / "metal_nut"
    for number in range(20):
        write_picture(folder / "train" / "good" / f"{number:03d}.png", noise(number))
    for seed, kind in enumerate(["good", "bent", "scratch"]):
        write_picture(folder / "test" / kind / "000.png", noise(100 + seed))
    bent = rectangle(255, 0, 0, 2, 2) + rectangle(255, 2, 2, 2, 2) + rectangle(255, 8, 10, 3, 4)
    write_picture(folder / "ground_truth" / "bent" / "000_mask.png", bent)
    write_picture(folder / "ground_truth" / "scratch" / "000_mask.png", rectangle(255, 5, 5, 1, 6))
    return folder


def test_types_become_kinds_and_masks_are_found(root):
    folder = open_class(root)
    assert [(sample.kind, len(sample.mask_paths)) for sample in folder.test] == [
        ("good", 0),
        ("bent", 1),
        ("scratch", 1),
    ]
    assert {kind.name: kind.pixel_value for kind in folder.defect_kinds.values()} == {"bent": 255, "scratch": 254}
    assert len(folder.validation) == 2
    assert len(folder.notes) == 2


def test_each_eight_connected_component_is_one_region_that_saturates_at_its_area(root):
    bent = open_class(root).test[1].defects()
    assert [int(defect.mask.sum()) for defect in bent] == [8, 12]
    assert [defect.saturation_area for defect in bent] == [8, 12]
    assert {defect.name for defect in bent} == {"bent"}
    assert not (bent[0].mask & bent[1].mask).any()


def test_any_value_above_zero_is_defect(root):
    path = root / "ground_truth" / "scratch" / "000_mask.png"
    write_picture(path, rectangle(1, 0, 0, 2, 2) + rectangle(200, 0, 2, 2, 2))
    (defect,) = open_class(root).test[2].defects()
    assert defect.mask.sum() == 8


def test_empty_mask_is_refused(root):
    write_picture(root / "ground_truth" / "scratch" / "000_mask.png", np.zeros((12, 20), np.uint8))
    with pytest.raises(DataError, match="the mask is empty"):
        open_class(root).test[2].defects()


def test_check_passes_and_counts_components(root):
    report = check_class(root)
    assert report.errors == ()
    assert [(count.name, count.pictures, count.regions) for count in report.defects] == [
        ("bent", 1, 2),
        ("scratch", 1, 1),
    ]


def test_check_finds_missing_and_orphan_masks(root):
    mask = root / "ground_truth" / "scratch" / "000_mask.png"
    mask.rename(mask.with_name("007_mask.png"))
    reasons = [finding.reason for finding in check_class(root).errors]
    assert len(reasons) == 2
    assert "orphan mask: no picture '007' in test/scratch" in reasons[0]
    assert "has no mask" in reasons[1]
