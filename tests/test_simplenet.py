"""SimpleNet: its cuts, its map and its score follow from its network."""

import pytest
import torch
from torch import Tensor

from extractors.backbone import Backbone
from extractors.patches import embed
from extractors.rows import as_rows
from extractors.simplenet import SimpleNet
from extractors.smoothing import to_picture

LAYERS = ("layer2", "layer3")


def small(**changes: object) -> SimpleNet:
    settings = {"backbone": "test_resnet", "layers": LAYERS, "weights": "random", "dimension": 24, "hidden": 8}
    return SimpleNet(**(settings | {"epochs": 2, "batch": 2} | changes))


def pictures(count: int = 4) -> Tensor:
    return torch.rand(count, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def fitted() -> SimpleNet:
    return small().fit([pictures()])


@pytest.fixture(scope="module")
def adapted(fitted: SimpleNet) -> Tensor:
    """Rows `[n, 24]` after the adaptor, step by step."""
    rows = as_rows(embed(Backbone("test_resnet", LAYERS, "random").maps(pictures()), "official", 24))
    return rows @ fitted.net_.adaptor.weight.T + fitted.net_.adaptor.bias


def test_published_settings_declare_the_published_shapes() -> None:
    published = SimpleNet(weights="random")
    assert (published.channels, published.stride, published.hidden) == (1536, 8, 1024)
    assert published.epochs == 40 * 4
    assert SimpleNet(weights="random", cut="hidden").channels == 1024


def test_features_are_the_adapted_patches(fitted: SimpleNet, adapted: Tensor) -> None:
    torch.testing.assert_close(as_rows(fitted.features(pictures())), adapted, atol=1e-5, rtol=1e-5)


def test_the_hidden_cut_is_what_the_head_weighs(fitted: SimpleNet, adapted: Tensor) -> None:
    hidden = small(cut="hidden").restore(fitted.state())
    rows = as_rows(hidden.features(pictures()))
    torch.testing.assert_close(rows @ fitted.net_.head.weight[0], fitted.net_.normality(adapted), atol=1e-5, rtol=1e-4)


def test_map_and_score_are_minus_the_normality(fitted: SimpleNet, adapted: Tensor) -> None:
    cells = -fitted.net_.normality(adapted).view(4, 8, 12)
    maps, scores = fitted.detect(pictures())
    torch.testing.assert_close(scores, cells.amax((1, 2)), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(maps, to_picture(cells, (64, 96), 4.0), atol=1e-5, rtol=1e-4)


def test_the_score_is_taken_before_smoothing(fitted: SimpleNet) -> None:
    sharp = small(sigma=0.5).restore(fitted.state())
    assert torch.equal(sharp.image_score(pictures()), fitted.image_score(pictures()))
    assert not torch.equal(sharp.anomaly_map(pictures()), fitted.anomaly_map(pictures()))


def test_a_wider_noise_is_another_training(fitted: SimpleNet) -> None:
    wide = small(noise_std=1.0).fit([pictures()])
    assert not torch.equal(wide.net_.head.weight, fitted.net_.head.weight)


def test_the_split_into_batches_does_not_matter(fitted: SimpleNet) -> None:
    again = small().fit(pictures().split(1))
    assert all(torch.equal(again.state()[key], tensor) for key, tensor in fitted.state().items())


def test_a_state_of_another_width_is_refused(fitted: SimpleNet) -> None:
    with pytest.raises((RuntimeError, ValueError), match="size mismatch"):
        small(hidden=9).restore(fitted.state())
