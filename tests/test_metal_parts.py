import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_loco.metal_parts import METAL_PARTS, Counts, render_class, render_picture
from data_loco.metal_parts.geometry import pixels_per_mm
from data_loco.metal_parts.holes import change_holes, hole_defects
from data_loco.metal_parts.part import LOGICAL, STRUCTURAL
from data_loco.metal_parts.plate import Hole

SMALL = (160, 256)
FEW = Counts(train=2, validation=2, good=2, logical=2, structural=2)
EVERY_DEFECT = [(part.name, defect.name) for part in METAL_PARTS.values() for defect in part.defects]


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _distance_to(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Millimetres from every pixel to the mask."""
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5) / pixels_per_mm(size)


def test_the_three_classes_have_the_defects_of_the_data_set() -> None:
    holes = {LOGICAL: ("missing_hole", "additional_hole", "wrong_hole_size")}
    holes[STRUCTURAL] = ("damaged_edge", "cut_corner", "deep_scratch")
    composite = {
        LOGICAL: (
            "missing_screw",
            "additional_screw",
            "wrong_screw_length",
            "swapped_screws",
            "sheet_wrong_way_round",
        ),
        STRUCTURAL: ("bent_sheet", "scratched_sheet", "damaged_screw_head"),
    }
    expected = {"flat_connector": holes, "angle": holes, "composite_part": composite}
    assert {
        name: {type_: part.kinds(type_) for type_ in (LOGICAL, STRUCTURAL)} for name, part in METAL_PARTS.items()
    } == (expected)


@pytest.mark.parametrize("name", METAL_PARTS)
def test_same_seed_same_picture_and_another_seed_another(name: str) -> None:
    first, _ = render_picture(name, index=3, seed=5, size=SMALL)
    again, _ = render_picture(name, index=3, seed=5, size=SMALL)
    other, _ = render_picture(name, index=3, seed=6, size=SMALL)
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5


@pytest.mark.parametrize("name", METAL_PARTS)
def test_splits_share_no_picture(name: str) -> None:
    train, validation, test = (
        render_picture(name, split=split, size=SMALL)[0] for split in ("train", "validation", "test")
    )
    assert (train != test).mean() > 0.5
    assert (validation != test).mean() > 0.5


@pytest.mark.parametrize(("size"), [(160, 256), (161, 301), (256, 256), (400, 300), (320, 512)])
def test_pictures_have_the_size_that_was_asked_for(size: tuple[int, int]) -> None:
    for name in METAL_PARTS:
        picture, regions = render_picture(name, METAL_PARTS[name].defects[0].name, size=size)
        assert picture.shape == (*size, 3)
        assert picture.dtype == np.uint8
        assert [region.mask.shape for region in regions] == [size]
        assert [region.mask.dtype for region in regions] == [np.bool_]


@pytest.mark.parametrize("name", METAL_PARTS)
def test_the_part_is_bright_the_cloth_is_black_and_little_is_clipped(name: str) -> None:
    picture, regions = render_picture(name, size=(320, 512))
    brightness = picture.mean(axis=2)
    assert not regions
    assert 0.2 < (brightness > 60).mean() < 0.7
    assert np.median(brightness[brightness < 60]) < 30
    assert (picture == 255).mean() < 0.01
    border = np.concatenate([brightness[0], brightness[-1], brightness[:, 0], brightness[:, -1]])
    assert border.max() < 80  # the whole part is in the picture


@pytest.mark.parametrize(("name", "kind"), EVERY_DEFECT)
def test_a_mask_covers_what_the_defect_changed_and_little_else(name: str, kind: str) -> None:
    size = (320, 512)
    # A sheet that is turned turns its zinc crystals too, all over: only what is bare or covered counts there.
    threshold = 45 if kind == "sheet_wrong_way_round" else 6
    for index in range(2):
        picture, (region,) = render_picture(name, kind, index, size=size)
        intact, none = render_picture(name, kind, index, size=size, intact=True)
        changed = np.abs(picture.astype(int) - intact).max(axis=2) > threshold
        assert region.kind == kind
        assert not none
        assert _distance_to(region.mask, size)[changed].max() < 1.2
        assert changed[region.mask].mean() > (0.3 if threshold == 6 else 0.1)


@pytest.mark.parametrize(("name", "kind"), EVERY_DEFECT)
def test_a_defect_is_seen_at_a_quarter_of_the_size(name: str, kind: str) -> None:
    picture, intact = (
        cv2.resize(render_picture(name, kind, intact=without)[0], (256, 256), interpolation=cv2.INTER_AREA)
        for without in (False, True)
    )
    changed = np.abs(picture.astype(int) - intact).max(axis=2) > 12
    assert changed.sum() >= 9


@pytest.mark.parametrize(("name", "kind"), EVERY_DEFECT)
def test_no_region_is_smaller_than_the_area_at_which_it_saturates(name: str, kind: str) -> None:
    defect = next(defect for defect in METAL_PARTS[name].defects if defect.name == kind)
    for index in range(6):
        _, (region,) = render_picture(name, kind, index, size=SMALL)
        threshold = defect.saturation(SMALL)
        assert region.mask.sum() >= (threshold if defect.area else 25)


def test_saturation_of_holes_is_their_area() -> None:
    missing, additional, resized = (
        defect.saturation((640, 1024)) for defect in METAL_PARTS["flat_connector"].defects[:3]
    )
    radius = 2.6 * 1024 / 114  # the camera sees 114 mm
    assert missing == pytest.approx(math.pi * radius**2, abs=0.5)
    assert additional == 1.0
    assert resized == pytest.approx(math.pi * (radius**2 - (0.8 * radius) ** 2), abs=0.5)


def test_saturation_grows_with_the_square_of_the_picture() -> None:
    for part in METAL_PARTS.values():
        for defect in part.defects:
            small, large = defect.saturation((320, 512)), defect.saturation((640, 1024))
            assert large == (pytest.approx(4 * small, abs=3) if defect.area else 1.0)


def test_saturation_of_a_missing_screw_and_of_a_wrong_length() -> None:
    areas = {defect.name: defect.area for defect in METAL_PARTS["composite_part"].defects}
    assert areas["missing_screw"] == pytest.approx(math.pi * 5.0**2)
    assert areas["wrong_screw_length"] == pytest.approx(5.0 * 3.2)


def test_the_mask_of_a_missing_hole_has_its_area_with_the_rim() -> None:
    size = (640, 1024)
    _, (region,) = render_picture("flat_connector", "missing_hole", size=size)
    radius = (2.6 + 0.5) * pixels_per_mm(size)
    assert region.mask.sum() == pytest.approx(math.pi * radius**2, rel=0.06)


def test_a_foreshortened_hole_saturates_earlier() -> None:
    assert hole_defects(2.0, 0.5)[0].area == pytest.approx(math.pi * 4 * 0.5)


@pytest.mark.parametrize("seed", range(20))
def test_holes_change_as_their_defect_says(seed: int) -> None:
    holes = [Hole(10.0 * index, 0.0, 2.0) for index in range(4)]
    spare = [(5.0, 5.0)]
    rest, gone = change_holes(holes, spare, "missing_hole", np.random.default_rng(seed))
    assert gone in holes
    assert set(rest) == set(holes) - {gone}
    more, extra = change_holes(holes, spare, "additional_hole", np.random.default_rng(seed))
    assert set(more) == {*holes, extra}
    assert math.hypot(extra.u - 5, extra.v - 5) < 1
    resized, largest = change_holes(holes, spare, "wrong_hole_size", np.random.default_rng(seed))
    (wrong,) = set(resized) - set(holes)
    (right,) = set(holes) - set(resized)
    assert (wrong.u, wrong.v) == (right.u, right.v)
    assert 0.2 <= abs(wrong.radius / right.radius - 1) <= 0.35
    assert largest.radius == max(wrong.radius, right.radius)


def test_both_views_of_an_angle_show_one_part_with_one_defect() -> None:
    (first, (left,)), (second, (right,)) = (
        render_picture("angle", "missing_hole", index, size=SMALL) for index in (0, 1)
    )
    assert (first != second).mean() > 0.5
    heights = [np.flatnonzero(region.mask.any(axis=1)).mean() for region in (left, right)]
    assert abs(heights[0] - heights[1]) < 0.08 * SMALL[0]  # the same row of holes, seen from both sides


def test_normal_composite_parts_vary() -> None:
    colours = []
    for index in range(12):
        picture, _ = render_picture("composite_part", index=index, size=SMALL)
        metal = picture[picture.mean(axis=2) > 60].astype(int)
        colours.append((metal[:, 0] - metal[:, 2] > 25).mean())
    assert max(colours) - min(colours) > 0.05


@pytest.mark.parametrize("name", METAL_PARTS)
def test_a_class_on_disk_has_the_layout_the_counts_and_the_pixel_values(name: str, tmp_path: Path) -> None:
    counts = Counts(train=4, validation=2, good=2, logical=10, structural=6)
    steps: list[tuple[int, int]] = []
    folder = render_class(name, tmp_path, counts=counts, size=SMALL, progress=lambda *step: steps.append(step))
    assert folder == tmp_path / name
    assert list(tmp_path.iterdir()) == [folder]
    assert steps == [(done, 24) for done in range(1, 25)]
    found = {
        str(path.parent.relative_to(folder)): len(list(path.parent.iterdir())) for path in folder.glob("*/*/*.png")
    }
    assert found == {
        "train/good": 4,
        "validation/good": 2,
        "test/good": 2,
        f"test/{LOGICAL}": 10,
        f"test/{STRUCTURAL}": 6,
    }
    config = json.loads((folder / "defects_config.json").read_text())
    values = {entry["pixel_value"]: entry["defect_name"] for entry in config}
    assert sorted(values, reverse=True) == list(range(255, 255 - len(config), -1))
    for entry in config:
        assert isinstance(entry["saturation_threshold"], float if entry["relative_saturation"] else int)
    for type_ in (LOGICAL, STRUCTURAL):
        seen = set()
        for picture in (folder / "test" / type_).iterdir():
            for path in (folder / "ground_truth" / type_ / picture.stem).iterdir():
                mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
                assert mask.shape == SMALL
                (value,) = set(np.unique(mask).tolist()) - {0}
                seen.add(values[value])
        assert seen == set(METAL_PARTS[name].kinds(type_)[: (5 if type_ == LOGICAL else 3)])


def test_pictures_on_disk_are_those_of_render_picture(tmp_path: Path) -> None:
    folder = render_class("flat_connector", tmp_path, counts=FEW, size=SMALL, seed=9)
    stored = cv2.imread(str(folder / "test" / LOGICAL / "001.png"))[..., ::-1]
    picture, _ = render_picture("flat_connector", "additional_hole", 1, seed=9, size=SMALL)
    np.testing.assert_array_equal(stored, picture)


def test_views_of_an_angle_are_named_after_their_part(tmp_path: Path) -> None:
    folder = render_class("angle", tmp_path, counts=Counts(4, 0, 0, 2, 0), size=SMALL)
    assert sorted(path.name for path in (folder / "train/good").iterdir()) == [
        "000_a.png",
        "000_b.png",
        "001_a.png",
        "001_b.png",
    ]
    assert sorted(path.name for path in (folder / "ground_truth" / LOGICAL).iterdir()) == ["000_a", "000_b"]


def test_bytes_depend_neither_on_workers_nor_on_other_counts(tmp_path: Path) -> None:
    one = render_class("composite_part", tmp_path / "one", counts=FEW, size=SMALL, workers=1)
    many = render_class("composite_part", tmp_path / "many", counts=FEW, size=SMALL, workers=4)
    more = render_class("composite_part", tmp_path / "more", counts=Counts(3, 3, 3, 3, 3), size=SMALL)
    assert _bytes(one) == _bytes(many)
    assert _bytes(one).items() <= _bytes(more).items()


def test_a_folder_with_other_content_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "angle").mkdir()
    (tmp_path / "angle" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is not empty"):
        render_class("angle", tmp_path, counts=FEW, size=SMALL)
    assert list(tmp_path.rglob("*.*")) == [tmp_path / "angle" / "notes.txt"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "angle").mkdir()
    assert (render_class("angle", tmp_path, counts=FEW, size=SMALL) / "train/good/000_b.png").exists()


def test_nothing_is_left_behind_when_rendering_is_broken_off(tmp_path: Path) -> None:
    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_class("flat_connector", tmp_path, counts=FEW, size=SMALL, progress=stop)
    assert not list(tmp_path.iterdir())


def test_errors_name_what_was_wrong(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown class 'bolt'; known are flat_connector, angle, composite_part"):
        render_picture("bolt")
    with pytest.raises(ValueError, match="angle has no defect 'missing_screw'; it has missing_hole"):
        render_picture("angle", "missing_screw")
    with pytest.raises(ValueError, match=r"at least \(160, 256\), got \(100, 256\)"):
        render_picture("angle", size=(100, 256))
    with pytest.raises(ValueError, match="expected counts of at least 0, got good=-1"):
        Counts(good=-1)
    with pytest.raises(ValueError, match="2 views: expected a multiple, got train=3"):
        render_class("angle", tmp_path / "out", counts=Counts(train=3))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", METAL_PARTS)
def test_strips_change_no_pixel(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    defect = METAL_PARTS[name].defects[-1].name
    usual, _ = render_picture(name, defect, size=(161, 301))
    for pixels in (1, 10**9):
        monkeypatch.setattr("data_loco.metal_parts.strips.PIXELS", pixels)
        np.testing.assert_array_equal(render_picture(name, defect, size=(161, 301))[0], usual)
