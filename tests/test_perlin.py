import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from extractors.perlin import anomaly_masks, perlin_noise, random_noise


def slow_noise(size, cells, directions, rotation):
    """One pixel after the other, by the definition: fade, four corner slopes, three interpolations."""
    height, width = size
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    noise = np.zeros(size)
    for row in range(height):
        for column in range(width):
            y = math.cos(rotation) * (row - middle_y) - math.sin(rotation) * (column - middle_x) + middle_y
            x = math.sin(rotation) * (row - middle_y) + math.cos(rotation) * (column - middle_x) + middle_x
            if not (-1e-3 <= y <= height - 1 + 1e-3 and -1e-3 <= x <= width - 1 + 1e-3):
                continue
            y, x = max(y, 0) * cells[0] / height, max(x, 0) * cells[1] / width
            top, left = int(y), int(x)
            slopes = {}
            for below in (0, 1):
                for beside in (0, 1):
                    direction = directions[top + below][left + beside]
                    slopes[below, beside] = math.cos(direction) * (y - top - below) + math.sin(direction) * (
                        x - left - beside
                    )
            fade_y, fade_x = (6 * t**5 - 15 * t**4 + 10 * t**3 for t in (y - top, x - left))
            upper = slopes[0, 0] + fade_x * (slopes[0, 1] - slopes[0, 0])
            lower = slopes[1, 0] + fade_x * (slopes[1, 1] - slopes[1, 0])
            noise[row, column] = math.sqrt(2) * (upper + fade_y * (lower - upper))
    return noise


@pytest.mark.parametrize("rotation", [0.0, 0.7, -1.5])
def test_noise_equals_the_definition_pixel_by_pixel(rotation):
    generator = torch.Generator().manual_seed(1)
    cells = torch.tensor([[1, 4], [3, 2]])
    directions = 2 * math.pi * torch.rand(2, 5, 5, generator=generator)
    noise = perlin_noise((12, 17), cells, directions, torch.full((2,), rotation))
    for number in range(2):
        expected = slow_noise((12, 17), cells[number].tolist(), directions[number].tolist(), rotation)
        np.testing.assert_allclose(noise[number], expected, atol=2e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32))
def test_noise_stays_within_plus_and_minus_one(height, width, seed):
    noise = random_noise(4, (height, width), torch.Generator().manual_seed(seed))
    assert noise.shape == (4, height, width)
    assert noise.abs().max() <= 1
    assert torch.isfinite(noise).all()


def test_noise_is_zero_at_the_corners_of_cells():
    directions = torch.rand(1, 5, 5, generator=torch.Generator().manual_seed(0))
    noise = perlin_noise((32, 32), torch.tensor([[4, 4]]), directions, torch.zeros(1))
    assert torch.equal(noise[0, ::8, ::8], torch.zeros(4, 4))
    assert noise.abs().max() > 0.1


def test_noise_needs_a_direction_at_every_corner():
    with pytest.raises(ValueError, match="direction at every corner"):
        perlin_noise((8, 8), torch.tensor([[4, 4]]), torch.zeros(1, 4, 5), torch.zeros(1))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 6), st.floats(0.1, 2), st.integers(0, 2**32))
def test_masks_are_never_empty(height, width, octaves, threshold, seed):
    generator = torch.Generator().manual_seed(seed)
    masks = anomaly_masks(5, (height, width), generator, octaves=octaves, threshold=threshold)
    assert masks.shape == (5, height, width)
    assert masks.dtype == torch.bool
    assert masks.flatten(1).any(1).all()


def test_no_masks_are_drawn_when_none_are_asked_for():
    assert anomaly_masks(0, (8, 8), torch.Generator()).shape == (0, 8, 8)


def test_masks_follow_the_seed_and_differ_from_one_another():
    first, again = (anomaly_masks(6, (32, 32), torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert len({mask.numpy().tobytes() for mask in first}) == 6


def test_masks_cover_a_small_part_of_the_picture_on_average():
    share = anomaly_masks(200, (64, 64), torch.Generator().manual_seed(0)).float().mean()
    assert 0.01 < share < 0.15


def test_masks_of_coarse_noise_are_larger_than_those_of_fine_noise():
    """A mask's regions grow with the cells: erode by comparing each pixel with its right neighbour."""

    def edges(octaves):
        masks = anomaly_masks(100, (64, 64), torch.Generator().manual_seed(0), octaves=octaves).float()
        return (masks[..., 1:] - masks[..., :-1]).abs().sum() / masks.sum()

    assert edges(2) < edges(6)


def test_masks_refuse_no_octaves():
    with pytest.raises(ValueError, match="at least 1 octave"):
        anomaly_masks(1, (8, 8), torch.Generator(), octaves=0)


def test_noise_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    anomaly_masks(3, (16, 16), torch.Generator().manual_seed(0))
    assert torch.equal(before, torch.get_rng_state())
