"""Synthetic anomalies on disk: the layout, exact masks, the same bytes for the same seed, and what bad input gets."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from loco_folder import build_class, write_picture
from parts_class import build_parts_class
from small_run import call

from data_loco import ClassFolder, check_class, open_class
from ensemble_ad.errors import ConfigError
from ensemble_ad.synthesis import complete_class, open_synthetic, synthesise, write_contact_sheet
from ensemble_ad.synthesis.edit import Edit, blend, change
from ensemble_ad.synthesis.kinds import DEFECT_KINDS, KINDS, TYPES, chosen_kinds, turn
from ensemble_ad.synthesis.structural import Arc, CutPaste, Dots, PerlinTexture, Scar, jittered, largest_pieces
from extractors.textures import OfflineTextures

STRUCTURAL = [kind for kind in KINDS if TYPES[kind] == "structural_anomalies"]
PICTURE = np.random.default_rng(0).integers(0, 256, (224, 240, 3)).astype(np.uint8)
EDITORS = {
    "perlin": PerlinTexture(OfflineTextures(PICTURE[None])),
    "cutpaste": CutPaste(),
    "scar": Scar(),
    "dots": Dots(),
    "arc": Arc(),
}


@pytest.fixture
def folder(tmp_path: Path) -> ClassFolder:
    return open_class(build_parts_class(tmp_path / "parts"))


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("kind", STRUCTURAL)
def test_nothing_changes_outside_the_mask_and_the_input_is_left_alone(kind: str) -> None:
    before = PICTURE.copy()
    for seed in range(10):
        edit = EDITORS[kind](PICTURE, np.random.default_rng(seed))
        assert np.array_equal(PICTURE, before)
        if edit is not None:
            changed = (edit.image != PICTURE).any(axis=2)
            assert edit.mask.any()
            assert not (changed & ~edit.mask).any()
            assert changed[edit.mask].mean() > 0.8


@pytest.mark.parametrize("kind", STRUCTURAL)
def test_the_same_generator_gives_the_same_edit(kind: str) -> None:
    one, other = (EDITORS[kind](PICTURE, np.random.default_rng(4)) for _ in range(2))
    assert one is not None
    assert other is not None
    assert np.array_equal(one.image, other.image)
    assert np.array_equal(one.mask, other.mask)


def test_areas_stay_in_their_published_ranges() -> None:
    for seed in range(30):
        rng, size = np.random.default_rng(seed), PICTURE[..., 0].size
        pasted, scar, dots = (EDITORS[kind](PICTURE, rng) for kind in ("cutpaste", "scar", "dots"))
        assert pasted is not None
        assert scar is not None
        assert dots is not None
        assert 0.018 * size <= pasted.mask.sum() <= 0.155 * size
        assert scar.mask.sum() <= 14 * 52
        assert dots.mask.sum() <= 3 * np.pi * 10**2


def test_the_least_changed_part_of_a_mask_decides() -> None:
    before, after = np.zeros((4, 9, 3), np.uint8), np.zeros((4, 9, 3), np.uint8)
    after[:, :3], after[:, 6:] = 100, 6
    mask = np.zeros((4, 9), bool)
    mask[:, :3] = mask[:, 6:] = True
    assert change(before, Edit(after, mask)) == 6
    assert change(before, Edit(np.full_like(before, 7), np.ones((4, 9), bool))) == 7


def test_a_weight_of_nothing_is_no_edit() -> None:
    assert blend(PICTURE, PICTURE, np.zeros(PICTURE.shape[:2])) is None


def test_jitter_of_strength_zero_changes_nothing_grey() -> None:
    grey = np.repeat(PICTURE[..., :1], 3, axis=2)
    assert np.array_equal(jittered(grey, 0.0, np.random.default_rng(0)), grey)


def test_the_largest_pieces_are_kept() -> None:
    mask = np.zeros((5, 9), bool)
    mask[:, 0], mask[:2, 4], mask[:3, 8] = True, True, True
    assert largest_pieces(mask, 2).sum(axis=0).tolist() == [5, 0, 0, 0, 0, 0, 0, 0, 3]


@pytest.mark.parametrize(("kind", "area", "wanted"), [("missing", 80, 80), ("swapped", 81, 81), ("moved", 81, 40)])
def test_saturation_areas_by_hand(kind: str, area: int, wanted: int) -> None:
    assert DEFECT_KINDS[kind].saturation_area(area) == wanted


def test_types_and_kinds_take_turns() -> None:
    order = [turn(KINDS, number) for number in range(24)]
    assert [TYPES[kind] == "logical_anomalies" for kind in order] == [True, False] * 12
    assert set(order) == set(KINDS)
    assert [turn(["dots", "arc"], number) for number in range(3)] == ["dots", "arc", "dots"]


def test_the_result_is_a_loco_folder_with_the_class_s_own_train_and_validation(
    folder: ClassFolder, tmp_path: Path
) -> None:
    made = synthesise(folder, tmp_path / "made", kinds=STRUCTURAL, count=6, seed=1)
    assert (made.train, made.validation) == (folder.train, folder.validation)
    assert {sample.kind for sample in made.test} == {"good", "structural_anomalies"}
    normal = {sample.path.read_bytes() for sample in folder.validation}
    assert all(sample.path.read_bytes() in normal for sample in made.test if sample.kind == "good")
    record = yaml.safe_load((tmp_path / "made" / "synthesis.yaml").read_text())["pictures"]
    for sample in made.test:
        for defect in sample.defects():
            entry = record[f"{sample.kind}/{sample.id}"]
            source = next(other for other in folder.validation if other.id == entry["source"])
            changed = (sample.image() != source.image()).any(axis=2)
            assert defect.name == entry["kind"]
            assert not (changed & ~defect.mask).any()
    assert len(made.fingerprint()) == 16
    assert open_synthetic(folder, tmp_path / "made").fingerprint() == made.fingerprint()


def test_a_seed_fixes_every_byte_and_another_one_changes_them(folder: ClassFolder, tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        synthesise(folder, tmp_path / name, kinds=["perlin", "cutpaste"], count=4, seed=seed)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a") != contents(tmp_path / "c")


def test_a_smaller_count_is_the_beginning_of_a_larger_one(folder: ClassFolder, tmp_path: Path) -> None:
    few = synthesise(folder, tmp_path / "few", kinds=["cutpaste"], count=2)
    many = synthesise(folder, tmp_path / "many", kinds=["cutpaste"], count=4)
    firsts = [[s.path.read_bytes() for s in made.test if s.mask_paths][:2] for made in (few, many)]
    assert firsts[0] == firsts[1]


@pytest.mark.parametrize("source", ["validation", "train"])
def test_the_completed_class_passes_its_check(folder: ClassFolder, tmp_path: Path, source: str) -> None:
    made = synthesise(folder, tmp_path / "made", kinds=["cutpaste"], count=4, source=source)  # type: ignore[arg-type]
    whole = complete_class(folder, tmp_path / "made")
    report = check_class(tmp_path / "made")
    assert [finding.reason for finding in report.findings] == []
    assert len(whole.test) == len(made.test)
    assert len(whole.samples) - 4 == len(folder.train) + len(folder.validation)


def test_16_bits_stay_16_bits_and_keep_every_bit_outside_the_mask(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 2**16, (64, 64, 3)).astype(np.uint16)
    for number in range(4):
        write_picture(tmp_path / "deep" / "train" / "good" / f"{number}.png", np.roll(deep, number, axis=0))
    folder = open_class(tmp_path / "deep")
    made = synthesise(folder, tmp_path / "made", kinds=["cutpaste"], count=1)
    good, anomalous = (sample.image() for sample in made.test)
    (defect,) = made.test[1].defects()
    assert anomalous.dtype == np.uint16
    assert np.array_equal(good[~defect.mask], anomalous[~defect.mask])


def test_the_contact_sheet_is_a_picture(folder: ClassFolder, tmp_path: Path) -> None:
    made = synthesise(folder, tmp_path / "made", kinds=["dots", "arc"], count=3)
    write_contact_sheet(made, tmp_path / "sheet.png")
    assert cv2.imread(str(tmp_path / "sheet.png")).shape[1] == 2 * 256


def test_unknown_kinds_no_kinds_and_no_count_are_refused(folder: ClassFolder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean perlin"):
        synthesise(folder, tmp_path / "made", kinds=["perlim"])
    with pytest.raises(ConfigError, match="at least one of"):
        chosen_kinds([])
    with pytest.raises(ConfigError, match="at least 1"):
        synthesise(folder, tmp_path / "made", kinds=["scar"], count=0)
    assert not (tmp_path / "made").exists()


def test_a_folder_with_something_in_it_is_left_alone(folder: ClassFolder, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        synthesise(folder, tmp_path / "made", kinds=["scar"], count=1)
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["mine.txt"]


def test_the_command_makes_a_class_and_says_what_is_next(tmp_path: Path) -> None:
    root = build_class(tmp_path / "noise", train=6, validation=3)
    words = ("--kinds", "cutpaste,scar", "--count", 3, "--cache", tmp_path / "cache")
    called = call("data", "synthesise", root, tmp_path / "out", *words)
    assert called.code == 0, called.err
    assert f"ensemble-ad run --data {tmp_path / 'out'}" in called.out
    assert (tmp_path / "out" / "contact_sheet.png").exists()
    assert call("data", "synthesise", root, tmp_path / "other", "--kinds", "scars").code == 2
