import cv2
import numpy as np
import pytest

from extractors.texture_changes import (
    CHANGES,
    autocontrast,
    change,
    equalize,
    gamma,
    hue_and_saturation,
    invert,
    posterize,
    solarize,
    turned,
)
from extractors.textures import FolderTextures, OfflineTextures, procedural


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (20, 28, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path, picture):
    (tmp_path / "banded").mkdir()
    cv2.imwrite(str(tmp_path / "banded" / "banded_0001.png"), picture)
    (tmp_path / "readme.txt").write_text("not a picture")
    return tmp_path


@pytest.mark.parametrize("kind", CHANGES, ids=lambda kind: kind.__name__)
def test_every_change_keeps_shape_and_type_and_its_input(kind, picture):
    before = picture.copy()
    for seed in range(5):
        changed = kind(picture, np.random.default_rng(seed))
        assert changed.shape == picture.shape
        assert changed.dtype == np.uint8
    assert np.array_equal(picture, before)


@pytest.mark.parametrize("kind", CHANGES, ids=lambda kind: kind.__name__)
def test_every_change_survives_a_uniform_picture(kind):
    assert kind(np.full((4, 6, 3), 255, np.uint8), np.random.default_rng(1)).shape == (4, 6, 3)


def test_inverting_twice_changes_nothing(picture):
    rng = np.random.default_rng(0)
    assert np.array_equal(invert(invert(picture, rng), rng), picture)


def test_autocontrast_reaches_both_ends_in_every_channel():
    stretched = autocontrast(np.linspace(40, 90, 75).astype(np.uint8).reshape(5, 5, 3), np.random.default_rng(0))
    assert stretched.min((0, 1)).tolist() == [0, 0, 0]
    assert stretched.max((0, 1)).tolist() == [255, 255, 255]


def test_equalizing_two_equally_frequent_levels_gives_black_and_white():
    halves = np.repeat(np.array([[100], [101]], np.uint8), 8, axis=1)[..., None].repeat(3, axis=-1)
    assert set(np.unique(equalize(halves, np.random.default_rng(0)))) == {0, 255}


def test_posterizing_keeps_the_upper_bits(picture):
    for seed in range(10):
        levels = np.unique(posterize(picture, np.random.default_rng(seed)))
        assert len(levels) <= 256
        assert (levels <= 255).all()
        assert any((levels % 2**bits == 0).all() for bits in range(8))


def test_solarizing_inverts_bright_levels_only(picture):
    for seed in range(10):
        changed = solarize(picture, np.random.default_rng(seed))
        assert np.array_equal(changed[picture < 32], picture[picture < 32])


def test_gamma_keeps_black_and_white():
    ends = np.array([[[0, 255, 0]]], np.uint8)
    assert np.array_equal(gamma(ends, np.random.default_rng(0)), ends)


def test_hue_does_not_change_a_grey_picture_that_stays_grey():
    """Without saturation the hue means nothing: where the saturation drawn is not positive nothing happens."""
    grey = np.full((3, 3, 3), 120, np.uint8)
    seed = next(seed for seed in range(50) if np.random.default_rng(seed).integers(-50, 51, 2)[1] <= 0)
    assert np.array_equal(hue_and_saturation(grey, np.random.default_rng(seed)), grey)


def test_turning_by_180_degrees_flips_both_axes(picture):
    assert np.array_equal(turned(picture, 180), picture[::-1, ::-1])


def test_three_changes_follow_the_seed(picture):
    first, again, other = (change(picture, np.random.default_rng(seed)) for seed in (4, 4, 5))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_procedural_textures_come_in_all_sizes_and_are_not_uniform():
    rng = np.random.default_rng(0)
    for _ in range(30):
        texture = procedural((24, 40), rng)
        assert texture.shape == (24, 40, 3)
        assert texture.dtype == np.uint8
        assert texture.std() > 0
    assert procedural((1, 1), rng).shape == (1, 1, 3)


def test_offline_textures_show_the_pictures_and_other_things(picture):
    textures = OfflineTextures(np.full((2, 16, 16, 3), 7, np.uint8))
    crops = [textures._crop((12, 10), np.random.default_rng(seed)) for seed in range(3)]
    assert all(np.array_equal(crop, np.full((12, 10, 3), 7, np.uint8)) for crop in crops)
    drawn = [textures.draw((12, 10), np.random.default_rng(seed)) for seed in range(10)]
    assert {texture.shape for texture in drawn} == {(12, 10, 3)}
    assert 0 < sum(texture.std() > 0 for texture in drawn) <= 10


def test_folder_textures_are_found_below_and_stretched_to_size(folder):
    textures = FolderTextures.below(folder)
    assert [path.name for path in textures.files] == ["banded_0001.png"]
    assert textures.draw((9, 11), np.random.default_rng(0)).shape == (9, 11, 3)


def test_folder_textures_are_read_as_rgb(tmp_path, monkeypatch):
    monkeypatch.setattr("extractors.textures.change", lambda texture, rng: texture)
    cv2.imwrite(str(tmp_path / "blue.png"), np.full((4, 4, 3), (255, 0, 0), np.uint8))
    texture = FolderTextures.below(tmp_path).draw((4, 4), np.random.default_rng(0))
    assert texture[0, 0].tolist() == [0, 0, 255]


def test_a_folder_without_pictures_is_refused_with_a_cure(tmp_path):
    with pytest.raises(ValueError, match=r"found none below .*procedural"):
        FolderTextures.below(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a picture"])
def test_a_broken_texture_is_named(tmp_path, content):
    (tmp_path / "broken.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.jpg"):
        FolderTextures.below(tmp_path).draw((4, 4), np.random.default_rng(0))
