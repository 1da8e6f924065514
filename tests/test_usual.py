"""Normal ranges of numbers by hand: how far off a number is, and what is seldom or hardly ever seen."""

import numpy as np
import pytest

from scorers.usual import DOUBTFUL, LEAST_SEEN, usual


def test_the_distance_is_that_to_the_nearest_range_in_its_own_spread() -> None:
    rng = np.random.default_rng(0)
    short, long = rng.normal(2, 0.1, 100), rng.normal(8, 0.2, 100)
    ranges = usual(np.concatenate([short, long])[:, None], np.array([0.01]))
    off = [ranges.deviation(np.array([number]))[0] for number in (2.0, 3.0, 5.5, 8.0)]
    assert off == pytest.approx([0, 10, (8 - 5.5) / 0.2, 0], abs=2.5)


def test_a_spread_is_at_least_what_can_be_measured() -> None:
    ranges = usual(np.full((20, 1), 5.0), np.array([0.5]))
    assert ranges.deviation(np.array([7.0])) == pytest.approx([4.0])


def test_what_is_seldom_measured_counts_little_and_what_hardly_ever_is_nothing() -> None:
    numbers = np.full((40, 3), 1.0)
    numbers[20:, 1] = np.nan
    numbers[LEAST_SEEN - 1 :, 2] = np.nan
    ranges = usual(numbers, np.full(3, 0.01))
    assert ranges.deviation(np.full(3, 2.0)) == pytest.approx([100.0, DOUBTFUL, 0.0])
    assert ranges.deviation(np.full(3, np.nan)).tolist() == [0.0, 0.0, 0.0]
