"""Reverse distillation: the published network sizes, the laws of its distance, and the promises of an extractor."""

import math
import resource

import pytest
import torch
from torch import Tensor, nn

from extractors.protocol import Method
from extractors.reverse_distillation import ReverseDistillation, difference, distance, whole_map_loss
from extractors.reverse_student import Student
from extractors.runtime import Runtime, using
from extractors.training import Journal, TrainingError, journal

WIDE_RESNET = (256, 512, 1024)
TINY = ("layer1", "layer2", "layer3")


def tiny(**changes: object) -> ReverseDistillation:
    settings = {"backbone": "test_resnet", "layers": TINY, "weights": "random", "epochs": 1, "batch": 2}
    return ReverseDistillation(**(settings | {"blocks": (1, 1, 1, 1), "width": 0.1} | changes))


def pictures(count: int = 4, height: int = 64, width: int = 64, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def parameters(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


@pytest.fixture(scope="module")
def fitted() -> ReverseDistillation:
    return tiny().fit([pictures()])


def test_published_student_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        student = Student(WIDE_RESNET)
    uncalled = 4096 * 2048 + 2 * 2048  # conv4 and bn4 of the released bottleneck, which its forward never calls
    assert parameters(student.bottleneck) + uncalled == 67_277_824  # 67.3 M
    assert parameters(student.decoder) == 24_917_504  # 24.9 M


def test_published_shapes_at_256_pixels() -> None:
    maps = [torch.empty(1, 256, 64, 64), torch.empty(1, 512, 32, 32), torch.empty(1, 1024, 16, 16)]
    with torch.device("meta"):
        student = Student(WIDE_RESNET)
        maps = [each.to("meta") for each in maps]
    assert student.bottleneck(maps).shape == (1, 2048, 8, 8)
    assert [each.shape for each in student(maps)] == [each.shape for each in maps]


@pytest.mark.parametrize(
    ("cut", "channels", "stride"), [("decoder", 1792, 8), ("difference", 1792, 8), ("bottleneck", 2048, 32)]
)
def test_published_cuts_declare_their_shape_before_fit(cut: str, channels: int, stride: int) -> None:
    published = ReverseDistillation(weights="random", cut=cut)
    assert (published.channels, published.stride) == (channels, stride)


def test_efficientnet_lite_can_be_the_teacher() -> None:
    small = ReverseDistillation("tf_efficientnet_lite0", ("blocks.1", "blocks.2", "blocks.4"), "random")
    assert (small.channels, small.stride) == (24 + 40 + 112, 8)


def test_distance_is_zero_where_the_student_equals_the_teacher() -> None:
    maps = torch.randn(2, 5, 3, 4)
    assert torch.equal(distance(maps, maps.clone()), torch.zeros(2, 3, 4))


@pytest.mark.parametrize("scale", [1e-3, 7.0, 1e4])
def test_distance_ignores_the_positive_scale_of_either_side(scale: float) -> None:
    taught, learned = torch.randn(2, 5, 3, 4), torch.randn(2, 5, 3, 4)
    torch.testing.assert_close(distance(scale * taught, learned), distance(taught, learned))
    torch.testing.assert_close(distance(taught, scale * learned), distance(taught, learned))


def test_distance_is_one_minus_the_cosine_of_each_cell() -> None:
    taught = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    learned = torch.tensor([[4.0, 3.0], [-3.0, -4.0], [4.0, -3.0]]).view(3, 2, 1, 1)
    expected = torch.tensor([1 - 24 / 25, 2.0, 1.0]).view(3, 1, 1)
    torch.testing.assert_close(distance(taught.expand(3, -1, -1, -1), learned), expected)


def test_half_the_square_of_the_difference_cut_is_the_distance() -> None:
    taught, learned = torch.randn(2, 5, 3, 4), torch.randn(2, 5, 3, 4)
    expected = 1 - nn.functional.cosine_similarity(taught, learned, dim=1)
    torch.testing.assert_close(difference(taught, learned).square().sum(1) / 2, expected)


def test_loss_equals_a_hand_sum_over_whole_maps() -> None:
    taught = [torch.randn(3, 2, 4, 4), torch.randn(3, 4, 2, 2), torch.randn(3, 8, 1, 1)]
    learned = [torch.randn_like(each) for each in taught]
    by_hand = 0.0
    for known, seen in zip(taught, learned, strict=True):
        for a, b in zip(known.flatten(1).tolist(), seen.flatten(1).tolist(), strict=True):
            dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
            by_hand += (1 - dot / math.hypot(*a) / math.hypot(*b)) / 3
    assert whole_map_loss(taught, learned).item() == pytest.approx(by_hand, abs=1e-6)


def test_loss_is_not_the_mean_of_the_cells() -> None:
    taught = torch.tensor([[10.0, 0.1], [0.0, 0.0]]).view(1, 2, 1, 2)
    learned = torch.tensor([[10.0, 0.0], [0.0, 0.1]]).view(1, 2, 1, 2)
    assert whole_map_loss([taught], [learned]).item() < 1e-3
    assert distance(taught, learned).mean().item() == pytest.approx(0.5)


def test_untrained_student_ends_in_relu_only_where_the_teacher_does() -> None:
    maps = [torch.randn(2, 4, 16, 16), torch.randn(2, 6, 8, 8), torch.randn(2, 8, 4, 4)]
    negative = [bool((each < 0).any()) for each in Student((4, 6, 8), signed=(True, False, True))(maps)]
    assert negative == [True, False, True]


@pytest.mark.parametrize("cut", ["decoder", "difference", "bottleneck"])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (72, 100), (64, 96)])
def test_features_have_the_declared_shape_for_any_picture_size(
    fitted: ReverseDistillation, cut: str, height: int, width: int
) -> None:
    method = tiny(cut=cut).restore(fitted.state())
    shape = (2, method.channels, math.ceil(height / method.stride), math.ceil(width / method.stride))
    assert method.features(pictures(2, height, width)).shape == shape


def test_features_average_the_finest_layer_and_keep_the_middle_one(fitted: ReverseDistillation) -> None:
    taught = fitted._taught(pictures(1))
    fine, middle, _ = fitted.student_(taught)
    features = tiny(cut="decoder").restore(fitted.state()).features(pictures(1))
    torch.testing.assert_close(features[:, :32], nn.functional.avg_pool2d(fine, 2).detach())
    torch.testing.assert_close(features[:, 32:80], middle.detach())


@pytest.mark.parametrize("combine", ["sum", "product"])
def test_map_combines_the_enlarged_distances(fitted: ReverseDistillation, combine: str) -> None:
    method = tiny(combine=combine, sigma=0).restore(fitted.state())
    images, taught = pictures(2), fitted._taught(pictures(2))
    with torch.no_grad():
        layers = [
            nn.functional.interpolate(
                (1 - nn.functional.cosine_similarity(known, seen))[:, None],
                (64, 64),
                mode="bilinear",
                align_corners=True,
            )[:, 0]
            for known, seen in zip(taught, fitted.student_(taught), strict=True)
        ]
    expected = layers[0] + layers[1] + layers[2] if combine == "sum" else layers[0] * layers[1] * layers[2]
    maps, scores = method.detect(images)
    torch.testing.assert_close(maps, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(scores, expected.flatten(1).amax(1), atol=1e-5, rtol=1e-4)


def test_map_has_the_picture_size_and_its_maximum_is_the_score(fitted: ReverseDistillation) -> None:
    method: Method = fitted
    maps, scores = method.detect(pictures(3, 64, 96))
    assert maps.shape == (3, 64, 96)
    assert torch.equal(scores, maps.flatten(1).amax(1))
    assert not maps.requires_grad


def test_batch_of_four_gives_what_one_and_three_give(fitted: ReverseDistillation) -> None:
    images = pictures(4, seed=1)
    whole = fitted.detect(images)[0]
    parts = torch.cat([fitted.detect(images[:1])[0], fitted.detect(images[1:])[0]])
    torch.testing.assert_close(whole, parts, atol=1e-5, rtol=1e-4)


def test_training_lowers_the_loss_and_learns_the_normal_pictures() -> None:
    losses: list[float] = []
    with journal(Journal(report=lambda _name, _done, _epochs, loss: losses.append(loss))):
        method = tiny(epochs=12, width=0.5).fit([pictures()])
    assert losses[-1] < losses[0] / 2
    anomalous = pictures()
    anomalous[:, :, 16:48, 16:48] = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1)
    assert method.image_score(anomalous).min() > method.image_score(pictures()).max()


def test_same_seed_same_numbers_however_the_pictures_are_batched() -> None:
    once = tiny(seed=3).fit([pictures()]).state()
    again = tiny(seed=3).fit([pictures()[:2], pictures()[2:]]).state()
    other = tiny(seed=4).fit([pictures()]).state()
    assert all(torch.equal(once[name], again[name]) for name in once)
    weight = "bottleneck.middle.0.weight"
    assert not torch.equal(once[weight], other[weight])


def test_second_fit_forgets_the_first() -> None:
    once = tiny().fit([pictures()]).state()
    twice = tiny().fit([pictures(seed=9)]).fit([pictures()]).state()
    assert all(torch.equal(once[name], twice[name]) for name in once)


def test_restored_results_are_bit_identical(fitted: ReverseDistillation) -> None:
    copy = tiny(seed=5).restore(fitted.state())
    assert torch.equal(copy.features(pictures()), fitted.features(pictures()))
    assert torch.equal(copy.anomaly_map(pictures()), fitted.anomaly_map(pictures()))
    assert all(tensor.is_contiguous() for tensor in fitted.state().values())


def test_signs_of_the_teacher_are_part_of_the_state() -> None:
    method = tiny(backbone="tf_efficientnet_lite0", layers=("blocks.1", "blocks.2", "blocks.4")).fit([pictures(2)])
    assert method.signed_ == (True, True, True)
    copy = tiny(backbone="tf_efficientnet_lite0", layers=("blocks.1", "blocks.2", "blocks.4")).restore(method.state())
    assert torch.equal(copy.features(pictures(2)), method.features(pictures(2)))


def test_killed_training_goes_on_to_the_same_numbers(tmp_path, monkeypatch) -> None:
    whole = tiny(epochs=3).fit([pictures()]).state()
    step, calls = ReverseDistillation._step, []

    def killed(self, *arguments):
        calls.append(1)
        if len(calls) == 4:  # in the middle of the second epoch
            raise KeyboardInterrupt
        return step(self, *arguments)

    monkeypatch.setattr(ReverseDistillation, "_step", killed)
    with journal(Journal(tmp_path)):
        with pytest.raises(KeyboardInterrupt):
            tiny(epochs=3).fit([pictures()])
        resumed = tiny(epochs=3).fit([pictures()]).state()
    assert len(calls) == 4 + 4
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_fit_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    tiny().fit([pictures()])
    assert torch.equal(before, torch.get_rng_state())


def test_nan_picture_stops_training_and_leaves_it_unfitted(fitted: ReverseDistillation) -> None:
    method = tiny().restore(fitted.state())
    with pytest.raises(TrainingError, match="reverse_distillation: the loss became nan"):
        method.fit([torch.full((2, 3, 64, 64), torch.nan)])
    with pytest.raises(RuntimeError, match="not fitted"):
        method.features(pictures())


@pytest.mark.parametrize("use", ["features", "detect", "anomaly_map", "image_score"])
def test_unfitted_use_is_refused(use: str) -> None:
    with pytest.raises(RuntimeError, match="ReverseDistillation is not fitted"):
        getattr(tiny(), use)(pictures())
    with pytest.raises(RuntimeError, match="not fitted"):
        tiny().state()


def test_wrong_shapes_are_refused(fitted: ReverseDistillation) -> None:
    with pytest.raises(ValueError, match="expected RGB images"):
        fitted.features(torch.rand(3, 64, 64))
    with pytest.raises(ValueError, match="expected RGB images"):
        tiny().fit([torch.rand(2, 1, 64, 64)])
    with pytest.raises(ValueError, match="got none"):
        tiny().fit([])


def test_layers_must_halve_the_grid_one_after_the_other() -> None:
    with pytest.raises(ValueError, match=r"expected three layers.*strides 4, 8$"):
        _ = tiny(layers=("layer1", "layer2")).channels
    with pytest.raises(ValueError, match="at strides 4, 16, 32"):
        tiny(layers=("layer1", "layer3", "layer4")).fit([pictures()])


def test_state_of_another_teacher_is_refused(fitted: ReverseDistillation) -> None:
    with pytest.raises(RuntimeError, match="size mismatch"):
        tiny(width=0.5).restore(fitted.state())


@pytest.mark.slow
def test_one_published_training_step_takes_less_than_12_gb() -> None:
    with using(Runtime(engine="torch")):
        ReverseDistillation(weights="random", epochs=1).fit([pictures(16, 256, 256)])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 < 12e9
