"""AST: published numbers, published shapes, and what its users may rely on."""

import ast as the_standard_module
import math
import resource
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from extractors.ast import AST, distance, likelihood_loss
from extractors.ast_networks import Student, position_code, teacher_flow, with_position
from extractors.backbone import Backbone
from extractors.frozen_features import FrozenFeatures
from extractors.training import Journal, journal

TINY = AST(
    backbone="test_resnet",
    layers=("layer2",),
    weights="random",
    image_scale=1,
    teacher_hidden=4,
    hidden=8,
    epochs=2,
    batch=2,
)


def tiny(**changes: object) -> AST:
    return replace(TINY, **changes)


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    return torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def fitted(pictures: Tensor) -> AST:
    return tiny().fit([pictures[:2], pictures[2:]])


def test_the_method_bears_the_name_of_a_standard_module_without_hiding_it():
    assert the_standard_module.literal_eval("[1, 2]") == [1, 2]


def test_parameter_counts_are_the_published_ones():
    with torch.device("meta"):
        student = Student(304, 1024)
    assert round(_count(teacher_flow(304, 64, 0)) / 1e6, 2) == 3.25
    assert round(_count(student) / 1e6, 1) == 81.4


def _count(network: torch.nn.Module) -> int:
    return sum(values.numel() for values in network.parameters())


def test_teacher_loss_is_the_hand_sum():
    latents = [torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])]  # two cells of two channels
    volumes = [torch.tensor([[[0.5, -1.0]]])]
    first, second = (1 + 9) / 2 - 0.5, (4 + 0) / 2 + 1.0
    assert likelihood_loss(latents, volumes).item() == pytest.approx((first + second) / 2)


def test_distance_is_the_hand_sum():
    teacher, student = torch.tensor([1.0, 5.0]).view(1, 2, 1, 1), torch.tensor([0.0, 2.0]).view(1, 2, 1, 1)
    assert distance(teacher, student).item() == (1 + 9) / 2


@pytest.mark.parametrize(("image_scale", "side"), [(1, 8), (3, 24)])
@pytest.mark.parametrize(("cut", "channels"), [("difference", 304), ("both", 608)])
def test_published_shapes_at_256_px(image_scale: int, side: int, cut: str, channels: int):
    published = AST(weights="random", image_scale=image_scale, cut=cut)
    assert published.channels == channels
    assert published._frozen.grid(torch.empty(1, 3, 256, 256)) == [side, side]


def test_position_code_by_the_definition():
    code = position_code(32, 3, 5)
    for pair in range(8):
        rate = 10000 ** (2 * pair / 16)
        for row in range(3):
            for column in range(5):
                expected = [
                    math.sin(column / rate),
                    math.cos(column / rate),
                    math.sin(row / rate),
                    math.cos(row / rate),
                ]
                found = code[[2 * pair, 2 * pair + 1, 16 + 2 * pair, 17 + 2 * pair], row, column]
                assert found.tolist() == pytest.approx(expected, abs=1e-6)


def test_position_is_the_same_for_every_picture_and_follows_the_channels():
    maps = torch.rand(2, 5, 3, 4)
    placed = with_position(maps)
    assert torch.equal(placed[:, :5], maps)
    assert torch.equal(placed[0, 5:], placed[1, 5:])


def test_an_untrained_teacher_gives_back_the_backbones_channels_in_another_order(pictures: Tensor):
    untrained = tiny(cut="both").restore(tiny()._pair().state_dict())
    maps = FrozenFeatures(Backbone("test_resnet", ("layer2",), "random"), 1)(pictures)[0]
    teacher = untrained.features(pictures)[:, : maps.shape[1]]
    assert torch.equal(teacher.sort(1).values, maps.sort(1).values)


def test_cut_difference_is_that_of_the_halves_of_cut_both(fitted: AST, pictures: Tensor):
    both = tiny(cut="both").restore(fitted.state())
    teacher, student = both.features(pictures).chunk(2, dim=1)
    torch.testing.assert_close(fitted.features(pictures), teacher - student)


def test_scores_follow_from_the_difference_as_published(fitted: AST, pictures: Tensor):
    cells = fitted.features(pictures).square().mean(1)
    expected = torch.nn.functional.interpolate(cells[:, None], (64, 64), mode="bicubic")[:, 0]
    maps, scores = fitted.detect(pictures)
    torch.testing.assert_close(maps, expected)
    torch.testing.assert_close(scores, expected.amax((1, 2)))
    by_mean = tiny(image_rule="mean").restore(fitted.state())
    torch.testing.assert_close(by_mean.image_score(pictures), cells.mean((1, 2)))


def test_both_trainings_lower_their_loss_and_are_reported(pictures: Tensor):
    losses: dict[str, list[float]] = {}
    with journal(Journal(report=lambda name, _done, _epochs, loss: losses.setdefault(name, []).append(loss))):
        tiny(epochs=6, learning_rate=1e-3).fit([pictures])
    assert list(losses) == ["ast_teacher", "ast_student"]
    assert all(len(course) == 6 and course[-1] < course[0] for course in losses.values())


def test_the_students_training_leaves_the_teacher_alone(pictures: Tensor):
    states: list[dict[str, Tensor]] = []
    extractor = tiny()
    train = extractor._train

    def watched(name: str, network: torch.nn.Module, *rest: object) -> None:
        train(name, network, *rest)
        if name == "ast_teacher":
            states.append({key: values.clone() for key, values in network.state_dict().items()})

    extractor._train = watched
    extractor.fit([pictures])
    after = extractor.pair_.teacher.state_dict()
    assert all(torch.equal(values, after[key]) for key, values in states[0].items())


def test_a_batch_gives_what_its_pictures_give_alone(fitted: AST, pictures: Tensor):
    alone = torch.cat([fitted.features(pictures[:1]), fitted.features(pictures[1:])])
    torch.testing.assert_close(fitted.features(pictures), alone, atol=1e-5, rtol=1e-4)


def test_state_restores_bit_by_bit(fitted: AST, pictures: Tensor):
    again = tiny().restore(fitted.state())
    assert torch.equal(again.features(pictures), fitted.features(pictures))
    assert all(torch.equal(one, two) for one, two in zip(again.detect(pictures), fitted.detect(pictures)))


def test_a_state_of_other_settings_is_refused(fitted: AST):
    with pytest.raises(ValueError, match="other settings"):
        tiny(hidden=4).restore(fitted.state())


def test_the_global_generators_are_left_alone(pictures: Tensor):
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    tiny().fit([pictures]).features(pictures)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


@pytest.mark.parametrize("killed", [("ast_teacher", 2), ("ast_student", 1)])
def test_a_killed_training_ends_with_the_numbers_of_an_uninterrupted_one(pictures: Tensor, tmp_path, killed):
    whole = tiny(epochs=3).fit([pictures]).state()

    def stop(name: str, done: int, _epochs: int, _loss: float) -> None:
        if (name, done) == killed:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), journal(Journal(tmp_path, stop)):
        tiny(epochs=3).fit([pictures])
    with journal(Journal(tmp_path)):
        resumed = tiny(epochs=3).fit([pictures]).state()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_unfitted_and_wrong_shapes_are_refused(fitted: AST, pictures: Tensor):
    with pytest.raises(RuntimeError, match="AST is not fitted"):
        tiny().features(pictures)
    with pytest.raises(ValueError, match="expected RGB images"):
        fitted.features(pictures[:, :2])


PUBLISHED_STEPS = """
import torch
from extractors.ast import _step, distance, likelihood_loss
from extractors.ast_networks import teacher_flow, untrained_student
maps = torch.randn(8, 304, 24, 24)
for network, loss_of in [
    (teacher_flow(304, 64, 0), lambda network: likelihood_loss(*network([maps]))),
    (untrained_student(304, 1024, 0), lambda network: distance(maps, network(maps)).mean()),
]:
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-4, eps=1e-8, weight_decay=1e-5)
    print(_step(optimiser, loss_of(network)))
"""


@pytest.mark.slow
def test_published_training_steps_take_less_than_12_gb():
    subprocess.run([sys.executable, "-c", PUBLISHED_STEPS], check=True, timeout=1500)
    kilobytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert kilobytes / 2**20 < 12
