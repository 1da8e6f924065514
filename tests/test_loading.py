import threading

import cv2
import numpy as np
import pytest
import torch
from loco_folder import build_class, noise, write_picture

from data_loco.errors import DataError
from data_loco.loading import Pictures, read_picture, to_size, to_tensor
from data_loco.loco import open_class
from data_loco.sample import Sample


@pytest.fixture
def samples(tmp_path):
    return open_class(build_class(tmp_path / "connector", train=7)).train


def test_batches_are_the_pictures_in_order(samples):
    batches = list(Pictures(samples, (12, 20), batch=3))
    assert [tuple(batch.shape) for batch in batches] == [(3, 3, 12, 20), (3, 3, 12, 20), (1, 3, 12, 20)]
    assert batches[0].dtype == torch.float32
    expected = np.stack([sample.image() for sample in samples]).transpose(0, 3, 1, 2).astype(np.float32) / 255
    np.testing.assert_array_equal(torch.cat(batches).numpy(), expected)


def test_length_is_the_number_of_batches(samples):
    for batch in (1, 3, 7, 100):
        pictures = Pictures(samples, (8, 8), batch)
        assert len(pictures) == len(list(pictures))
    assert list(Pictures((), (8, 8))) == []


def test_batches_can_be_iterated_twice_and_nested(samples):
    pictures = Pictures(samples, (6, 10), batch=4)
    first = list(pictures)
    for batch, again, (one, two) in zip(first, pictures, zip(pictures, pictures)):
        assert torch.equal(batch, again)
        assert torch.equal(one, two)


def test_sixteen_bits_and_eight_bits_give_the_same_values(tmp_path):
    eight = write_picture(tmp_path / "eight.png", noise(0))
    sixteen = write_picture(tmp_path / "sixteen.png", noise(0).astype(np.uint16) * 257)
    pair = [Sample(path, "train", "good", path.stem) for path in (eight, sixteen)]
    (batch,) = Pictures(pair, (12, 20))
    torch.testing.assert_close(batch[0], batch[1], rtol=0, atol=1e-7)


def test_shrinking_takes_the_mean_of_the_area():
    image = noise(1, (8, 12, 3))
    expected = image.reshape(4, 2, 4, 3, 3).mean((1, 3))
    assert np.abs(to_size(image, (4, 4)) - expected).max() <= 0.5


def test_growing_in_one_direction_is_bilinear():
    image = noise(2, (8, 8, 3))
    np.testing.assert_array_equal(to_size(image, (16, 4)), cv2.resize(image, (4, 16), interpolation=cv2.INTER_LINEAR))


def test_same_size_changes_nothing():
    image = noise(3)
    np.testing.assert_array_equal(to_size(image, image.shape[:2]), image)


def test_size_is_height_then_width(samples):
    (batch,) = Pictures(samples[:2], (5, 9))
    assert tuple(batch.shape) == (2, 3, 5, 9)


def test_black_and_white_are_zero_and_one():
    for dtype in (np.uint8, np.uint16):
        image = np.zeros((1, 2, 3), dtype)
        image[:, 1] = np.iinfo(dtype).max
        assert to_tensor(image)[:, 0].tolist() == [[0.0, 1.0]] * 3


def test_other_dtypes_are_refused():
    with pytest.raises(ValueError, match="expected uint8 or uint16, got float64"):
        to_tensor(np.zeros((2, 2, 3)))


@pytest.mark.parametrize(("size", "batch"), [((0, 8), 1), ((8, 8), 0), ((8,), 1)])
def test_impossible_sizes_are_refused(size, batch):
    with pytest.raises(ValueError, match="expected"):
        Pictures((), size, batch)


def test_what_is_no_picture_is_named_and_batches_before_it_arrive(samples):
    samples[5].path.write_bytes(b"no picture")
    batches = iter(Pictures(samples, (8, 8), batch=2))
    assert len(next(batches)) == len(next(batches)) == 2
    with pytest.raises(DataError, match=r"005.png: cannot be decoded"):
        next(batches)
    with pytest.raises(DataError, match=r"005.png"):
        read_picture(samples[5].path)


def test_abandoned_iteration_leaves_no_thread_behind(samples):
    batches = iter(Pictures(samples, (8, 8), batch=1))
    next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pictures")]


def test_next_batch_is_read_while_the_current_one_is_in_use(samples, monkeypatch):
    read = threading.Event()
    image = Sample.image

    def noted(sample):
        if sample.id == "001":
            read.set()
        return image(sample)

    monkeypatch.setattr(Sample, "image", noted)
    batches = iter(Pictures(samples, (8, 8), batch=1))
    next(batches)
    assert read.wait(timeout=5)
    batches.close()
