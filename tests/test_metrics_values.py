"""Values of MVTec's own evaluator at exact thresholds, and cases that can be worked out by hand."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from data_loco.sample import Defect
from ensemble_ad.metrics import LIMITS, ScoredPicture, au_pro, au_spro, auroc, average_precision, f1_max, slow
from ensemble_ad.metrics.areas import trapezoid

DESCENDING = np.arange(10.0, 0.0, -1.0)
OVERLAPPING = np.array([1.0, 9, 2, 3, 8, 7, 6, 5, 4, 0])
NORMAL = np.array([9.5, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.04, 0.03, 0.02])
SQUARE = np.pad(np.ones((2, 2)), 1)


def picture(scores: np.ndarray, *regions: tuple[Sequence[int], int]) -> ScoredPicture:
    """A map of one row; regions are (pixels, saturation area)."""
    defects = []
    for pixels, saturation in regions:
        mask = np.zeros((1, scores.size), bool)
        mask[0, list(pixels)] = True
        defects.append(Defect("defect", 255, mask, saturation))
    return ScoredPicture("logical_anomalies" if regions else "good", "000", scores[None], defects)


def square(scores: np.ndarray) -> ScoredPicture:
    return ScoredPicture("logical_anomalies", "000", scores, [Defect("square", 255, SQUARE > 0, 3)])


CASES = {
    "A1: absolute threshold": ([picture(DESCENDING, ([0, 2, 4, 7], 2))], (0.5, 0.5, 0.5, 0.722222, 0.916667)),
    "A2: relative 1.0": ([picture(DESCENDING, ([0, 2, 4, 7], 4))], (0.25, 0.25, 0.25, 0.361111, 0.708333)),
    "B: overlapping regions": (
        [picture(OVERLAPPING, ([0, 1], 2), ([1, 2, 3], 1))],
        (0.75, 0.75, 0.75, 0.75, 0.791667),
    ),
    "C: with a good picture": (
        [picture(DESCENDING, ([0, 2, 4, 7], 2)), picture(NORMAL)],
        (0.5, 0.5, 0.5, 0.791667, 0.9375),
    ),
    "D: constant map": ([square(np.full((4, 4), 0.7))], (0.005, 0.025, 0.05, 0.15, 0.5)),
    "E: perfect map": ([square(SQUARE)], (1, 1, 1, 1, 1)),
    "E': inverted map": ([square(1 - SQUARE)], (0, 0, 0, 0, 0)),
}


@pytest.mark.parametrize("measure", [au_spro, slow.au_spro], ids=["fast", "slow"])
@pytest.mark.parametrize(("pictures", "expected"), CASES.values(), ids=CASES.keys())
def test_au_spro_equals_mvtecs_evaluator(
    pictures: list[ScoredPicture], expected: tuple[float, ...], measure: Callable[..., float]
) -> None:
    assert [measure(pictures, limit) for limit in LIMITS] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("measure", [au_pro, slow.au_pro], ids=["fast", "slow"])
@pytest.mark.parametrize(("limit", "expected"), [(0.05, 0.025), (0.3, 0.15), (1.0, 0.5)])
def test_au_pro_of_a_constant_map_is_half_its_limit(
    limit: float, expected: float, measure: Callable[..., float]
) -> None:
    assert measure([square(np.zeros((4, 4)))], limit) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("measure", [au_pro, slow.au_pro], ids=["fast", "slow"])
def test_diagonal_neighbours_are_one_component(measure: Callable[..., float]) -> None:
    mask = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0]]) > 0
    scores = np.array([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]])
    # Scores 1, 5 and 8 exceed 0, 3 and 5 of 6 defect-free ones. As two components the area would be (0 + 4 / 6) / 2.
    pictures = [ScoredPicture("bent", "000", scores, [Defect("bent", 255, mask, 3)])]
    assert measure(pictures, 1.0) == pytest.approx((0 + 3 / 6 + 5 / 6) / 3)


def test_components_weigh_equally_in_pro_whatever_their_size() -> None:
    mask = np.array([[1, 1, 1, 0, 1, 0]]) > 0
    scores = np.array([[5.0, 5, 5, 3, 1, 2]])
    # The large one is found before, the small one after both defect-free pixels.
    pictures = [ScoredPicture("logical_anomalies", "000", scores, [Defect("defect", 255, mask, 4)])]
    assert au_pro(pictures, 1.0) == pytest.approx(0.5)
    assert au_spro(pictures, 1.0) == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("x", "y", "limit", "expected"),
    [((0, 0.5, 1), (0, 1, 1), 0.25, 0.0625 / 0.25), ((0, 0.2, 1), (0, 0.5, 1), 0.1, 0.125)],
)
def test_trapezoid_is_interpolated_at_the_limit(
    x: tuple[float, ...], y: tuple[float, ...], limit: float, expected: float
) -> None:
    assert trapezoid(np.array(x), np.array(y), limit) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("normal", "anomalous", "expected"),
    [([1], [1], 0.5), ([1, 1], [1, 1], 0.5), ([0, 1], [1, 2], 0.875), ([3] * 10, [3] * 10, 0.5), ([0], [1], 1.0)],
)
def test_auroc_counts_a_tie_one_half(normal: list[float], anomalous: list[float], expected: float) -> None:
    assert auroc(np.array(normal), np.array(anomalous)) == expected


def test_precision_of_a_constant_score_is_the_share_of_anomalies() -> None:
    normal, anomalous = np.zeros(3), np.zeros(1)
    assert average_precision(normal, anomalous) == 0.25
    assert f1_max(normal, anomalous) == pytest.approx(2 * 0.25 * 1 / 1.25)


@pytest.mark.parametrize("metric", [auroc, average_precision, f1_max])
@pytest.mark.parametrize(("normal", "anomalous"), [([], [1.0]), ([1.0], []), ([np.nan], [1.0]), ([0.0], [np.inf])])
def test_scores_must_exist_and_be_finite(
    metric: Callable[..., float], normal: list[float], anomalous: list[float]
) -> None:
    with pytest.raises(ValueError, match="expected at least one"):
        metric(np.array(normal), np.array(anomalous))
