"""DeLong, Wilcoxon, Holm, Friedman and Nemenyi against definitions, scipy and published examples."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from ensemble_ad.comparison.delong import Placements, delong, mean_placements, placements
from ensemble_ad.comparison.diagram import cliques
from ensemble_ad.comparison.ranks import critical_difference, friedman, holm, signed_ranks, smallest_p

DEMSAR_RANKS = np.array(
    [
        [4, 3, 2, 1], [1, 2, 3, 4], [4, 1, 2, 3], [4, 1, 3, 2], [4, 2, 3, 1], [1, 2.5, 4, 2.5], [3, 2, 4, 1],
        [2.5, 2.5, 4, 1], [4, 3, 2, 1], [2.5, 2.5, 2.5, 2.5], [4, 2.5, 1, 2.5], [3, 2, 4, 1], [4, 1, 2, 3],
        [3, 1, 4, 2],
    ]
)  # fmt: skip
"""Demšar (JMLR 2006), table 6: C4.5, C4.5+m, C4.5+cf and C4.5+m+cf on 14 data sets."""
DEMSAR_DIFFERENCES = [0.005, -0.008, 0.017, 0.033, 0.006, -0.005, 0.007, 0, 0.063, 0, 0.022, 0.047, 0.009, 0.021]
"""The same, table 2: C4.5+m minus C4.5."""


def plain_delong(good: np.ndarray, anomalous: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUROCs [detectors] and their covariance, pair of pictures by pair, from scores [detectors, pictures]."""
    wins = (anomalous[:, :, None] > good[:, None, :]) + 0.5 * (anomalous[:, :, None] == good[:, None, :])
    by_anomalous, by_good = wins.mean(axis=2), wins.mean(axis=1)
    return wins.mean(axis=(1, 2)), np.cov(by_anomalous) / anomalous.shape[1] + np.cov(by_good) / good.shape[1]


@pytest.mark.parametrize("decimals", [8, 0])
def test_delong_is_the_covariance_of_the_pairs(decimals: int) -> None:
    random = np.random.default_rng(3)
    good = random.normal(0, 2, (2, 30)).round(decimals)
    anomalous = random.normal(2, 2, (2, 17)).round(decimals)
    aurocs, covariance = plain_delong(good, anomalous)
    first, second = (placements(good[place], anomalous[place]) for place in (0, 1))
    labels = np.repeat([0, 1], [30, 17])
    assert first.auroc == pytest.approx(roc_auc_score(labels, np.concatenate([good[0], anomalous[0]])))
    assert (first.auroc, second.auroc) == pytest.approx(tuple(aurocs))
    assert first.good.mean() == pytest.approx(first.auroc)
    error, p = delong(first, second)
    assert error == pytest.approx(np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]))
    assert p == pytest.approx(2 * stats.norm.sf(abs(aurocs[0] - aurocs[1]) / error))


def test_delong_finds_nothing_in_equals_as_often_as_it_should() -> None:
    random = np.random.default_rng(5)
    found = 0
    for _ in range(400):
        good, anomalous = random.standard_normal((3, 40)), random.standard_normal((3, 40)) + 1
        sides = [placements(good[0] + good[place], anomalous[0] + anomalous[place]) for place in (1, 2)]
        found += delong(*sides)[1] < 0.05
    assert 0.02 < found / 400 < 0.09


def test_delong_of_means_over_seeds_is_that_of_the_mean_auroc() -> None:
    random = np.random.default_rng(6)
    seeds = [placements(random.standard_normal(20), random.standard_normal(15) + 1) for _ in range(3)]
    together = mean_placements(seeds)
    assert together.auroc == pytest.approx(np.mean([one.auroc for one in seeds]))
    assert delong(together, together) == pytest.approx((np.nan, np.nan), nan_ok=True)


def test_delong_says_nothing_without_variance() -> None:
    perfect = placements(np.arange(5.0), np.arange(10.0, 15.0))
    single = Placements(np.array([1.0]), np.array([1.0]))
    assert np.isnan(delong(perfect, perfect)).all()
    assert np.isnan(delong(single, single)).all()


def test_signed_ranks_of_demsar() -> None:
    """Section 3.1.3: R+ = 93, R- = 12, below the critical value of 21 for 14 data sets at 0.05."""
    found = signed_ranks(DEMSAR_DIFFERENCES)
    assert (found.positive, found.negative) == (93, 12)
    assert found.p < 0.05


@pytest.mark.parametrize("count", [2, 5, 10])
def test_signed_ranks_are_scipys(count: int) -> None:
    random = np.random.default_rng(count)
    plain, tied = random.standard_normal(count), random.integers(-3, 4, count).astype(float)
    assert signed_ranks(plain).p == pytest.approx(stats.wilcoxon(plain, method="exact").pvalue)
    everything = stats.PermutationMethod(n_resamples=2**count)
    assert signed_ranks(tied).p == pytest.approx(stats.wilcoxon(tied, zero_method="zsplit", method=everything).pvalue)


def test_signed_ranks_know_their_limits() -> None:
    assert signed_ranks([0.0, 0.0]).p == 1
    assert signed_ranks([0.3]).p == 1
    assert [smallest_p(count) for count in (1, 2, 5, 6)] == [1, 0.5, 0.0625, 0.03125]
    assert signed_ranks(np.arange(1.0, 8)).p == smallest_p(7)


def test_holm_by_hand() -> None:
    """0.01 x 4; 0.02 x 3 = 0.06; 0.03 x 2 = 0.06; 0.9 x 1."""
    assert holm([0.02, 0.9, 0.01, 0.03]) == pytest.approx([0.06, 0.9, 0.04, 0.06])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []


def test_friedman_of_demsar() -> None:
    """Section 3.2.4: average ranks 3.143, 2.000, 2.893, 1.964; chi-squared 9.28, F 3.69 with 3 and 39 degrees."""
    found = friedman(-DEMSAR_RANKS)
    assert found.average_ranks == pytest.approx((3.143, 2.0, 2.893, 1.964), abs=5e-4)
    assert found.chi_squared == pytest.approx(9.28, abs=5e-3)
    assert found.p == pytest.approx(stats.f.sf(3.69, 3, 39), rel=0.02)
    assert found.critical_difference == pytest.approx(1.25, abs=5e-3)
    assert critical_difference(14, 4, 0.90) == pytest.approx(1.12, abs=5e-3)


def test_friedman_is_scipys_where_nothing_is_tied() -> None:
    values = np.random.default_rng(2).standard_normal((9, 4))
    assert friedman(values).chi_squared == pytest.approx(stats.friedmanchisquare(*values.T).statistic)


def test_friedman_of_classes_that_all_agree() -> None:
    """Each of four further classes repeats the first one's order by a chance of 1 / 3!."""
    found = friedman(np.array([[3.0, 2.0, 1.0]] * 5))
    assert found.average_ranks == (1, 2, 3)
    assert found.p == pytest.approx(6**-4)


@pytest.mark.parametrize(("detectors", "quantile"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_the_critical_difference_has_the_tabled_quantiles(detectors: int, quantile: float) -> None:
    """Demšar, table 5a."""
    expected = quantile * np.sqrt(detectors * (detectors + 1) / (6 * 8))
    assert critical_difference(8, detectors) == pytest.approx(expected, abs=2e-3)


def test_bars_join_what_cannot_be_told_apart() -> None:
    """Demšar, figure 1a of the same example at 0.10: C4.5 is apart from the two with +m, C4.5+cf is not."""
    rising = [1.964, 2.0, 2.893, 3.143]
    assert cliques(rising, 1.12) == [(0, 2), (2, 3)]
    assert cliques(rising, 5.0) == [(0, 3)]
    assert cliques(rising, 0.01) == []
