"""Gaps filled with ground, and parts matched to the light: against grounds whose shade and grain are known."""

import numpy as np
import pytest

from ensemble_ad.synthesis.arrangement import PLAIN, Arrangements, arrangement
from ensemble_ad.synthesis.draft import _gain
from ensemble_ad.synthesis.edit import lab_of
from ensemble_ad.synthesis.filling import filled
from ensemble_ad.synthesis.room import free_corners
from ensemble_ad.synthesis.scene import grown
from extractors.regions import Shape, described

SIDE, GRAIN = 120, 6.0


def table(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A grey table that grows brighter to the right, with grain; and its shade without grain."""
    shade = np.broadcast_to(np.linspace(120, 180, SIDE)[None, :, None], (SIDE, SIDE, 3))
    grain = np.random.default_rng(seed).normal(0, GRAIN, (SIDE, SIDE, 1))
    return (shade + grain).round().clip(0, 255).astype(np.uint8), shade


@pytest.mark.parametrize(("top", "bottom"), [(50, 70), (5, 115)], ids=["a patch is as large", "no patch is as large"])
def test_a_filled_gap_has_the_shade_and_the_grain_of_the_table(top: int, bottom: int) -> None:
    image, shade = table()
    gap = np.zeros((SIDE, SIDE), bool)
    gap[top:bottom, 45:75] = True
    image[gap] = 0
    ring = grown(gap, 3) & ~gap
    place = slice(0, SIDE), slice(0, SIDE)
    filling = filled(image, ~grown(gap, 2), place, gap, ring, np.random.default_rng(1))
    assert filling is not None
    rest = (filling - shade)[gap]
    assert abs(rest.mean()) < 2
    assert rest.std() == pytest.approx(GRAIN, rel=0.3)
    assert np.array_equal(filling[~(gap | ring)], image[~(gap | ring)])


def test_a_gap_without_ground_around_it_or_anywhere_bare_is_not_filled() -> None:
    image, _ = table()
    everywhere, nowhere = np.ones((SIDE, SIDE), bool), np.zeros((SIDE, SIDE), bool)
    place, rng = (slice(0, SIDE), slice(0, SIDE)), np.random.default_rng(0)
    ring = nowhere.copy()
    ring[0] = True
    assert filled(image, everywhere, place, everywhere, nowhere, rng) is None
    assert filled(image, nowhere, place, ~ring, ring, rng) is None


def test_room_is_found_where_there_is_some_and_nowhere_else() -> None:
    bare = np.zeros((40, 40), bool)
    bare[8:28, 12:24] = True
    rng = np.random.default_rng(0)
    corners = free_corners(bare, np.ones((16, 8), bool), rng, 50)
    assert corners
    assert all(bare[top : top + 16, left : left + 8].all() for top, left in corners)
    assert free_corners(bare, np.ones((24, 8), bool), rng, 50) == []


def test_the_light_is_matched_by_a_factor_within_limits() -> None:
    assert _gain(np.array([92.0]), np.array([112.0])).tolist() == [1.2]
    assert _gain(np.array([10.0]), np.array([200.0])).tolist() == [1.3]
    assert _gain(np.array([2.0]), np.array([2.5]))[0] == pytest.approx(1.05)  # hardly any light: hardly any difference


def test_which_end_is_the_thick_one_is_seen_whatever_the_looks() -> None:
    image = np.full((SIDE, SIDE, 3), 90, np.uint8)
    wedge = np.tri(40, 12, dtype=bool)[::-1]
    rows = [
        arrangement([described(Shape(20, 30, mask), lab_of(image), ground=0)], lab_of(image))[0]
        for mask in (wedge, wedge[::-1])
    ]
    assert np.abs(rows[0] - rows[1])[PLAIN - 2 : PLAIN].max() > 3
    assert np.allclose(rows[0][2:6], rows[1][2:6])
    assert np.allclose(rows[0][PLAIN:], rows[1][PLAIN:])


def test_slips_of_the_finder_are_no_yardstick() -> None:
    """Three of forty pictures have two parts instead of three, far from one another."""
    rng = np.random.default_rng(0)
    usual = [rng.uniform(0, 1, (3, 8)) for _ in range(37)]
    slips = [rng.uniform(0, 1, (2, 8)) + 50 * number for number in range(3)]
    assert Arrangements([*usual, *slips]).thresholds == Arrangements(usual).thresholds
    assert Arrangements([*usual, *slips]).is_novel(usual[0] + 5)
    assert Arrangements([*usual, *slips]).is_novel(usual[0][:2])
