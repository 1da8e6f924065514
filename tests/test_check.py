import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from loco_folder import CONFIG, build_class, noise, rectangle, truncate, write_config, write_picture

from data_loco.check import check_class
from data_loco.findings import DefectCount, SplitCount

DATA = Path(os.environ.get("ENSEMBLE_AD_DATA", Path(__file__).parents[2] / "shared" / "data"))
LOGICAL = "ground_truth/logical_anomalies/000/000.png"


@pytest.fixture
def root(tmp_path):
    return build_class(tmp_path / "connector")


def only_finding(root, level="error", **options):
    findings = check_class(root, **options).findings
    assert [finding.level for finding in findings] == [level], findings
    assert findings[0].cure
    return findings[0]


def test_sound_class_has_no_findings_and_is_counted(root):
    report = check_class(root)
    assert report.findings == ()
    assert report.splits == (
        SplitCount("train", "good", 6),
        SplitCount("validation", "good", 2),
        SplitCount("test", "good", 2),
        SplitCount("test", "logical_anomalies", 1),
        SplitCount("test", "structural_anomalies", 1),
    )
    assert report.defects == (
        DefectCount("logical_anomalies", "missing_hole", 255, 1, 1, 6, 6),
        DefectCount("structural_anomalies", "scratch", 254, 1, 2, 2, 4),
    )


def test_quick_check_of_a_sound_class_says_the_same(root):
    assert check_class(root, quick=True) == check_class(root)


def test_folder_that_is_no_class_is_one_finding(tmp_path):
    build_class(tmp_path / "connector")
    assert "it holds the classes connector" in only_finding(tmp_path).reason
    assert "no such folder" in only_finding(tmp_path / "absent").reason


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (None, "has no mask"),
        (rectangle(255, 0, 0, 2, 2, (20, 12)), "picture's size"),
        (rectangle(9, 0, 0, 2, 2), "value 9 is not in defects_config.json"),
        (rectangle(255, 0, 0, 2, 2) + rectangle(254, 5, 5, 2, 2), "got 254, 255"),
        (np.zeros((12, 20), np.uint8), "the mask is empty"),
        (noise(5), "coloured"),
    ],
)
def test_faulty_mask_is_found(root, mask, said, quick):
    path = root / LOGICAL
    if mask is None:
        path.unlink()
        path = root / "test" / "logical_anomalies" / "000.png"
    else:
        write_picture(path, mask)
    finding = only_finding(root, quick=quick)
    assert said in finding.reason
    assert finding.path == path


def test_mask_of_another_size_and_value_is_two_findings(root):
    write_picture(root / LOGICAL, rectangle(9, 0, 0, 2, 2, (20, 12)))
    assert {finding.path for finding in check_class(root).errors} == {root / LOGICAL}
    assert len(check_class(root).errors) == 2


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize(
    "name", ["train/good/003.png", "validation/good/001.png", "test/structural_anomalies/000.png", LOGICAL]
)
def test_truncated_picture_or_mask_is_found(root, name, quick):
    truncate(root / name)
    finding = only_finding(root, quick=quick)
    assert finding.path == root / name
    assert "truncated" in finding.reason


@pytest.mark.parametrize("quick", [True, False])
def test_unreadable_picture_is_found(root, quick):
    (root / "train" / "good" / "002.png").write_bytes(b"hello")
    assert "cannot be decoded" in only_finding(root, quick=quick).reason


def test_orphan_masks_are_found(root):
    write_picture(root / "ground_truth" / "logical_anomalies" / "007" / "000.png", rectangle(255, 0, 0, 2, 2))
    assert "no picture '007' in test/logical_anomalies" in only_finding(root).reason


def test_mask_of_a_good_picture_is_found(root):
    write_picture(root / "ground_truth" / "good" / "000" / "000.png", rectangle(255, 0, 0, 2, 2))
    assert "its picture is a good one" in only_finding(root).reason


def test_mask_beside_the_folders_is_found(root):
    write_picture(root / "ground_truth" / "logical_anomalies" / "000_mask.png", rectangle(255, 0, 0, 2, 2))
    finding = only_finding(root)
    assert "masks lie in a folder per picture" in finding.reason
    assert finding.cure.endswith(str(Path("logical_anomalies", "000", "000.png")))


def test_faulty_config_is_one_finding_and_the_rest_is_still_checked(root):
    write_config(root, [CONFIG[0] | {"pixel_value": 300}])
    truncate(root / "train" / "good" / "000.png")
    write_picture(root / LOGICAL, rectangle(255, 0, 0, 2, 2, (20, 12)))
    reasons = [finding.reason for finding in check_class(root).errors]
    assert len(reasons) == 3
    assert "pixel_value" in reasons[0]
    assert "truncated" in reasons[1]
    assert "size" in reasons[2]


def test_test_picture_that_was_trained_on_is_an_error(root):
    shutil.copy(root / "train" / "good" / "004.png", root / "test" / "good" / "009.png")
    finding = only_finding(root)
    assert finding.path == root / "test" / "good" / "009.png"
    assert "004.png, across splits" in finding.reason


def test_test_picture_that_calibrates_is_an_error(root):
    shutil.copy(root / "validation" / "good" / "000.png", root / "test" / "good" / "009.png")
    assert "across splits" in only_finding(root).reason


@pytest.mark.parametrize("split", ["train", "validation"])
def test_copy_among_normal_pictures_is_a_warning(root, split):
    shutil.copy(root / "train" / "good" / "004.png", root / split / "good" / "009.png")
    assert "the same picture as" in only_finding(root, "warning").reason


def test_picture_that_is_good_and_anomalous_is_an_error(root):
    shutil.copy(root / "test" / "logical_anomalies" / "000.png", root / "test" / "good" / "009.png")
    assert "under another kind" in only_finding(root).reason


def test_black_training_picture_is_a_warning(root):
    write_picture(root / "train" / "good" / "000.png", np.zeros((12, 20, 3), np.uint8))
    assert "same value" in only_finding(root, "warning").reason
    assert check_class(root, quick=True).findings == ()


@pytest.mark.parametrize("quick", [True, False])
def test_all_black_validation_set_is_an_error(root, quick):
    for number, value in enumerate((0, 1)):
        write_picture(root / "validation" / "good" / f"{number:03d}.png", np.full((12, 20, 3), value, np.uint8))
    report = check_class(root, quick=quick)
    assert len(report.warnings) == 2
    assert "every validation picture is of one colour" in report.errors[0].reason


def test_absent_validation_is_a_warning(root):
    shutil.rmtree(root / "validation")
    report = check_class(root)
    assert "no validation pictures; 1 training pictures" in only_finding(root, "warning").reason
    assert report.splits[:2] == (SplitCount("train", "good", 5), SplitCount("validation", "good", 1))
    assert report.notes


def test_too_few_training_pictures_are_an_error(tmp_path):
    assert "at least 2 training pictures, got 1" in only_finding(build_class(tmp_path / "a", train=1)).reason
    assert "one training picture" in only_finding(build_class(tmp_path / "b", train=1, validation=0)).reason


def test_empty_splits_are_found(root):
    (root / "test" / "rust").mkdir()
    assert only_finding(root, "warning").path == root / "test" / "rust"
    shutil.rmtree(root / "test")
    shutil.rmtree(root / "ground_truth")
    reasons = [finding.reason for finding in check_class(root).errors]
    assert reasons == ["no normal test pictures", "no anomalous test pictures"]


def test_two_pictures_of_one_name_are_an_error(root):
    write_picture(root / "train" / "good" / "000.bmp", noise(77))
    assert "2 pictures are called '000'" in only_finding(root).reason


@pytest.mark.parametrize("name", ["train/good/a.heic", "ground_truth/logical_anomalies/000/a.xcf", "test/good/a.txt"])
def test_file_that_is_no_picture_is_a_warning(root, name):
    (root / name).write_bytes(b"x")
    finding = only_finding(root, "warning")
    assert finding.path == root / name
    assert "is ignored" in finding.reason


def test_folder_beside_good_is_a_warning(root):
    write_picture(root / "train" / "bad" / "000.png", noise(78))
    assert only_finding(root, "warning").path == root / "train" / "bad"


def test_broken_link_is_a_warning(root):
    (root / "train" / "good" / "link.png").symlink_to(root / "nowhere.png")
    assert only_finding(root, "warning").path.name == "link.png"


def test_many_faults_are_all_found_in_one_go(root):
    truncate(root / "train" / "good" / "000.png")
    (root / "train" / "good" / "001.png").write_bytes(b"")
    write_picture(root / LOGICAL, np.zeros((12, 20), np.uint8))
    write_picture(root / "ground_truth" / "structural_anomalies" / "000" / "001.png", rectangle(1, 0, 0, 2, 2))
    shutil.rmtree(root / "test" / "good")
    assert len(check_class(root).errors) == 5


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real pictures at {DATA}")
@pytest.mark.parametrize("name", ["screw", "screw_rack", "screw_box"])
def test_real_classes_pass_in_seconds(name):
    start = time.monotonic()
    assert check_class(DATA / name).findings == ()
    assert time.monotonic() - start < 30
