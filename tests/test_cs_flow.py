"""CS-Flow: published numbers, published shapes, and what its users may rely on."""

import itertools
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from extractors.backbone import Backbone
from extractors.cs_flow import KERNELS, CrossScaleNetwork, CSFlow, cross_scale_flow, likelihood_loss
from extractors.frozen_features import FrozenFeatures, shuffled_batches
from extractors.training import Journal, journal

TINY = CSFlow(backbone="test_resnet", layers=("layer2",), weights="random", image_scale=1, hidden=8, epochs=2, batch=2)


def tiny(**changes: object) -> CSFlow:
    return replace(TINY, **changes)


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    return torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def fitted(pictures: Tensor) -> CSFlow:
    return tiny().fit([pictures[:2], pictures[2:]])


def test_the_published_flow_has_275_2_million_parameters():
    with torch.device("meta"):
        networks = [CrossScaleNetwork(152, 304, 1024, kernel) for kernel in KERNELS for _ in range(2)]
    count = sum(values.numel() for network in networks for values in network.parameters())
    assert round(count / 1e6, 1) == 275.2


def test_loss_is_the_hand_sum():
    latents = [torch.tensor([[[[1.0, 2.0]]], [[[0.0, 1.0]]]]), torch.tensor([[[[3.0]]], [[[2.0]]]])]
    volumes = [torch.tensor([[[0.5, 0.0]], [[0.0, 1.0]]]), torch.tensor([[[1.0]], [[0.0]]])]
    first = (1 + 4 + 9) / 2 - 1.5
    second = (0 + 1 + 4) / 2 - 1.0
    assert likelihood_loss(latents, volumes).item() == pytest.approx((first + second) / 2 / 3)


@pytest.mark.parametrize(("image_scale", "side"), [(1, 8), (3, 24)])
def test_published_shapes_at_256_px(image_scale: int, side: int):
    published = CSFlow(weights="random", image_scale=image_scale)
    assert (published.channels, published.stride) == (912, {1: 32, 3: 11}[image_scale])
    assert published._frozen.grid(torch.empty(1, 3, 256, 256)) == [side, side]


@pytest.mark.slow
def test_the_three_maps_at_256_px_are_304_channels_on_8_4_and_2_cells():
    frozen = FrozenFeatures(Backbone("tf_efficientnet_b5", ("blocks.5",), "random"), 1, 3)
    assert [tuple(scale.shape) for scale in frozen(torch.rand(1, 3, 256, 256))] == [
        (1, 304, 8, 8),
        (1, 304, 4, 4),
        (1, 304, 2, 2),
    ]


def test_grids_of_neighbouring_scales_fit_whatever_the_size():
    frozen = FrozenFeatures(Backbone("test_resnet", ("layer2",), "random"), 1, 3)
    for height, width in [(64, 64), (65, 40), (66, 33), (90, 57)]:
        grids = [scale.shape[2:] for scale in frozen(torch.rand(1, 3, height, width))]
        for fine, coarse in itertools.pairwise(grids):
            assert tuple(coarse) == tuple((side + 1) // 2 for side in fine)


def test_an_untrained_flow_gives_back_the_backbones_channels_in_another_order(pictures: Tensor):
    untrained = tiny().restore(tiny()._flow().state_dict())
    maps = FrozenFeatures(Backbone("test_resnet", ("layer2",), "random"), 1, 3)(pictures)
    finest = untrained.features(pictures)[:, : maps[0].shape[1]]
    assert torch.equal(finest.sort(1).values, maps[0].sort(1).values)


def test_scores_follow_from_the_latents_as_published(fitted: CSFlow, pictures: Tensor):
    with torch.no_grad():
        latents = fitted.flow_(fitted._frozen(pictures))[0]
    maps, scores = fitted.detect(pictures)
    for row in range(len(pictures)):
        energies = torch.cat([latent[row].flatten() for latent in latents]) ** 2 / 2
        assert scores[row].item() == pytest.approx(energies.mean().item(), rel=1e-5)
    energy = (latents[0] ** 2).mean(1, keepdim=True)
    expected = torch.nn.functional.interpolate(energy, (64, 64), mode="bilinear")[:, 0]
    torch.testing.assert_close(maps, expected)


def test_training_lowers_the_loss(pictures: Tensor):
    losses: list[float] = []
    with journal(Journal(report=lambda _name, _done, _epochs, loss: losses.append(loss))):
        tiny(epochs=6, learning_rate=1e-3).fit([pictures])
    assert len(losses) == 6
    assert losses[-1] < losses[0]


def test_standardised_training_starts_lower(pictures: Tensor):
    losses: list[float] = []
    with journal(Journal(report=lambda _name, _done, _epochs, loss: losses.append(loss))):
        tiny(epochs=1).fit([pictures])
        tiny(epochs=1, standardise=True).fit([pictures])
    assert losses[1] < losses[0]


def test_several_layers_lie_on_the_finest_grid(pictures: Tensor):
    both = tiny(layers=("layer2", "layer3"), epochs=1).fit([pictures])
    assert (both.channels, both.stride) == (3 * (48 + 192), 8)
    assert both.features(pictures[:1]).shape == (1, 720, 8, 8)


@pytest.mark.parametrize(("height", "width", "image_scale"), [(64, 48, 1), (50, 70, 2), (65, 64, 3)])
def test_features_keep_their_promise_about_the_grid(height: int, width: int, image_scale: int):
    pictures = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1))
    extractor = tiny(image_scale=image_scale, epochs=1).fit([pictures])
    grid = (-(-height // extractor.stride), -(-width // extractor.stride))
    assert extractor.features(pictures).shape == (2, extractor.channels, *grid)
    assert extractor.anomaly_map(pictures).shape == (2, height, width)


def test_state_restores_bit_by_bit(fitted: CSFlow, pictures: Tensor):
    again = tiny().restore(fitted.state())
    assert torch.equal(again.features(pictures), fitted.features(pictures))
    assert all(torch.equal(one, two) for one, two in zip(again.detect(pictures), fitted.detect(pictures)))


def test_a_state_of_other_settings_is_refused(fitted: CSFlow):
    with pytest.raises(ValueError, match="other settings"):
        tiny(hidden=4).restore(fitted.state())


def test_the_global_generators_are_left_alone(pictures: Tensor):
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    tiny().fit([pictures]).features(pictures)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


def test_a_killed_training_ends_with_the_numbers_of_an_uninterrupted_one(pictures: Tensor, tmp_path):
    whole = tiny(epochs=3).fit([pictures]).state()

    def stop(_name: str, done: int, _epochs: int, _loss: float) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), journal(Journal(tmp_path, stop)):
        tiny(epochs=3).fit([pictures])
    finished: list[int] = []
    with journal(Journal(tmp_path, lambda _name, done, _epochs, _loss: finished.append(done))):
        resumed = tiny(epochs=3).fit([pictures]).state()
    assert finished == [3]
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_unfitted_no_pictures_and_unequal_pictures_are_refused(pictures: Tensor):
    with pytest.raises(RuntimeError, match="CSFlow is not fitted"):
        tiny().features(pictures)
    with pytest.raises(ValueError, match="got feature grids none"):
        tiny().fit([])
    with pytest.raises(ValueError, match="pictures of one size"):
        tiny().fit([pictures, pictures[:, :, :32]])


def test_an_epoch_shows_every_picture_once_in_batches_of_nearly_equal_size():
    def parts(seed: int) -> Iterator[Tensor]:
        return shuffled_batches(33, 16, torch.Generator().manual_seed(seed))

    assert sorted(torch.cat(list(parts(0))).tolist()) == list(range(33))
    assert [len(part) for part in parts(0)] == [11, 11, 11]
    assert not torch.equal(next(parts(0)), next(parts(1)))


PUBLISHED_STEP = """
import torch
from torch import nn
from extractors.cs_flow import cross_scale_flow, _step
flow = cross_scale_flow(304, 1024, 0)
optimiser = torch.optim.Adam(flow.parameters(), lr=2e-4, eps=1e-4, weight_decay=1e-5)
print(_step(flow, optimiser, [torch.randn(16, 304, side, side) for side in (24, 12, 6)]))
"""


@pytest.mark.slow
def test_a_published_training_step_takes_less_than_12_gb():
    subprocess.run([sys.executable, "-c", PUBLISHED_STEP], check=True, timeout=1500)
    kilobytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert kilobytes / 2**20 < 12


def test_the_published_flow_is_what_the_class_builds():
    blocks = cross_scale_flow(304, 2, 0).blocks
    assert [block.first.enter[0].kernel_size for block in blocks] == [(3, 3), (3, 3), (3, 3), (5, 5)]
    assert {block.clamp for block in blocks} == {3.0}
