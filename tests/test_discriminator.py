"""The decision layer on fused features, and the noise it learns from."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ensemble_ad.context import context_channels, with_context
from ensemble_ad.discriminator import POOL, Discriminator
from ensemble_ad.simplex import STANDARD_DEVIATION, simplex_fields, simplex_noise


def features(count: int = 6, seed: int = 0) -> Tensor:
    """Fused features of normal pictures, far from zero and of unequal spread."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 5, 8, 8, generator=generator) * torch.arange(1.0, 6.0)[:, None, None] + 50


def small(**changes: object) -> Discriminator:
    return Discriminator(**({"hidden": 16, "epochs": 3, "batch": 64, "learning_rate": 3e-3} | changes))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def fitted() -> Discriminator:
    return small().fit(features().split(2))


def test_features_are_centred_and_scaled_by_their_overall_deviation(fitted: Discriminator) -> None:
    flat = features().transpose(0, 1).flatten(1)
    torch.testing.assert_close(fitted.mean_, flat.mean(1))
    torch.testing.assert_close(fitted.std_, flat.var(1).mean().sqrt())


def test_scores_are_minus_the_normality_of_standardised_cells(fitted: Discriminator) -> None:
    cells = features(2, seed=1)
    scores = fitted.score(cells)
    assert scores.shape == (2, 8, 8)
    for place in [(0, 0, 0), (1, 3, 5), (1, 7, 7)]:
        cell = cells[place[0], :, place[1], place[2]]
        expected = -fitted.net_(((cell - fitted.mean_) / fitted.std_)[None])[0]
        torch.testing.assert_close(scores[place], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("noise", ["gaussian", "simplex"])
def test_noise_is_in_standard_deviations_of_the_features(noise: str) -> None:
    rows = torch.zeros(20_000, 5)
    drawn = Discriminator(noise=noise, noise_std=0.7)._noise(5, (16, 16))(rows, seeded())
    assert drawn.shape == rows.shape
    assert drawn.mean().item() == pytest.approx(0, abs=0.02)
    assert drawn.std().item() == pytest.approx(0.7, rel=0.1 if noise == "simplex" else 0.02)


def test_the_scale_of_the_features_does_not_matter() -> None:
    cells, stretched = features(2, seed=1), features(2, seed=1) * 1024 - 7
    once = small().fit([features()]).score(cells)
    torch.testing.assert_close(small().fit([features() * 1024 - 7]).score(stretched), once, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("noise", ["gaussian", "simplex"])
@pytest.mark.parametrize("adaptor", [True, False])
def test_far_outliers_score_above_normals(noise: str, adaptor: bool) -> None:
    discriminator = small(noise=noise, adaptor=adaptor, epochs=40, noise_std=1.0).fit([features()])
    unseen = features(4, seed=1)
    outliers = unseen.clone()
    outliers[:, :, 2:5, 3:6] += 6 * torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])[:, None, None] * discriminator.std_
    scores = discriminator.score(outliers)
    inside = scores[:, 2:5, 3:6]
    assert inside.min() > discriminator.score(unseen).quantile(0.95)
    outside = torch.ones(8, 8, dtype=torch.bool)
    outside[2:5, 3:6] = False
    torch.testing.assert_close(scores[:, outside], discriminator.score(unseen)[:, outside], atol=1e-5, rtol=1e-5)


def test_same_seed_same_numbers_and_another_seed_others(fitted: Discriminator) -> None:
    cells = features(2, seed=1)
    assert torch.equal(small().fit(features().split(2)).score(cells), fitted.score(cells))
    assert not torch.equal(small(seed=1).fit(features().split(2)).score(cells), fitted.score(cells))


def test_second_fit_forgets_the_first(fitted: Discriminator) -> None:
    twice = small().fit([features(seed=2) * 9]).fit(features().split(2))
    assert torch.equal(twice.score(features(2, seed=1)), fitted.score(features(2, seed=1)))


@pytest.mark.parametrize("noise", ["gaussian", "simplex"])
def test_a_fit_leaves_the_global_generator_alone(noise: str) -> None:
    before = torch.get_rng_state()
    small(noise=noise).fit([features()])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("adaptor", [True, False])
def test_what_was_learned_passes_through_a_file_bit_by_bit(adaptor: bool, tmp_path: Path) -> None:
    discriminator = small(adaptor=adaptor).fit([features()])
    save_file(discriminator.state(), tmp_path / "state.safetensors")
    restored = small(adaptor=adaptor).restore(load_file(tmp_path / "state.safetensors"))
    assert torch.equal(restored.score(features(2, seed=1)), discriminator.score(features(2, seed=1)))


def test_features_without_variance_can_be_scored() -> None:
    constant = torch.full((2, 3, 4, 4), 5.0)
    assert small().fit([constant]).score(constant).isfinite().all()


def test_unfitted_use_says_so() -> None:
    for use in (lambda: small().score(features()), small().state):
        with pytest.raises(RuntimeError, match="Discriminator is not fitted"):
            use()


@pytest.mark.parametrize("wrong", [torch.zeros(2, 4, 8, 8), torch.zeros(5, 8, 8)])
def test_features_of_another_shape_are_refused(fitted: Discriminator, wrong: Tensor) -> None:
    with pytest.raises(ValueError, match=r"expected features \[N, 5, h, w\], got"):
        fitted.score(wrong)


def test_nothing_to_fit_on_is_refused() -> None:
    with pytest.raises(ValueError, match="got none"):
        small().fit([])


def test_simplex_fields_have_mean_zero_and_deviation_one() -> None:
    fields = simplex_fields(500, (32, 32), 4.0, seeded())
    assert fields.mean().item() == pytest.approx(0, abs=0.03)
    assert fields.std().item() == pytest.approx(1, abs=0.03)


def test_simplex_noise_has_the_deviation_it_is_divided_by_and_stays_in_its_range() -> None:
    points = torch.rand(400_000, 3, generator=seeded()) * 200
    noise = simplex_noise(points, torch.randperm(256, generator=seeded()))
    assert noise.std().item() == pytest.approx(STANDARD_DEVIATION, abs=0.003)
    assert noise.abs().max() <= 1.02


def test_simplex_noise_is_continuous_also_across_simplices() -> None:
    start = torch.rand(200, 3, generator=seeded()) * 50
    way = torch.linspace(0, 1, 2001)[:, None]
    table = torch.randperm(256, generator=seeded())
    values = simplex_noise(start[:, None] + way * torch.tensor([1.0, 0.7, -0.4]), table)
    assert values.diff(dim=1).abs().max() < 0.01  # a jump would be of the noise's own size


def test_simplex_noise_is_zero_at_lattice_points() -> None:
    corners = torch.cartesian_prod(*[torch.arange(4.0)] * 3)
    points = corners - corners.sum(1, keepdim=True) / 6
    noise = simplex_noise(points, torch.randperm(256, generator=seeded()))
    torch.testing.assert_close(noise, torch.zeros(64), atol=1e-3, rtol=0)


def test_simplex_fields_are_smooth_over_cells_and_independent_between_channels() -> None:
    fields = simplex_fields(400, (32, 32), 4.0, seeded())
    neighbours = torch.corrcoef(torch.stack([fields[:, :, 1:].flatten(), fields[:, :, :-1].flatten()]))[0, 1]
    channels = torch.corrcoef(torch.stack([fields[::2].flatten(), fields[1::2].flatten()]))[0, 1]
    assert neighbours > 0.8
    assert abs(channels) < 0.05


def test_simplex_negatives_are_cells_of_the_pool_up_to_sign() -> None:
    pool_generator = seeded()
    pool = torch.stack([simplex_fields(2, (4, 4), 4.0, pool_generator) for _ in range(POOL)])
    known = pool.permute(0, 2, 3, 1).flatten(0, 2).abs()
    drawn = Discriminator(noise="simplex", noise_std=1.0)._noise(2, (4, 4))(torch.zeros(50, 2), seeded(3)).abs()
    assert (torch.cdist(drawn, known).amin(1) < 1e-3).all()


@pytest.mark.parametrize("context", ["position", "picture", "both"])
def test_context_leaves_the_cells_own_features_first_and_adds_code_and_place(context: str) -> None:
    rows = torch.randn(2 * 12, 3, generator=seeded())
    seen = with_context(rows, (3, 4), context, torch.tensor(2.0))
    assert torch.equal(seen[:, :3], rows)
    assert seen.shape[1] == 3 + context_channels(3, context)
    if context != "position":
        expected = torch.stack([rows[:12].mean(0), rows[12:].mean(0)]) / 2
        torch.testing.assert_close(seen[:, 3:6], expected.repeat_interleave(12, 0))
    if context != "picture":
        place = seen[:, -8:]
        assert torch.equal(place[:12], place[12:])
        distances = torch.cdist(place[:12], place[:12]) + torch.eye(12) * 9
        assert distances.min() > 0.1
        assert torch.tensor([distances[0, 1], distances[0, 4]]).max() < distances[0, 11]


def test_the_place_tells_a_cell_that_is_normal_elsewhere_only() -> None:
    """The left half of every picture is all 0, the right half all 1; a picture the other way round has no new cell."""
    halves = torch.cat([torch.zeros(8, 2, 4, 2), torch.ones(8, 2, 4, 2)], dim=3)
    halves = halves + torch.randn(8, 2, 4, 4, generator=seeded()) * 0.05
    told = small(context="position", epochs=150, noise_std=1.0).fit([halves])
    assert told.score(halves.flip(3)).mean() > told.score(halves).max()
    blind = small(epochs=150, noise_std=1.0).fit([halves])
    assert torch.allclose(blind.score(halves.flip(3)), blind.score(halves).flip(2))


def test_noise_spares_the_context() -> None:
    drawn = small(noise_std=1.0)._noise(5, (4, 4))(torch.zeros(100, 13), seeded())
    assert (drawn[:, :5] != 0).all()
    assert (drawn[:, 5:] == 0).all()


def test_changed_cells_of_edited_pictures_become_negatives() -> None:
    """A value well inside the noise is called normal, unless edits say that it is not."""
    normal = torch.randn(8, 2, 8, 8, generator=seeded()) * torch.tensor([3.0, 0.3])[:, None, None]
    edited = torch.zeros(8, 2, 8, 8)
    edited[:, 1] = 1.5
    masks = torch.zeros(8, 8, 8, dtype=torch.bool)
    masks[:, 2:4] = True
    plain = small(epochs=60).fit([normal])
    taught = small(epochs=60).fit([normal], [(edited, masks)])
    gains = [(net.score(edited) - net.score(normal)).mean() for net in (plain, taught)]
    assert gains[1] > gains[0] + 0.5


def test_marked_cells_alone_are_negatives() -> None:
    edited, nothing = torch.full((4, 5, 8, 8), 51.0), torch.zeros(4, 8, 8, dtype=torch.bool)
    cells = features(2, seed=1)
    unmarked = small().fit([features()], [(edited, nothing)])
    assert torch.equal(unmarked.score(cells), small().fit([features()]).score(cells))
