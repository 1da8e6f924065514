"""Bulks of hand-drawn grounds: what lies at each point, moved along, compared with parts."""

import numpy as np
import pytest

from scorers.metrology_bulk import GROUND, RASTER, axes_of, bulk_of, filled, moved, much_larger, points_of
from scorers.metrology_parts import AREA, PLACE, parts_of


def drawn(height: int, width: int, *boxes: tuple[int, int, int, int]) -> np.ndarray:
    """The ground bool [1, H, W] around boxes (top, left, height, width)."""
    ground = np.ones((1, height, width), bool)
    for top, left, rows, columns in boxes:
        ground[0, top : top + rows, left : left + columns] = False
    return ground


def bulk(ground: np.ndarray) -> np.ndarray:
    return bulk_of(parts_of(ground, np.zeros((*ground.shape[1:], 3), np.uint8), 0.001), ground)


def test_a_bulk_says_how_large_what_lies_at_a_point_is() -> None:
    found = bulk(drawn(128, 128, (20, 20, 16, 32), (80, 0, 20, 60)))[0]
    assert found.shape == (RASTER, RASTER)
    assert set(found[10:18, 10:26].ravel().tolist()) == {round(10 * np.log(16 * 32 / 128**2))}
    assert set(found[40:50, :30].ravel().tolist()) == {0}, "what the border cuts is no part"
    assert set(found[24:36].ravel().tolist()) == {GROUND}


@pytest.mark.parametrize(("size", "shape"), [((100, 200), (32, 64)), ((300, 200), (64, 43)), ((40, 64), (40, 64))])
def test_the_longer_side_has_so_many_points(size: tuple[int, int], shape: tuple[int, int]) -> None:
    assert bulk(drawn(*size, (10, 10, 12, 20))).shape == (1, *shape)


def test_a_moved_bulk_is_that_of_the_moved_picture() -> None:
    before, after = bulk(drawn(128, 128, (20, 20, 16, 32))), bulk(drawn(128, 128, (40, 30, 16, 32)))
    shift = np.array([20, 10]) / 128
    shifted = moved(before, points_of(before) - shift)
    inside = (points_of(before) >= shift).all(axis=1).reshape(RASTER, RASTER)
    assert np.array_equal(shifted[0][inside], after[0][inside])
    assert set(shifted[0][~inside].tolist()) == {GROUND}, "what is out of the picture tells nothing"


def test_a_part_is_compared_with_what_lies_over_most_of_it() -> None:
    small, large, aside = (drawn(128, 128, box) for box in ((60, 60, 10, 10), (40, 40, 60, 60), (10, 10, 60, 53)))
    part = parts_of(small, np.zeros((128, 128, 3), np.uint8), 0.001)
    bulks = np.stack([bulk(ground) for ground in (small, large, aside, drawn(128, 128))])
    middle = part.measures[:, PLACE]
    assert part.measures[0, AREA] == pytest.approx(np.log(100 / 128**2))
    ask = (part.sides, part.measures, middle)
    assert much_larger(bulks, *ask, by=1.4).tolist() == [[False], [True], [False], [False]]
    assert not much_larger(bulks, *ask, by=4.0).any(), "36 times as large is less than e to the 4th"
    assert not much_larger(bulks, part.sides + 1, part.measures, middle, by=0.3).any(), "one that sticks out"


def test_a_bar_in_pieces_is_filled_and_one_that_is_short_is_not() -> None:
    bar, pieces, short, gone = (
        drawn(128, 128, *boxes)
        for boxes in (
            [(40, 10, 10, 100)],
            [(40, 10, 10, 46), (40, 58, 10, 52)],
            [(40, 25, 10, 70)],
            [(90, 10, 10, 100)],
        )
    )
    whole = parts_of(bar, np.zeros((128, 128, 3), np.uint8), 0.001)
    points = axes_of(whole.measures)
    assert np.ptp(points[0], axis=0) * 128 == pytest.approx([0, 90], abs=1.0)
    assert [filled(bulk(one), whole.sides, points).tolist() for one in (bar, pieces, short, gone)] == [
        [True],
        [True],
        [False],
        [False],
    ]
