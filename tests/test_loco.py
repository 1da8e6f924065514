import os
import shutil
from pathlib import Path

import pytest
from loco_folder import CONFIG, build_class, noise, write_config, write_picture

from data_loco.errors import DataError
from data_loco.loco import open_class

DATA = Path(os.environ.get("ENSEMBLE_AD_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture
def root(tmp_path):
    return build_class(tmp_path / "connector")


def test_splits_kinds_and_masks_are_found(root):
    folder = open_class(root)
    assert folder.name == "connector"
    assert [sample.id for sample in folder.train] == ["000", "001", "002", "003", "004", "005"]
    assert {(sample.split, sample.kind) for sample in folder.validation} == {("validation", "good")}
    assert [(sample.kind, sample.id, len(sample.mask_paths)) for sample in folder.test] == [
        ("good", "000", 0),
        ("good", "001", 0),
        ("logical_anomalies", "000", 1),
        ("structural_anomalies", "000", 2),
    ]
    assert [kind.name for kind in folder.defect_kinds.values()] == ["missing_hole", "scratch"]
    assert folder.notes == ()


def test_every_mask_is_one_defect_with_its_saturation_area(root):
    defects = [defect for sample in open_class(root).test for defect in sample.defects()]
    found = [(defect.name, int(defect.mask.sum()), defect.saturation_area) for defect in defects]
    assert found == [("missing_hole", 20, 6), ("scratch", 9, 4), ("scratch", 4, 2)]


def test_nothing_is_read_until_asked_for(root):
    for path in root.rglob("*.png"):
        path.write_bytes(b"not read")
    assert len(open_class(root).test) == 4


def test_path_may_be_a_text(root):
    assert open_class(str(root)).train == open_class(root).train


def test_any_folder_name_under_test_is_a_kind(root):
    write_picture(root / "test" / "rust" / "a.JPG", noise(90))
    assert [sample.kind for sample in open_class(root).test][-2:] == ["rust", "structural_anomalies"]


def test_hidden_and_other_files_are_no_pictures(root):
    (root / "train" / "good" / "._000.png").write_bytes(b"x")
    (root / "train" / "good" / "Thumbs.db").write_bytes(b"x")
    assert len(open_class(root).train) == 6


def test_absent_validation_is_split_off_train_and_said_so(tmp_path):
    root = build_class(tmp_path / "connector", train=40, validation=0)
    folder = open_class(root)
    assert len(folder.validation) == 4
    assert len(folder.train) == 36
    assert not {sample.path for sample in folder.train} & {sample.path for sample in folder.validation}
    assert {sample.split for sample in folder.validation} == {"validation"}
    assert "4 of 40 training pictures" in folder.notes[0]


def test_split_off_pictures_depend_on_names_only(tmp_path):
    first = open_class(build_class(tmp_path / "a", train=30, validation=0))
    for number, path in enumerate(sorted((build_class(tmp_path / "b", 30, 0) / "train" / "good").iterdir())):
        write_picture(path, noise(1000 + number))
    second = open_class(tmp_path / "b")
    assert [sample.id for sample in first.validation] == [sample.id for sample in second.validation]


def test_at_least_one_picture_validates(tmp_path):
    folder = open_class(build_class(tmp_path / "connector", train=2, validation=0))
    assert (len(folder.train), len(folder.validation)) == (1, 1)


def test_one_training_picture_without_validation_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"one training picture and no validation/good"):
        open_class(build_class(tmp_path / "connector", train=1, validation=0))


def test_class_without_anomalies_needs_no_config(root):
    for name in ("test/logical_anomalies", "test/structural_anomalies", "ground_truth"):
        shutil.rmtree(root / name)
    (root / "defects_config.json").unlink()
    assert len(open_class(root).test) == 2
    shutil.rmtree(root / "test")
    assert open_class(root).notes == ("no test pictures: nothing can be evaluated",)


def test_missing_config_is_refused_where_there_are_anomalies(root):
    (root / "defects_config.json").unlink()
    with pytest.raises(DataError, match=r"defects_config.json: is missing"):
        open_class(root)


def test_parent_of_classes_is_refused_and_the_classes_are_named(tmp_path):
    for name in ("connector", "angle"):
        build_class(tmp_path / name)
    with pytest.raises(DataError, match=r"it holds the classes angle, connector; name one of them"):
        open_class(tmp_path)


@pytest.mark.parametrize("inner", ["train", "train/good", "test", "ground_truth"])
def test_folder_inside_a_class_is_refused_and_the_class_is_named(root, inner):
    with pytest.raises(DataError, match=f"name the class folder itself, .*{root.name}"):
        open_class(root / inner)


def test_misspelt_folder_gets_a_suggestion(root):
    with pytest.raises(DataError, match=r"no such folder; did you mean .*connector"):
        open_class(root.with_name("conector"))


def test_folders_that_are_no_class_are_told_apart(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty_train" / "train" / "good").mkdir(parents=True)
    write_picture(tmp_path / "flat" / "a.png", noise(0))
    write_picture(tmp_path / "loose" / "train" / "a.png", noise(0))
    write_picture(tmp_path / "ok" / "train" / "ok" / "a.png", noise(0))
    (tmp_path / "heic" / "train" / "good").mkdir(parents=True)
    (tmp_path / "heic" / "train" / "good" / "a.heic").write_bytes(b"x")
    expected = {
        "empty": "has no train/good (it is empty)",
        "empty_train": "train/good holds no picture",
        "flat": "1 pictures lie in",
        "loose": "1 pictures lie in",
        "ok": "found train/ok",
        "heic": "only a.heic",
        "flat/a.png": "is a file",
    }
    for name, said in expected.items():
        with pytest.raises(DataError) as caught:
            open_class(tmp_path / name)
        assert said in str(caught.value)


def test_fingerprint_follows_contents_and_not_the_place(root, tmp_path):
    first = open_class(root).fingerprint()
    shutil.copytree(root, tmp_path / "elsewhere" / "other_name")
    assert open_class(tmp_path / "elsewhere" / "other_name").fingerprint() == first
    (root / "train" / "good" / "notes.txt").write_text("not part of the class")
    assert open_class(root).fingerprint() == first


@pytest.mark.parametrize("change", ["picture", "mask", "name", "removed", "saturation"])
def test_fingerprint_notices_every_change(root, change):
    first = open_class(root).fingerprint()
    picture = root / "train" / "good" / "000.png"
    if change == "picture":
        write_picture(picture, noise(500))
    elif change == "mask":
        write_picture(root / "ground_truth" / "logical_anomalies" / "000" / "000.png", noise(1)[..., 0] // 255 * 255)
    elif change == "name":
        picture.rename(picture.with_name("100.png"))
    elif change == "removed":
        picture.unlink()
    else:
        write_config(root, [CONFIG[0] | {"saturation_threshold": 7}, CONFIG[1]])
    assert open_class(root).fingerprint() != first


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real pictures at {DATA}")
@pytest.mark.parametrize(
    ("name", "counts"),
    [("screw", (280, 40, 41, 0, 119)), ("screw_rack", (160, 30, 60, 80, 50)), ("screw_box", (160, 30, 60, 81, 50))],
)
def test_real_classes_have_the_published_counts(name, counts):
    folder = open_class(DATA / name)
    kinds = [sample.kind for sample in folder.test]
    tests = tuple(kinds.count(kind) for kind in ("good", "logical_anomalies", "structural_anomalies"))
    assert (len(folder.train), len(folder.validation), *tests) == counts
    defect = folder.test[-1].defects()[0]
    assert defect.mask.shape == (384, 384)
    assert defect.saturation_area == defect.mask.sum()
