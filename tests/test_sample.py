import cv2
import numpy as np
import pytest
import tifffile
from loco_folder import SHAPE, noise, rectangle, truncate, write_picture
from PIL import Image

from data_loco.errors import DataError
from data_loco.sample import Sample
from data_loco.saturation import DefectKind

KINDS = {
    255: DefectKind("missing_hole", 255, 6, relative=False),
    254: DefectKind("scratch", 254, 0.5, relative=True),
}


def sample_of(path, *mask_paths, kind="logical_anomalies"):
    return Sample(path, "test", kind, path.stem, mask_paths, KINDS)


@pytest.fixture
def picture(tmp_path):
    return write_picture(tmp_path / "000.png", noise(0))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".bmp"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_lossless_formats_give_the_same_rgb(tmp_path, suffix, channels):
    bgr = noise(1, (*SHAPE, channels)).squeeze()
    sample = sample_of(write_picture(tmp_path / f"a{suffix}", bgr))
    expected = np.dstack([bgr] * 3) if channels == 1 else bgr[..., 2::-1]
    np.testing.assert_array_equal(sample.image(), expected)
    assert sample.shape() == SHAPE


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_are_kept(tmp_path, suffix, channels):
    bgr = noise(2, (*SHAPE, channels)).squeeze().astype(np.uint16) * 257 - 3
    image = sample_of(write_picture(tmp_path / f"a{suffix}", bgr)).image()
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image, np.dstack([bgr] * 3) if channels == 1 else bgr[..., 2::-1])


def test_jpeg_is_close_to_what_was_written(tmp_path):
    smooth = cv2.resize(noise(3, (2, 2, 3)), (64, 48))
    sample = sample_of(write_picture(tmp_path / "a.jpg", smooth))
    assert np.abs(sample.image().astype(int) - smooth[..., ::-1]).mean() < 4
    assert sample.shape() == (48, 64)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_photographs_stand_upright_and_shape_agrees(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(noise(4)).save(tmp_path / f"a{suffix}", exif=exif)
    sample = sample_of(tmp_path / f"a{suffix}")
    assert sample.shape() == sample.image().shape[:2]
    if suffix == ".jpg":
        assert sample.shape() == (SHAPE if orientation < 5 else SHAPE[::-1])


def test_paths_outside_ascii_work(tmp_path):
    path = write_picture(tmp_path / "Prüfteil Ωß 部品" / "Bild ä.png", noise(5))
    np.testing.assert_array_equal(sample_of(path).image(), noise(5)[..., ::-1])
    assert sample_of(path).shape() == SHAPE


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_truncated_picture_is_an_error_that_names_the_file(tmp_path, suffix, share):
    path = write_picture(tmp_path / f"broken{suffix}", noise(6, (40, 60, 3)))
    truncate(path, share)
    with pytest.raises(DataError, match="truncated") as caught:
        sample_of(path).image()
    assert caught.value.path == path


def test_truncated_tiff_with_its_directory_in_front_is_an_error(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise(7, (40, 60, 3)))
    truncate(tmp_path / "a.tif")
    with pytest.raises(DataError, match="truncated"):
        sample_of(tmp_path / "a.tif").image()


def test_truncated_jpeg_with_a_whole_thumbnail_is_an_error(tmp_path):
    path = write_picture(tmp_path / "a.jpg", noise(8, (40, 60, 3)))
    whole = path.read_bytes()
    segment = b"\xff\xe1" + (len(whole) + 2).to_bytes(2, "big") + whole
    path.write_bytes(whole[:2] + segment + whole[2:])
    assert sample_of(path).image().shape == (40, 60, 3)
    truncate(path, 0.9)
    with pytest.raises(DataError, match="is truncated"):
        sample_of(path).image()


def test_data_behind_the_end_of_a_jpeg_does_no_harm(tmp_path):
    path = write_picture(tmp_path / "a.jpg", noise(9))
    path.write_bytes(path.read_bytes() + b"motion photo")
    assert sample_of(path).image().shape == (*SHAPE, 3)


@pytest.mark.parametrize(
    ("content", "said"), [(b"", r"empty \(0 bytes\)"), (b"hello, world", "cannot be decoded"), (None, "cannot be read")]
)
def test_what_is_no_picture_is_an_error_that_names_the_file(tmp_path, content, said):
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=said):
        sample_of(tmp_path / "a.png").image()
    with pytest.raises(DataError, match=said):
        sample_of(tmp_path / "a.png").shape()


def test_float_picture_is_refused_with_its_type(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise(10).astype(np.float32), photometric="rgb")
    with pytest.raises(DataError, match="expected 8 or 16 bits per channel, got float32"):
        sample_of(tmp_path / "a.tif").image()


def test_good_picture_has_no_defects(picture):
    assert sample_of(picture, kind="good").defects() == ()


def test_defect_has_the_name_and_saturation_of_its_pixel_value(tmp_path, picture):
    mask = rectangle(255, 1, 2, 4, 5)
    (defect,) = sample_of(picture, write_picture(tmp_path / "m" / "000.png", mask)).defects()
    assert (defect.name, defect.pixel_value, defect.saturation_area) == ("missing_hole", 255, 6)
    assert defect.mask.dtype == bool
    np.testing.assert_array_equal(defect.mask, mask > 0)


def test_several_components_are_one_region(tmp_path, picture):
    mask = rectangle(254, 0, 0, 2, 2) + rectangle(254, 8, 8, 3, 3)
    (defect,) = sample_of(picture, write_picture(tmp_path / "m.png", mask)).defects()
    assert defect.mask.sum() == 13
    assert defect.saturation_area == 6


def test_overlapping_masks_stay_apart(tmp_path, picture):
    first = write_picture(tmp_path / "m" / "000.png", rectangle(255, 0, 0, 3, 3))
    second = write_picture(tmp_path / "m" / "001.png", rectangle(254, 2, 2, 2, 2))
    defects = sample_of(picture, first, second).defects()
    assert [defect.mask.sum() for defect in defects] == [9, 4]
    assert (defects[0].mask & defects[1].mask).sum() == 1


def test_mask_may_cover_the_whole_picture(tmp_path, picture):
    (defect,) = sample_of(picture, write_picture(tmp_path / "m.png", np.full(SHAPE, 254, np.uint8))).defects()
    assert defect.mask.all()
    assert defect.saturation_area == SHAPE[0] * SHAPE[1] // 2


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "1"])
def test_mask_may_be_saved_in_any_mode_a_paint_program_chooses(tmp_path, picture, mode):
    mask = rectangle(255, 1, 2, 4, 5)
    Image.fromarray(mask).convert(mode).save(tmp_path / "m.png")
    (defect,) = sample_of(picture, tmp_path / "m.png").defects()
    np.testing.assert_array_equal(defect.mask, mask > 0)


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (rectangle(0, 0, 0, 1, 1), "the mask is empty"),
        (rectangle(255, 0, 0, 2, 2) + rectangle(7, 5, 5, 2, 2), "expected one value besides 0 in a mask, got 7, 255"),
        (rectangle(9, 0, 0, 2, 2), r"value 9 is not in defects_config.json.*255 missing_hole, 254 scratch"),
        (rectangle(255, 0, 0, 2, 2, (20, 12)), r"size 20 x 12 \(width x height\), got 12 x 20"),
        (rectangle(255, 0, 0, 2, 2).astype(np.uint16), "expected a mask of 8 bits, got uint16"),
        (noise(11), "expected a grey mask, got a coloured one"),
    ],
)
def test_faulty_mask_is_an_error_that_names_the_file(tmp_path, picture, mask, said):
    path = write_picture(tmp_path / "mask.png", mask)
    with pytest.raises(DataError, match=said) as caught:
        sample_of(picture, path).defects()
    assert caught.value.path == path


def test_anomalous_picture_without_mask_is_an_error(picture):
    with pytest.raises(DataError, match="has no mask although its kind is 'logical_anomalies'"):
        sample_of(picture).defects()
