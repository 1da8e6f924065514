import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch.nn import functional as F

from extractors.draem import DRAEM
from extractors.draem_losses import draem_loss, focal_loss, ssim
from extractors.draem_networks import Discriminative, Networks, Reconstructive, initialise
from extractors.draem_synthesis import Synthesis
from extractors.textures import OfflineTextures
from extractors.training import Journal, TrainingError, journal

TINY = {"width": 4, "discriminative_width": 4, "epochs": 1, "batch": 2}


def pictures(count=4, size=(64, 64), seed=0):
    """Bright discs on a dark ground with a little noise."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, length) for length in size), indexing="ij")
    disc = ((y**2 + x**2) < 0.4).float() * 0.6 + 0.2
    return (disc + 0.05 * torch.rand(count, 3, *size, generator=generator)).clamp(0, 1)


def parameters(net):
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.fixture(scope="module")
def fitted():
    return DRAEM(**TINY).fit([pictures()])


def test_published_networks_have_the_published_number_of_parameters():
    with torch.device("meta"):
        assert round(parameters(Reconstructive()) / 1e6, 2) == 69.05
        assert round(parameters(Discriminative()) / 1e6, 2) == 28.37


def test_encoder_and_decoder_maps_have_the_published_shapes():
    net = Discriminative(width=2)
    encoded = net.encode(torch.zeros(1, 6, 256, 256))
    assert [tuple(maps.shape[1:]) for maps in encoded] == [
        (2, 256, 256),
        *((4, 128, 128), (8, 64, 64), (16, 32, 32), (16, 16, 16), (16, 8, 8)),
    ]
    decoded = [tuple(net.decode(encoded, steps).shape[1:]) for steps in range(1, 6)]
    assert decoded == [(16, 16, 16), (8, 32, 32), (4, 64, 64), (2, 128, 128), (2, 256, 256)]
    assert Reconstructive(width=2).encoder(torch.zeros(1, 3, 256, 256)).shape == (1, 16, 16, 16)


def test_initial_weights_have_the_published_spread():
    net = Networks(16, 16)
    initialise(net, torch.Generator().manual_seed(0))
    weights = torch.cat([module.weight.flatten() for module in net.modules() if isinstance(module, torch.nn.Conv2d)])
    scales = torch.cat([module.weight for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)])
    assert weights.std().item() == pytest.approx(0.02, rel=0.01)
    assert weights.mean().item() == pytest.approx(0, abs=1e-4)
    assert (scales.mean().item(), scales.std().item()) == pytest.approx((1, 0.02), abs=3e-3)


def test_gradients_of_the_finding_reach_the_repairing():
    net = Networks(2, 2)
    masks = torch.zeros(2, 64, 64, dtype=torch.bool)
    focal_loss(net(torch.rand(2, 3, 64, 64))[1], masks).backward()
    assert net.reconstructive.encoder[0][0].weight.grad.abs().sum() > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cut", "shape"), [("db1", (256, 32, 32)), ("db2", (128, 64, 64)), ("encoder", (1920, 32, 32))]
)
def test_published_features_have_the_published_shapes(cut, shape):
    draem = DRAEM(cut=cut)
    draem.restore(Networks().state_dict())
    assert (draem.channels, 256 // draem.stride) == shape[:2]
    assert draem.features(torch.rand(1, 3, 256, 256)).shape == (1, *shape)


@pytest.mark.parametrize("cut", ["db1", "db2", "encoder"])
@pytest.mark.parametrize("downscale", [1, 2])
@pytest.mark.parametrize("size", [(64, 64), (50, 71), (9, 130)])
def test_features_keep_their_promised_shape_at_any_size(cut, downscale, size):
    draem = DRAEM(width=2, discriminative_width=2, cut=cut, downscale=downscale)
    draem.restore(Networks(2, 2).state_dict())
    expected = (2, draem.channels, math.ceil(size[0] / draem.stride), math.ceil(size[1] / draem.stride))
    images = torch.rand(2, 3, *size)
    assert draem.features(images).shape == expected
    maps, scores = draem.detect(images)
    assert maps.shape == (2, *size)
    assert scores.shape == (2,)
    assert 0 <= maps.min() <= maps.max() <= 1


def test_features_are_the_discriminative_maps_of_repaired_and_given_picture(fitted):
    images, net = pictures(2), fitted.net_
    with torch.no_grad():
        pair = torch.cat([net.reconstructive(images), images], dim=1)
        expected = net.discriminative.decode(net.discriminative.encode(pair), 2)
    torch.testing.assert_close(fitted.features(images), expected)
    assert not fitted.features(images).requires_grad


def test_a_score_is_the_maximum_of_the_21_pixel_means(fitted):
    maps, scores = fitted.detect(pictures(2))
    expected = F.avg_pool2d(maps[:, None], 21, stride=1, padding=10).amax((1, 2, 3))
    torch.testing.assert_close(scores, expected)


def test_focal_loss_equals_a_hand_sum():
    logits = torch.tensor([[[[2.0, 0.0]], [[0.0, 1.0]]]])
    masks = torch.tensor([[[False, False]]])
    total = 0.0
    for truth, other in ((2.0, 0.0), (0.0, 1.0)):
        p = math.exp(truth) / (math.exp(truth) + math.exp(other))
        softened = p * (1 - 1e-5) + (1 - p) * 1e-5 + 1e-5
        total += -((1 - softened) ** 2) * math.log(softened)
    assert focal_loss(logits, masks).item() == pytest.approx(total / 2, rel=1e-5)
    assert focal_loss(logits.flip(1), ~masks).item() == pytest.approx(total / 2, rel=1e-5)


def slow_ssim(first, second):
    """One window after the other in float64, zeros beyond the border."""
    reach = np.arange(-5, 6)
    bell = np.exp(-(reach**2) / (2 * 1.5**2))
    window = np.outer(bell, bell) / bell.sum() ** 2
    first, second = (np.pad(maps.double().numpy(), ((0, 0), (0, 0), (5, 5), (5, 5))) for maps in (first, second))
    values = []
    for x, y in zip(first.reshape(-1, *first.shape[2:]), second.reshape(-1, *second.shape[2:])):
        for row in range(x.shape[0] - 10):
            for column in range(x.shape[1] - 10):
                a, b = (maps[row : row + 11, column : column + 11] for maps in (x, y))
                mean_a, mean_b = (window * a).sum(), (window * b).sum()
                var_a, var_b = (window * a * a).sum() - mean_a**2, (window * b * b).sum() - mean_b**2
                covariance = (window * a * b).sum() - mean_a * mean_b
                luminance = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
                values.append(luminance * (2 * covariance + 9e-4) / (var_a + var_b + 9e-4))
    return np.mean(values)


@pytest.mark.parametrize("size", [(14, 17), (4, 5)])
def test_ssim_equals_the_definition_window_by_window(size):
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.rand(2, 3, *size, generator=generator) for _ in range(2))
    assert ssim(first, second).item() == pytest.approx(slow_ssim(first, second), abs=1e-5)
    assert ssim(first, first).item() == pytest.approx(1, abs=1e-6)


def test_the_loss_is_the_sum_of_its_three_parts():
    generator = torch.Generator().manual_seed(0)
    repaired, clean = (torch.rand(1, 3, 16, 16, generator=generator) for _ in range(2))
    logits, masks = torch.randn(1, 2, 16, 16, generator=generator), torch.rand(1, 16, 16, generator=generator) > 0.5
    expected = ((repaired - clean) ** 2).mean() + 1 - ssim(repaired, clean) + focal_loss(logits, masks)
    torch.testing.assert_close(draem_loss(repaired, clean, logits, masks), expected)


def synthesis(**settings):
    levels = (pictures(3).permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    return Synthesis(levels, OfflineTextures(levels), **settings), levels


def test_altered_pictures_differ_only_under_the_mask():
    made, _ = synthesis()
    clean, altered, masks = made.batch(20, torch.Generator().manual_seed(0))
    changed = (clean != altered).any(1)
    assert not (changed & ~masks).any()
    assert changed.sum() > 0.5 * masks.sum()
    assert clean.shape == altered.shape == (20, 3, 64, 64)
    assert 0 <= altered.min() <= altered.max() <= 1


def test_the_share_without_an_anomaly_is_kept_and_no_anomaly_is_empty():
    generator = torch.Generator().manual_seed(0)
    assert synthesis(clean_ratio=0.0)[0].batch(30, generator)[2].flatten(1).any(1).all()
    assert not synthesis(clean_ratio=1.0)[0].batch(30, generator)[2].any()
    half = synthesis()[0].batch(200, generator)[2].flatten(1).any(1).float().mean()
    assert half == pytest.approx(0.5, abs=0.12)


def test_pictures_that_are_not_turned_are_training_pictures():
    made, levels = synthesis(rotated_ratio=0.0)
    clean = made.batch(5, torch.Generator().manual_seed(0))[0]
    known = torch.from_numpy(levels).permute(0, 3, 1, 2) / 255
    assert all((picture == known).flatten(1).all(1).any() for picture in clean)


def test_an_opaque_anomaly_shows_its_texture():
    levels = np.zeros((1, 32, 32, 3), np.uint8)

    class White:
        def draw(self, size, rng):
            return np.full((*size, 3), 255, np.uint8)

    made = Synthesis(levels, White(), clean_ratio=0.0, max_transparency=0.0)
    _, altered, masks = made.batch(3, torch.Generator().manual_seed(0))
    assert torch.equal(altered, masks[:, None].expand(-1, 3, -1, -1).float())


def test_same_seed_same_numbers_and_another_seed_others(fitted):
    images = pictures(2)
    again, other = DRAEM(**TINY).fit([pictures()]), DRAEM(**TINY, seed=1).fit([pictures()])
    assert torch.equal(fitted.features(images), again.features(images))
    assert not torch.equal(fitted.features(images), other.features(images))


def test_second_fit_forgets_the_first(fitted):
    draem = DRAEM(**TINY).fit([pictures(seed=5)]).fit([pictures()])
    assert torch.equal(draem.features(pictures(2)), fitted.features(pictures(2)))


def test_fit_does_not_depend_on_how_pictures_are_batched(fitted):
    draem = DRAEM(**TINY).fit(pictures().split([1, 3]))
    assert torch.equal(draem.features(pictures(2)), fitted.features(pictures(2)))


def test_a_batch_of_four_gives_what_one_and_three_give(fitted):
    images = pictures(4, seed=9)
    parts = torch.cat([fitted.features(images[:1]), fitted.features(images[1:])])
    torch.testing.assert_close(fitted.features(images), parts, atol=1e-5, rtol=1e-4)


def test_restored_state_gives_bit_identical_results(fitted):
    images, state = pictures(2), fitted.state()
    restored = DRAEM(**TINY).restore(state)
    assert torch.equal(restored.features(images), fitted.features(images))
    assert all(torch.equal(*pair) for pair in zip(restored.detect(images), fitted.detect(images)))
    assert all(tensor.is_contiguous() for tensor in state.values())


def test_a_state_of_other_widths_is_refused(fitted):
    with pytest.raises(ValueError, match="width 8 and discriminative_width 4"):
        DRAEM(width=8, discriminative_width=4).restore(fitted.state())


def test_global_random_states_are_left_alone():
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    DRAEM(**TINY).fit([pictures()])
    assert torch.equal(torch_state, torch.get_rng_state())
    assert all(np.array_equal(*pair) for pair in zip(numpy_state, np.random.get_state()))  # noqa: NPY002


def test_resumed_training_ends_with_the_same_numbers(tmp_path):
    settings = TINY | {"epochs": 3}
    straight = DRAEM(**settings).fit([pictures()])

    def interrupt(_name, done, _epochs, _loss):
        if done == 2:
            raise KeyboardInterrupt

    with journal(Journal(tmp_path, interrupt)), pytest.raises(KeyboardInterrupt):
        DRAEM(**settings).fit([pictures()])
    seen = []
    with journal(Journal(tmp_path, lambda _name, done, _epochs, _loss: seen.append(done))):
        resumed = DRAEM(**settings).fit([pictures()])
    assert seen == [3]
    assert all(torch.equal(*pair) for pair in zip(straight.state().values(), resumed.state().values()))


def test_training_shows_a_falling_loss():
    losses = []
    with journal(Journal(report=lambda _name, _done, _epochs, loss: losses.append(loss))):
        DRAEM(**TINY | {"epochs": 6, "learning_rate": 3e-3}).fit([pictures()])
    assert losses[-1] < losses[0]


def test_a_loss_that_is_not_finite_is_refused():
    with pytest.raises(TrainingError, match="draem: the loss became nan"):
        DRAEM(**TINY | {"epochs": 3}, learning_rate=1e30).fit([pictures()])


def test_textures_can_come_from_a_folder(tmp_path):
    with pytest.raises(ValueError, match="found none below"):
        DRAEM(**TINY, textures=tmp_path).fit([pictures()])


def test_unfitted_use_says_what_to_call():
    for use in (DRAEM().state, lambda: DRAEM().features(pictures()), lambda: DRAEM().detect(pictures())):
        with pytest.raises(RuntimeError, match="DRAEM is not fitted: call fit"):
            use()


@pytest.mark.parametrize("images", [torch.zeros(3, 64, 64), torch.zeros(1, 1, 64, 64), torch.zeros(1, 3, 8, 8).byte()])
def test_wrong_pictures_are_refused(fitted, images):
    for use in (fitted.features, fitted.detect, lambda images: DRAEM(**TINY).fit([images])):
        with pytest.raises(ValueError, match="expected RGB images"):
            use(images)


def test_training_needs_pictures_of_one_size():
    with pytest.raises(ValueError, match="at least 1 normal picture"):
        DRAEM(**TINY).fit([])
    with pytest.raises(ValueError, match="of one size"):
        DRAEM(**TINY).fit([pictures(1), pictures(1, (96, 64))])


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", 0), ("batch", 0), ("downscale", 0), ("clean_ratio", 1.5), ("cut", "db7"), ("max_transparency", -0.1)],
)
def test_settings_out_of_range_are_named(name, value):
    with pytest.raises(ValueError, match=rf"expected {name} .*got '?{value}"):
        DRAEM(**TINY | {name: value}).fit([pictures()])


@pytest.mark.slow
def test_the_map_finds_held_out_perlin_masks_after_a_small_training():
    settings = {"width": 8, "discriminative_width": 8, "epochs": 8, "batch": 4, "learning_rate": 2e-3}
    draem = DRAEM(**settings, rotated_ratio=0.0).fit([pictures(240)])
    unseen = (pictures(30, seed=1).permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    made = Synthesis(unseen, OfflineTextures(unseen), rotated_ratio=0.0)
    _, altered, masks = made.batch(60, torch.Generator().manual_seed(99))
    assert roc_auc_score(masks.flatten(), draem.anomaly_map(altered).flatten()) > 0.9


@pytest.mark.slow
def test_a_published_training_step_stays_below_twelve_gigabytes():
    """In a process of its own, so that the peak is that of the step."""
    step = (
        "import resource, torch; from extractors.draem import DRAEM;"
        "DRAEM(epochs=1).fit([torch.rand(8, 3, 256, 256, generator=torch.Generator().manual_seed(0))]);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    )
    run = subprocess.run([sys.executable, "-c", step], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 12e9
