"""Calibrations against plain loops over normal values, and the laws that ensembles rely on."""

import logging
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from combiners import CALIBRATIONS
from combiners.calibration import KNOTS, Quantile, Rank, Robust, TrimmedZ, ZScore
from combiners.protocol import Calibration

of_every_calibration = pytest.mark.parametrize("name", CALIBRATIONS)


def normal_values(members: int = 3, count: int = 401, seed: int = 0) -> Tensor:
    """Members of very different scale and shape, with ties."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(members, count, generator=generator).abs() ** 2
    values[0] = values[0].mul(4).round() / 4
    return values * torch.tensor([[1.0], [300.0], [0.01]])[:members] + torch.tensor([[0.0], [-50.0], [7.0]])[:members]


def fitted(name: str, normal: Tensor | None = None) -> Calibration:
    return CALIBRATIONS[name]().fit(normal_values() if normal is None else normal)


def quantile(values: list[float], share: float) -> float:
    """By hand: between the two order statistics around position share x (K - 1)."""
    ordered, position = sorted(values), share * (len(values) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def by_z(values: list[float], x: float) -> float:
    mean = sum(values) / len(values)
    return (x - mean) / (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5


def by_robust(values: list[float], x: float) -> float:
    median = statistics.median(values)
    return (x - median) / (1.4826 * statistics.median([abs(value - median) for value in values]))


def by_trimmed(values: list[float], x: float) -> float:
    low, high = quantile(values, 0.2), quantile(values, 0.8)
    return by_z([value for value in values if low <= value <= high], x)


def by_quantile(values: list[float], x: float) -> float:
    low, high = quantile(values, 0.9), quantile(values, 0.995)
    return (x - low) / (high - low) * 0.1


BY_HAND: dict[str, Callable[[list[float], float], float]] = {
    "z_score": by_z,
    "robust": by_robust,
    "trimmed_z": by_trimmed,
    "quantile": by_quantile,
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_scale_is_what_the_loop_over_normal_values_gives(name: str) -> None:
    normal, probes = normal_values(), torch.linspace(-60, 500, 9).expand(3, 9)
    got = fitted(name, normal).transform(probes)
    expected = [[BY_HAND[name](row, x) for x in probes[0].tolist()] for row in normal.double().tolist()]
    torch.testing.assert_close(got, torch.tensor(expected), rtol=1e-4, atol=1e-4)


def test_two_quantiles_become_zero_and_a_tenth() -> None:
    normal = torch.arange(201.0)[None]
    assert Quantile().fit(normal).transform(torch.tensor([[180.0, 199.0, 218.0]])).tolist() == [
        pytest.approx([0.0, 0.1, 0.2])
    ]


def test_a_rank_is_the_share_of_normal_values_at_or_below() -> None:
    normal = normal_values()
    got = fitted("rank", normal).transform(normal)
    for row, values in zip(got.tolist(), normal.tolist()):
        expected = [sum(other <= value for other in values) / len(values) for value in values]
        assert row == pytest.approx(expected, abs=1e-6)


def test_a_rank_by_hand_within_and_beyond_the_normal_values() -> None:
    rank = Rank().fit(torch.tensor([[1.0, 2.0, 2.0, 4.0]]))  # median 2: one unit is 1 below, 2 beyond
    probes = torch.tensor([[1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 0.0, -1.0]])
    expected = [0.25, 0.5, 0.75, 0.875, 1.0, 2.0, 3.0, -0.75, -1.75]
    assert rank.transform(probes)[0].tolist() == pytest.approx(expected)


def test_the_rank_of_many_values_keeps_its_exactness_to_one_knot() -> None:
    normal = torch.randn(1, 3 * KNOTS, generator=torch.Generator().manual_seed(1)).clamp(min=0)
    rank = Rank().fit(normal)
    probes = normal[:, ::997]
    ordered = np.sort(normal[0].numpy())
    expected = np.searchsorted(ordered, probes[0].numpy(), side="right") / normal.shape[1]
    assert np.abs(rank.transform(probes)[0].numpy() - expected).max() < 1.5 / KNOTS
    assert rank.transform(torch.zeros(1, 1)).item() == pytest.approx(float((normal == 0).float().mean()), abs=1e-6)
    assert rank.transform(normal.amax(1, keepdim=True)).item() == pytest.approx(1.0)


@of_every_calibration
def test_the_ranking_of_a_member_stays_as_it_is_also_beyond_normal_values(name: str) -> None:
    normal = normal_values()
    spread = normal.amax(1, keepdim=True) - normal.amin(1, keepdim=True)
    probes = normal.amin(1, keepdim=True) + spread * torch.linspace(-2, 8, 400)
    assert (fitted(name, normal).transform(probes).diff(dim=1) > 0).all()


@of_every_calibration
def test_a_members_units_do_not_matter(name: str) -> None:
    normal, probes = normal_values(), normal_values(count=50, seed=1)
    other = CALIBRATIONS[name]().fit(normal * 8 - 3).transform(probes * 8 - 3)
    torch.testing.assert_close(other, fitted(name, normal).transform(probes), rtol=1e-3, atol=1e-3)


@of_every_calibration
def test_members_do_not_touch_each_other(name: str) -> None:
    together = fitted(name).transform(normal_values(seed=1))
    for index in range(3):
        alone = fitted(name, normal_values()[index : index + 1]).transform(normal_values(seed=1)[index : index + 1])
        assert torch.equal(alone[0], together[index])


@of_every_calibration
def test_maps_and_scores_have_the_shape_they_came_with(name: str) -> None:
    calibration, values = fitted(name), torch.randn(3, 2, 4, 5)
    whole = calibration.transform(values)
    assert whole.shape == values.shape
    assert whole.dtype == torch.float32
    assert torch.equal(calibration.transform(values.flatten(1)).view_as(values), whole)


@of_every_calibration
def test_a_constant_member_is_centred_with_a_warning(name: str, caplog: pytest.LogCaptureFixture) -> None:
    normal = torch.stack([torch.full((9,), 0.1), torch.arange(9.0)])
    with caplog.at_level(logging.WARNING):
        calibration = fitted(name, normal)
    assert "member 1 gives the value 0.1" in caplog.text
    low, same, high = calibration.transform(torch.tensor([[-0.9, 0.1, 1.1], [0.0, 4.0, 8.0]]))[0].tolist()
    assert (same - low, high - same) == pytest.approx((1.0, 1.0), abs=1e-6)


def test_a_member_that_is_mostly_constant_is_scaled_by_its_standard_deviation() -> None:
    values = [0.0] * 7 + [1.0, 3.0, 9.0]
    deviation = statistics.pstdev(values)
    for calibration in (Robust(), TrimmedZ(upper=0.5), Quantile(0.1, 0.6)):
        got = calibration.fit(torch.tensor([values])).transform(torch.tensor([[5.0]])).item()
        assert got == pytest.approx(5.0 / deviation)


@of_every_calibration
def test_one_normal_value_is_enough_to_centre(name: str) -> None:
    calibration = fitted(name, torch.tensor([[2.0]]))
    two, three = calibration.transform(torch.tensor([[2.0, 3.0]]))[0].tolist()
    assert three - two == pytest.approx(1.0)


@of_every_calibration
def test_a_file_gives_back_the_same_bits(name: str, tmp_path: Path) -> None:
    calibration, probes = fitted(name), normal_values(seed=2)
    save_file(calibration.state(), tmp_path / "state.safetensors")
    again = CALIBRATIONS[name]().restore(load_file(tmp_path / "state.safetensors"))
    assert torch.equal(again.transform(probes), calibration.transform(probes))


@of_every_calibration
def test_a_second_fit_forgets_the_first(name: str) -> None:
    twice = fitted(name, normal_values(2, seed=5))
    twice.fit(normal_values())
    assert torch.equal(twice.transform(normal_values(seed=1)), fitted(name).transform(normal_values(seed=1)))


@of_every_calibration
@pytest.mark.parametrize(
    ("normal", "says"),
    [
        (torch.zeros(3), r"expected values \[M, K\] .*, got \[3\]"),
        (torch.zeros(2, 0), r"expected values \[M, K\] of at least one member and picture, got \[2, 0\]"),
        (torch.tensor([[0.0, float("nan")]]), "expected finite values"),
    ],
)
def test_values_that_nothing_can_be_learned_from_are_refused(name: str, normal: Tensor, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        CALIBRATIONS[name]().fit(normal)


@of_every_calibration
def test_another_number_of_members_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"expected the values of 3 detectors, \[3, ...\], got \[2, 4\]"):
        fitted(name).transform(torch.zeros(2, 4))


@of_every_calibration
def test_use_before_fit_says_so(name: str) -> None:
    with pytest.raises(RuntimeError, match="not fitted"):
        CALIBRATIONS[name]().transform(torch.zeros(1, 1))
    with pytest.raises(RuntimeError, match="not fitted"):
        CALIBRATIONS[name]().state()


@pytest.mark.parametrize(
    ("calibration", "says"),
    [
        (TrimmedZ(0.8, 0.2), "expected quantiles 0 <= lower < upper <= 1, got 0.8 and 0.2"),
        (Quantile(upper=1.5), "expected quantiles 0 <= lower < upper <= 1, got 0.9 and 1.5"),
        (Quantile(level=0), "expected a level above 0, got 0"),
    ],
)
def test_parameters_that_cannot_be_are_refused(calibration: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        calibration.fit(normal_values())


def test_an_odd_normal_value_moves_the_mean_and_not_the_median() -> None:
    clean = normal_values(1)
    odd = torch.cat([clean, torch.tensor([[1e6]])], dim=1)
    probes = torch.tensor([[1.0, 2.0]])
    robust = [Robust().fit(values).transform(probes).diff().item() for values in (clean, odd)]
    plain = [ZScore().fit(values).transform(probes).diff().item() for values in (clean, odd)]
    assert robust[1] == pytest.approx(robust[0], rel=0.05)
    assert plain[1] < plain[0] / 1000
