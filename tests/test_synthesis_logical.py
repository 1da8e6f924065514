"""Component edits on discs and a square whose places are known; judged by running the finder again."""

from pathlib import Path

import numpy as np
import pytest
from parts_class import SIDE, build_parts_class, parts_batch, parts_picture, small_finder

from data_loco import ClassFolder, open_class
from ensemble_ad.progress import Silent
from ensemble_ad.synthesis import synthesise
from ensemble_ad.synthesis.arrangement import Arrangements, distance
from ensemble_ad.synthesis.draft import cut, turned
from ensemble_ad.synthesis.edit import Edit
from ensemble_ad.synthesis.editors import find_components
from ensemble_ad.synthesis.logical import LOGICAL_EDITORS, Exchanged
from ensemble_ad.synthesis.scene import Scenes
from extractors.components import Components

IMAGE, MASKS = parts_picture(13)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ClassFolder:
    return open_class(build_parts_class(tmp_path_factory.mktemp("made_up") / "parts"))


@pytest.fixture(scope="module")
def scenes(folder: ClassFolder) -> Scenes:
    return find_components(folder, folder.validation, 0, small_finder(), Silent())


def edited(scenes: Scenes, kind: str) -> Edit:
    """The first edit of several draws."""
    editor = LOGICAL_EDITORS[kind](scenes)
    edits = (editor(IMAGE, np.random.default_rng(seed)) for seed in range(40))
    return next(edit for edit in edits if edit is not None)


def number_of_parts(finder: Components, image: np.ndarray) -> int:
    batch = parts_batch(range(1)).new_tensor(image / 255).permute(2, 0, 1)[None].float()
    return sum(kind >= 0 for _, kind in finder.find(batch)[0].components)


@pytest.mark.parametrize("kind", ["missing", "additional", "moved", "swapped", "exchanged", "scaled"])
def test_only_the_mask_changes_and_the_mask_has_changed(scenes: Scenes, kind: str) -> None:
    edit = edited(scenes, kind)
    changed = (edit.image != IMAGE).any(axis=2)
    assert not (changed & ~edit.mask).any()
    assert changed[edit.mask].mean() > 0.6


def test_what_is_missing_has_become_table(scenes: Scenes) -> None:
    edit = edited(scenes, "missing")
    hidden = max(MASKS, key=lambda mask: int((mask & edit.mask).sum()))
    table = IMAGE[~np.logical_or.reduce(MASKS)]
    assert (hidden & ~edit.mask).sum() <= 2
    assert edit.mask.sum() < 2.5 * hidden.sum()
    assert abs(edit.image[hidden].mean() - table.mean()) < 10
    assert number_of_parts(scenes.finder, edit.image) == 2


def test_an_additional_part_raises_the_count_by_one(scenes: Scenes) -> None:
    edit = edited(scenes, "additional")
    assert number_of_parts(scenes.finder, edit.image) == 4
    assert not any((edit.mask & mask).any() for mask in MASKS)


def test_a_moved_part_leaves_the_count_and_shows_at_two_places(scenes: Scenes) -> None:
    edit = edited(scenes, "moved")
    assert number_of_parts(scenes.finder, edit.image) == 3
    assert any((edit.mask & mask).sum() > 0.9 * mask.sum() for mask in MASKS)


def test_only_parts_of_comparable_size_are_exchanged(scenes: Scenes) -> None:
    strict = Exchanged(scenes, comparable=1.1)
    areas = sorted(int(mask.sum()) for mask in MASKS)
    assert areas[-1] > 1.1 * areas[0], "the square and the discs differ by more"
    assert all(strict(IMAGE, np.random.default_rng(seed)) is None for seed in range(20))


def test_a_mirrored_disc_or_square_is_no_anomaly(scenes: Scenes) -> None:
    mirrored = LOGICAL_EDITORS["mirrored"](scenes)
    assert all(mirrored(IMAGE, np.random.default_rng(seed)) is None for seed in range(20))


def test_the_same_generator_gives_the_same_edit_whatever_was_edited_before(scenes: Scenes) -> None:
    editor = LOGICAL_EDITORS["additional"](scenes)
    first = editor(IMAGE, np.random.default_rng(3))
    editor(parts_picture(14)[0], np.random.default_rng(9))
    second = editor(IMAGE, np.random.default_rng(3))
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        assert np.array_equal(first.image, second.image)


def test_a_part_turned_by_nothing_is_the_same_part(scenes: Scenes) -> None:
    scene = scenes.of(IMAGE)
    part = cut(scene, scene.layout.components[0].region)
    same = turned(part, np.eye(2))
    assert np.array_equal(same.mask, part.mask)
    assert np.allclose(same.image, part.image, atol=0.5)


def test_arrangements_are_matched_before_they_are_compared() -> None:
    assert distance(np.array([[0.0], [5.0]]), np.array([[6.0], [0.0]])) == 1
    assert distance(np.zeros((1, 2)), np.zeros((2, 2))) == np.inf
    assert distance(np.zeros((0, 2)), np.zeros((0, 2))) == 0


def test_what_normal_pictures_show_is_not_novel() -> None:
    rng = np.random.default_rng(0)
    normal = Arrangements([rng.uniform(0, 1, (3, 2)) for _ in range(40)])
    assert not normal.is_novel(normal.normal[0])
    assert normal.is_novel(normal.normal[0] + 5)
    assert normal.is_novel(normal.normal[0][:2])


def test_both_types_are_made_in_turn(folder: ClassFolder, tmp_path: Path) -> None:
    kinds = ["missing", "additional", "mirrored", "dots"]
    made = synthesise(folder, tmp_path / "made", kinds=kinds, count=6, finder=small_finder())
    names = [defect.name for sample in made.test for defect in sample.defects()]
    assert sorted(names) == ["additional", "dots", "dots", "dots", "missing", "missing"]
    assert any(note.startswith("mirrored: left out") for note in made.notes)
    assert all(sample.shape() == (SIDE, SIDE) for sample in made.test)


def test_a_class_without_components_gets_structural_kinds_and_a_note(tmp_path: Path) -> None:
    from loco_folder import noise, write_picture

    for number in range(6):
        write_picture(tmp_path / "noise" / "train" / "good" / f"{number}.png", noise(number, (64, 64, 3)))
    made = synthesise(
        open_class(tmp_path / "noise"), tmp_path / "made", kinds=["missing", "scar"], count=2, finder=small_finder()
    )
    assert {defect.name for sample in made.test for defect in sample.defects()} == {"scar"}
    assert any("no components" in note for note in made.notes)
