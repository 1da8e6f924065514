"""MVTec LOCO AD: the counts on disk, and a stand-in that goes the way the data set will go."""

import json
import shutil
from pathlib import Path

import pytest
from loco_folder import LOCO_SIZES, build_class, build_loco
from small_run import PATCHCORE, call, write_experiment

from data_loco import check_class, open_class
from data_loco.loco import class_folders
from data_loco.mvtec_loco import COUNTS, FOLDER, absent_classes, other_counts

TOTALS = {
    "train/good": 1778,
    "validation/good": 305,
    "test/good": 575,
    "test/logical_anomalies": 561,
    "test/structural_anomalies": 432,
}


@pytest.fixture(scope="module")
def loco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_loco(tmp_path_factory.mktemp("data"))


def class_of_names(root: Path, counts: dict[str, int]) -> Path:
    """A class folder whose pictures are empty files: other_counts asks for names only."""
    for split, count in counts.items():
        (root / split).mkdir(parents=True)
        for number in range(count):
            (root / split / f"{number:03d}.png").touch()
    return root


def test_the_counts_add_up_to_the_distributed_totals() -> None:
    assert {split: sum(counts[split] for counts in COUNTS.values()) for split in TOTALS} == TOTALS
    assert sum(TOTALS.values()) == 3651


def test_a_class_with_all_its_pictures_is_not_remarked_on(tmp_path: Path) -> None:
    root = class_of_names(tmp_path / FOLDER / "splicing_connectors", dict(COUNTS["splicing_connectors"]))
    assert list(other_counts(root)) == []


def test_a_missing_picture_names_the_split_and_both_counts(tmp_path: Path) -> None:
    root = class_of_names(tmp_path / FOLDER / "splicing_connectors", dict(COUNTS["splicing_connectors"]))
    (root / "validation" / "good" / "059.png").unlink()
    (warning,) = other_counts(root)
    assert warning.level == "warning"
    assert warning.path == root
    assert warning.reason.endswith(": validation/good 59 instead of 60")
    assert "docs/loco.md" in warning.cure


def test_an_own_class_of_the_same_name_is_not_remarked_on(tmp_path: Path) -> None:
    assert check_class(build_class(tmp_path / "pushpins")).findings == ()
    build_class(tmp_path / "screws")
    assert check_class(tmp_path / "pushpins").findings == ()


def test_two_classes_of_the_data_set_make_the_data_set_whatever_the_folder_is_called(tmp_path: Path) -> None:
    build_class(tmp_path / "pushpins")
    build_class(tmp_path / "screw_bag")
    (warning,) = check_class(tmp_path / "pushpins").findings
    assert "train/good 6 instead of 372" in warning.reason
    assert "test/structural_anomalies 1 instead of 81" in warning.reason


def test_an_own_class_beside_the_data_sets_is_not_remarked_on(loco: Path, tmp_path: Path) -> None:
    data = tmp_path / FOLDER
    shutil.copytree(loco, data)
    assert check_class(build_class(data / "angle")).findings == ()


def test_absent_classes_are_named(loco: Path, tmp_path: Path) -> None:
    assert list(absent_classes(loco)) == []
    (warning,) = absent_classes(build_class(tmp_path / FOLDER / "pushpins").parent)
    assert warning.reason.endswith("not here: breakfast_box, juice_bottle, screw_bag, splicing_connectors")
    assert list(absent_classes(build_class(tmp_path / "own" / "pushpins").parent)) == []


def test_the_stand_in_has_the_data_sets_tree_and_only_its_counts_are_remarked_on(loco: Path) -> None:
    assert [folder.name for folder in class_folders(loco)] == sorted(COUNTS) == sorted(LOCO_SIZES)
    for root in class_folders(loco):
        (warning,) = check_class(root).findings
        assert "test/logical_anomalies 2 instead of" in warning.reason
        folder = open_class(root)
        regions = {sample.id: sample.defects() for sample in folder.test if sample.kind == "logical_anomalies"}
        assert [defect.name for defect in regions["000"]] == ["missing_part", "additional_part"]
        assert regions["001"][0].mask.all()
        (stains,) = next(sample for sample in folder.test if sample.kind == "structural_anomalies").defects()
        assert stains.saturation_area == stains.mask.sum()


def test_data_check_of_the_parent_has_a_section_for_each_class(loco: Path) -> None:
    said = call("data", "check", loco)
    assert said.code == 0
    sections = [said.out.index(f"\n{name}\n") for name in sorted(COUNTS)]
    assert sections == sorted(sections)
    assert "breakfast_box: pictures" in said.out
    total = "train/good 30, validation/good 10, test/good 10, test/logical_anomalies 10, test/structural_anomalies 5"
    assert f"5 classes: {total}; no errors, 5 warnings" in said.out


def test_data_check_of_the_parent_goes_on_after_a_faulty_class(loco: Path, tmp_path: Path) -> None:
    data = tmp_path / FOLDER
    shutil.copytree(loco, data)
    shutil.rmtree(data / "juice_bottle")
    (data / "pushpins" / "defects_config.json").unlink()
    said = call("data", "check", data, "--quick")
    assert said.code == 1
    assert "screw_bag: pictures" in said.out
    assert "not here: juice_bottle" in said.out
    assert "4 classes:" in said.out
    assert "1 errors" in said.out.splitlines()[-1]


def test_a_class_of_another_shape_than_the_networks_runs_through(loco: Path, tmp_path: Path) -> None:
    file = write_experiment(tmp_path / "e.yaml", {"name": "standalone", "method": PATCHCORE}, size=[64, 96])
    out = tmp_path / "run"
    said = call("run", file, "--data", loco / "juice_bottle", "--cache", tmp_path / "cache", "--out", out)
    assert said.code == 0, said.err
    (note,) = json.loads((out / "result.json").read_text())["notes"]
    assert "train/good 6 instead of 335" in note
