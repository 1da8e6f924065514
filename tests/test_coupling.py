"""Flows are bijections, and their volume is the log-determinant of the Jacobian."""

import math

import pytest
import torch
from torch import Tensor, nn

from extractors.ast_networks import teacher_flow
from extractors.coupling import OUTPUT_LIMIT, CouplingBlock, Flow, half_sizes, random_orders, soft_clamp
from extractors.cs_flow import cross_scale_flow

CHANNELS = 5  # odd, so that the halves differ


def awakened(flow: Flow) -> Flow:
    """The flow with weights that make every coupling do something (gamma starts at 0)."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, values in flow.named_parameters():
            if name.endswith("gamma"):
                values.copy_(torch.rand(values.shape, generator=generator) + 0.5)
    flow.standardise([torch.randn(4, *shape, generator=generator) * 3 + 1 for shape in sizes(flow)])
    return flow.eval()


def sizes(flow: Flow) -> list[tuple[int, int, int]]:
    return [(CHANNELS, 4, 2), (CHANNELS, 2, 1), (CHANNELS, 1, 1)][: len(flow.mean)]


FLOWS = pytest.mark.parametrize("build", [cross_scale_flow, teacher_flow], ids=["CS-Flow", "AST"])


@FLOWS
def test_inverse_undoes_forward(build):
    flow = awakened(build(CHANNELS, 8, 0))
    maps = [torch.randn(3, *shape, generator=torch.Generator().manual_seed(2)) for shape in sizes(flow)]
    with torch.no_grad():
        latents, _ = flow(maps)
        back = flow.inverse(latents)
    assert any((latent - scale).abs().max() > 0.1 for latent, scale in zip(latents, maps))
    for scale, returned in zip(maps, back):
        torch.testing.assert_close(returned, scale, atol=1e-4, rtol=0)


@FLOWS
def test_volume_is_the_log_determinant_of_autograds_jacobian(build):
    flow = awakened(build(CHANNELS, 8, 0)).double()
    shapes = sizes(flow)
    lengths = [math.prod(shape) for shape in shapes]

    def flat_latents(flat: Tensor) -> Tensor:
        maps = [part.reshape(1, *shape) for part, shape in zip(flat.split(lengths), shapes)]
        return torch.cat([latent.flatten() for latent in flow(maps)[0]])

    point = torch.randn(sum(lengths), generator=torch.Generator().manual_seed(3)).double()
    expected = torch.linalg.slogdet(torch.autograd.functional.jacobian(flat_latents, point)).logabsdet
    volumes = flow([part.reshape(1, *shape) for part, shape in zip(point.split(lengths), shapes)])[1]
    assert sum(volume.sum() for volume in volumes).item() == pytest.approx(expected.item(), abs=1e-8)


@FLOWS
def test_an_untrained_flow_is_exactly_a_permutation_of_channels(build):
    flow = build(CHANNELS, 8, 0)
    maps = [torch.randn(2, *shape, generator=torch.Generator().manual_seed(4)) for shape in sizes(flow)]
    latents, volumes = flow(maps)
    for number, (scale, latent, volume) in enumerate(zip(maps, latents, volumes)):
        order = torch.arange(CHANNELS)
        for block in flow.blocks:
            order = order[block.orders[number]]
        assert torch.equal(latent, scale[:, order])
        assert torch.equal(volume, torch.zeros_like(volume))


@FLOWS
def test_the_seed_alone_decides_permutations_and_weights(build):
    torch.manual_seed(5)
    first = build(CHANNELS, 8, 7).state_dict()
    torch.manual_seed(6)
    again, other = build(CHANNELS, 8, 7).state_dict(), build(CHANNELS, 8, 8).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first if name.endswith("orders"))


@FLOWS
def test_building_leaves_the_global_generator_alone(build):
    before = torch.get_rng_state()
    build(CHANNELS, 8, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_standardised_features_leave_an_untrained_flow_with_mean_0_and_deviation_1():
    flow = cross_scale_flow(CHANNELS, 8, 0)
    generator = torch.Generator().manual_seed(8)
    maps = [
        torch.randn(6, *shape, generator=generator) * 5 - 2
        for shape in [(CHANNELS, 8, 8), (CHANNELS, 4, 4), (CHANNELS, 2, 2)]
    ]
    flow.standardise(maps)
    for latent in flow(maps)[0]:
        torch.testing.assert_close(latent.mean((0, 2, 3)), torch.zeros(CHANNELS), atol=1e-5, rtol=0)
        torch.testing.assert_close(latent.std((0, 2, 3)), torch.ones(CHANNELS))


def test_a_coupling_by_hand():
    """Halves (x1, x2): x1' = x1 exp(s) + t with s, t read from x2, then x2' = x2 exp(s') + t' read from x1'."""

    class Fixed(nn.Module):
        def forward(self, maps: list[Tensor]) -> list[Tensor]:
            return [torch.cat([scale, 2 * scale], dim=1) for scale in maps]

    block = CouplingBlock(torch.tensor([[1, 0]]), Fixed(), Fixed(), clamp=2.0)
    given = torch.tensor([0.5, -1.0]).view(1, 2, 1, 1)
    (result,), (volume,) = block([given])

    def squeezed(value: float) -> float:
        return 0.636 * 2.0 * math.atan(value / 2.0)

    first, second = -1.0, 0.5  # after the permutation
    first_stretch = squeezed(second)
    first = first * math.exp(first_stretch) + 2 * second
    second_stretch = squeezed(first)
    second = second * math.exp(second_stretch) + 2 * first
    assert result.flatten().tolist() == pytest.approx([first, second])
    assert volume.item() == pytest.approx(first_stretch + second_stretch)


def test_outputs_are_cut_off_at_a_million():
    flow = teacher_flow(4, 2, 0)
    assert flow([torch.full((1, 4, 2, 2), 1e9)])[0][0].max() == OUTPUT_LIMIT


def test_clamped_values_stay_inside_the_limit_and_keep_small_ones_almost_as_they_are():
    values = torch.tensor([-1e6, -0.01, 0.0, 0.01, 1e6])
    clamped = soft_clamp(values, 3.0)
    assert clamped.abs().max() < 3.0
    torch.testing.assert_close(clamped[1:4], 0.636 * values[1:4], rtol=1e-4, atol=0)


def test_every_row_of_orders_is_a_permutation_of_its_own():
    orders = random_orders(3, 64, torch.Generator().manual_seed(0))
    assert all(torch.equal(order.sort().values, torch.arange(64)) for order in orders)
    assert not torch.equal(orders[0], orders[1])


def test_halves_add_up():
    assert [sum(half_sizes(channels)) for channels in (2, 5, 304)] == [2, 5, 304]
