"""SimpleNet's decision layer: published sizes, its loss by hand, and a training that can be cut in two."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from extractors.noise_contrast import Contrast, Recipe, contrast, create, hinge
from extractors.training import Journal, journal


def recipe(**changes: float) -> Recipe:
    settings = {
        "epochs": 4,
        "rows_per_step": 64,
        "learning_rate": 1e-2,
        "weight_decay": 1e-5,
        "adaptor_learning_rate": 1e-3,
        "adaptor_weight_decay": 0.01,
        "margin": 0.5,
        "seed": 0,
    }
    return Recipe(**(settings | changes))


def normals(count: int = 500, channels: int = 6) -> Tensor:
    return torch.randn(count, channels, generator=torch.Generator().manual_seed(0))


def gaussian(adapted: Tensor, generator: torch.Generator) -> Tensor:
    return 2 * torch.randn(adapted.shape, generator=generator)


def trained(rows: Tensor | None = None, *, adaptor: bool = True, **changes: float) -> Contrast:
    rows = normals() if rows is None else rows
    net = create(rows.shape[1], 16, 0, adaptor=adaptor)
    return contrast("contrast", net, rows, gaussian, recipe(**changes))


def parameters(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def equal(one: nn.Module, other: nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return all(torch.equal(first[key], second[key]) for key in first)


def test_simplenet_at_published_width_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        net = Contrast(1536, 1024, adaptor=True)
    assert parameters(net.adaptor) == 2_360_832
    assert parameters(net.hidden) + parameters(net.head) == 1_576_960


@pytest.mark.parametrize(
    ("normal", "negative", "expected"),
    [
        ([0.5, 2.0], [-0.5, -3.0], 0.0),  # beyond the margin on both sides
        ([0.0, 0.0], [0.0], 0.5 + 0.5),
        ([1.0, -1.0], [-1.0, 0.25, 0.0], 1.5 / 2 + (0.75 + 0.5) / 3),
    ],
)
def test_hinge_by_hand(normal: list[float], negative: list[float], expected: float) -> None:
    assert float(hinge(torch.tensor(normal), torch.tensor(negative), 0.5)) == pytest.approx(expected)


def test_normality_is_two_layers_with_a_batch_norm_between() -> None:
    net, rows = trained(), normals(9)
    linear, norm = net.hidden[0], net.hidden[1]
    hidden = net.adaptor.weight @ rows.T + net.adaptor.bias[:, None]
    hidden = linear.weight @ hidden + linear.bias[:, None]
    hidden = (hidden - norm.running_mean[:, None]) / (norm.running_var[:, None] + norm.eps).sqrt()
    hidden = hidden * norm.weight[:, None] + norm.bias[:, None]
    expected = net.head.weight[0] @ torch.where(hidden > 0, hidden, 0.2 * hidden)
    torch.testing.assert_close(net(rows), expected, atol=1e-5, rtol=1e-5)


def test_normal_and_noisy_rows_share_batch_statistics() -> None:
    rows = normals(64)
    net = create(6, 16, 0, adaptor=False)
    linear = F.linear(torch.cat([rows, rows + 100]), net.hidden[0].weight, net.hidden[0].bias)
    far = contrast("far", net, rows, lambda adapted, _: torch.full_like(adapted, 100), recipe(epochs=1, seed=3))
    torch.testing.assert_close(far.hidden[1].running_mean, 0.1 * linear.mean(0))
    torch.testing.assert_close(far.hidden[1].running_var, 0.9 + 0.1 * linear.var(0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("adaptor", [True, False])
def test_far_rows_are_less_normal_after_training(adaptor: bool) -> None:
    net = trained(adaptor=adaptor, epochs=20)
    unseen = torch.randn(200, 6, generator=torch.Generator().manual_seed(1))
    assert float((net(unseen)[:, None] > net(unseen * 4)[None]).float().mean()) > 0.85


def test_a_trained_network_is_frozen_and_in_eval_mode() -> None:
    net = trained()
    assert not net.training
    assert not any(weight.requires_grad for weight in net.parameters())


def test_without_an_adaptor_rows_stay_as_they_are() -> None:
    net = create(6, 16, 0, adaptor=False)
    assert torch.equal(net.adaptor(normals()), normals())


def test_the_seed_alone_draws_the_weights() -> None:
    before = torch.get_rng_state()
    assert equal(create(6, 16, 3, adaptor=True), create(6, 16, 3, adaptor=True))
    assert not equal(create(6, 16, 3, adaptor=True), create(6, 16, 4, adaptor=True))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("count", [65, 128, 1])
def test_a_last_batch_of_one_row_does_not_break_the_batch_norm(count: int) -> None:
    if count == 1:
        rows, changes = normals(1), {"rows_per_step": 64}
    else:
        rows, changes = normals(count), {"rows_per_step": 64}
    assert all(weight.isfinite().all() for weight in trained(rows, **changes).parameters())


def test_a_training_that_was_cut_in_two_ends_with_the_same_bits(tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def kill(_name: str, done: int, _epochs: int, _loss: float) -> None:
        if done == 2:
            raise KilledError

    with pytest.raises(KilledError), journal(Journal(tmp_path, kill)):
        trained()
    with journal(Journal(tmp_path)):
        resumed = trained()
    assert equal(resumed, trained())


@pytest.mark.parametrize("fault", [{"epochs": 0}, {"rows_per_step": 1}])
def test_a_recipe_that_would_train_nothing_is_refused(fault: dict) -> None:
    sound = {"epochs": 1, "rows_per_step": 2, "learning_rate": 1e-3, "weight_decay": 0.0, "margin": 0.5, "seed": 0}
    sound |= {"adaptor_learning_rate": 1e-3, "adaptor_weight_decay": 0.0}
    Recipe(**sound)
    with pytest.raises(ValueError, match="epochs of at least 1 and a batch of at least 2"):
        Recipe(**{**sound, **fault})


def test_a_hidden_layer_without_units_is_refused() -> None:
    with pytest.raises(ValueError, match="hidden of at least 1, got 0"):
        create(4, 0, seed=0, adaptor=False)
