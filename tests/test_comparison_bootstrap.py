"""Resampling by weights is resampling; intervals cover the truth as often as they say."""

from functools import partial

import numpy as np
import pytest
from comparison_records import LOGICAL, make_pictures, noisy, scored
from scipy import stats
from sklearn.metrics import roc_auc_score

from ensemble_ad.comparison.bootstrap import areas, draw, image_auroc, interval, pixel_metrics
from ensemble_ad.comparison.contributions import pieces_of
from ensemble_ad.metrics import GOOD, au_spro
from ensemble_ad.metrics.areas import trapezoid


def test_areas_are_those_of_the_trapezoid_rule() -> None:
    random = np.random.default_rng(0)
    x = np.sort(random.random((20, 12)).round(1), axis=1)  # rounded: the curves jump
    x = np.hstack([np.zeros((20, 1)), x, np.ones((20, 1))])
    heights = np.sort(random.random((20, 14)), axis=1)
    limits = [0.01, 0.1, 0.35, 0.999, 1.0]
    expected = [[trapezoid(*curve, limit) for curve in zip(x, heights)] for limit in limits]
    assert areas(x, heights, limits) == pytest.approx(np.array(expected))


def test_a_resample_has_as_many_pictures_of_each_kind_as_there_are() -> None:
    weights = draw({GOOD: 7, LOGICAL: 3}, 500, [4])
    assert {kind: set(drawn.sum(axis=1)) for kind, drawn in weights.items()} == {GOOD: {7.0}, LOGICAL: {3.0}}
    assert weights[GOOD].mean(axis=0) == pytest.approx(np.ones(7), abs=0.2)
    assert weights[GOOD].var() == pytest.approx(1 - 1 / 7, abs=0.1)
    assert (draw({GOOD: 7}, 500, [4])[GOOD] == weights[GOOD]).all()
    assert (draw({GOOD: 7}, 500, [5])[GOOD] != weights[GOOD]).any()


def test_auroc_of_weights_is_that_of_pictures_drawn_again() -> None:
    random = np.random.default_rng(1)
    scores = {GOOD: random.integers(0, 9, 12).astype(float), LOGICAL: random.integers(3, 12, 8).astype(float)}
    weights = draw({GOOD: 12, LOGICAL: 8}, 20, [2])
    found = image_auroc(weights, scores, LOGICAL)
    for row in range(20):
        again = [np.repeat(scores[kind], weights[kind][row].astype(int)) for kind in (GOOD, LOGICAL)]
        labels = np.repeat([0, 1], [12, 8])
        assert found[row] == pytest.approx(roc_auc_score(labels, np.concatenate(again)))


def test_an_interval_is_wider_than_percentiles_for_few_pictures_and_the_same_for_many() -> None:
    values = np.random.default_rng(0).standard_normal(20_000)
    few, many = interval(values, 0.95, 10), interval(values, 0.95, 1_000_000)
    assert many == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=1e-3)
    # By hand: Student's t with 9 degrees of freedom leaves 2.5 % beyond 2.262, and sqrt(10 / 9) is 1.054.
    tail = stats.norm.cdf(-2.2622 * 1.05409)
    assert few == pytest.approx(np.quantile(values, [tail, 1 - tail]), abs=1e-3)
    assert np.isnan(interval(values, 0.95, 1)).all()


def coverage(pictures: int, trials: int, resamples: int, shift: float = 1.5) -> tuple[float, float]:
    """How often the interval of an AUROC, and of the difference of two correlated detectors', holds the truth."""
    random = np.random.default_rng(7)
    truth = stats.norm.cdf(np.array([shift, shift - 0.5]) / np.sqrt(2))
    held = np.zeros(2)
    for trial in range(trials):
        weights = draw({GOOD: pictures, LOGICAL: pictures}, resamples, [trial])
        common = random.standard_normal((2, pictures))
        found = []
        for strength in (shift, shift - 0.5):
            own = random.standard_normal((2, pictures))
            good, anomalous = 0.6 * common + 0.8 * own
            found.append(image_auroc(weights, {GOOD: good, LOGICAL: anomalous + strength}, LOGICAL))
        for place, (values, true) in enumerate([(found[0], truth[0]), (found[0] - found[1], truth[0] - truth[1])]):
            low, high = interval(values, 0.95, pictures)
            held[place] += low <= true <= high
    value, difference = held / trials
    return float(value), float(difference)


def test_intervals_of_aurocs_and_differences_cover_the_truth() -> None:
    value, difference = coverage(pictures=20, trials=150, resamples=300)
    # 150 trials of a chance of 0.95 stay above 0.89 in 999 of 1000 cases.
    assert value > 0.89
    assert difference > 0.89


@pytest.mark.slow
@pytest.mark.parametrize("pictures", [10, 20, 50])
def test_intervals_cover_the_truth_in_many_trials(pictures: int) -> None:
    value, difference = coverage(pictures, trials=2000, resamples=1000)
    assert 0.92 < value < 0.985
    assert 0.92 < difference < 0.985


def spro_coverage(trials: int, count: int = 20) -> np.ndarray:
    """The same for AU-sPRO@0.3 of small maps of pictures that differ in how easy they are; drawn from a thousand."""
    weak, strong = 1.0, 1.3
    many = make_pictures({GOOD: 500, LOGICAL: 500}, seed=99)
    truth = [au_spro(scored(many, noisy(strength, seed)), 0.3) for seed, strength in ((1, weak), (2, strong))]
    held = np.zeros(2)
    for trial in range(trials):
        pictures = sample_of(many, count, trial)
        weights = draw({GOOD: count, LOGICAL: count}, 1000, [trial])
        found = []
        for seed, strength in ((1, weak), (2, strong)):
            maps = scored(pictures, noisy(strength, seed))
            found.append(pixel_metrics(weights, pieces_of(partial(iter, maps))[LOGICAL], LOGICAL)["AU-sPRO@0.3"])
        for place, (values, true) in enumerate([(found[0], truth[0]), (found[1] - found[0], truth[1] - truth[0])]):
            low, high = interval(values, 0.95, count)
            held[place] += low <= true <= high
    return held / trials


@pytest.mark.slow
def test_intervals_of_spro_areas_and_differences_cover_the_truth() -> None:
    assert (spro_coverage(trials=100) > 0.90).all()


def sample_of(pictures: list, count: int, seed: int) -> list:
    random = np.random.default_rng([seed, 5])
    return [
        picture
        for kind in (GOOD, LOGICAL)
        for picture in random.permutation(np.array([one for one in pictures if one.kind == kind], object))[:count]
    ]
