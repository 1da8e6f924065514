"""What every entry of EXTRACTORS promises. A new method is covered by its line in the dict alone."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from extractors import EXTRACTORS, recall
from extractors.protocol import Method

SMALL: Mapping[str, Any] = {
    "backbone": "test_resnet",
    "weights": "random",
    "embedding": "concatenation",
    "width": 4,
    "discriminative_width": 4,
    "hidden": 8,
    "teacher_hidden": 8,
    "blocks": (1, 1, 1, 1),
    "image_scale": 1,
    "coreset_ratio": 0.5,
    "epochs": 2,
    "batch": 2,
}
BRIEFLY_TRAINED: Mapping[str, Any] = {"epochs": 15, "batch": 3, "learning_rate": 5e-3, "hidden": 32}
LONG_TRAINED = {"draem": "learns to find anomalies in minutes: test_draem.py has the test"}
LAYERS = {1: ("layer3",), 2: ("layer2", "layer3"), 3: ("layer1", "layer2", "layer3")}
NAMES = sorted(EXTRACTORS)


def small(name: str, **changes: Any) -> Method:
    """The method at sizes that fit in a fraction of a second, by the names and types of its parameters."""
    settings = _known(name, SMALL)
    if layers := _defaults(name).get("layers"):
        settings["layers"] = LAYERS[len(layers)]
    return EXTRACTORS[name](**(settings | changes))


def _known(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the settings that the method has a parameter of that name and type for."""
    defaults = _defaults(name)
    return {
        key: value
        for key, value in settings.items()
        if key in defaults and (defaults[key] is None or isinstance(value, type(defaults[key])))
    }


def _defaults(name: str) -> dict[str, Any]:
    return {entry.name: entry.default for entry in fields(EXTRACTORS[name]) if entry.init}


def cuts(name: str) -> tuple[str, ...]:
    return get_args(get_type_hints(EXTRACTORS[name]).get("cut"))


EVERY_CUT = [(name, {"cut": cut}) for name in NAMES for cut in cuts(name)]
EVERY_CUT += [(name, {}) for name in NAMES if not cuts(name)]
of_every_method = pytest.mark.parametrize("name", NAMES)
of_every_cut = pytest.mark.parametrize(
    ("name", "cut"), EVERY_CUT, ids=lambda value: "".join(value.values()) if isinstance(value, dict) else value
)


@cache
def normals(count: int = 5, height: int = 64, width: int = 64, seed: int = 0) -> Tensor:
    """Smooth pictures: a shading that varies from picture to picture, and a little noise."""
    generator = torch.Generator().manual_seed(seed)
    tilt = torch.rand(count, 3, 2, generator=generator) * 0.2
    rows, columns = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)[None]
    shading = 0.3 + tilt[:, :, 0, None, None] * rows + tilt[:, :, 1, None, None] * columns
    return (shading + torch.randn(count, 3, height, width, generator=generator) * 0.02).clamp(0, 1)


def with_square(images: Tensor) -> Tensor:
    """The same pictures with a bright square."""
    images = images.clone()
    images[:, :, 20:44, 24:48] = 1.0
    return images


@cache
def _fitted(name: str, cut: str | None) -> Method:
    return small(name, **({} if cut is None else {"cut": cut})).fit(normals().split(2))


def fitted(name: str, cut: Mapping[str, str] | None = None) -> Method:
    return _fitted(name, (cut or {}).get("cut"))


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    recall.forget()
    yield
    recall.forget()


def equal_states(one: Method, other: Method) -> bool:
    first, second = one.state(), other.state()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@of_every_cut
@pytest.mark.parametrize("size", [(64, 64), (52, 90)], ids=["square", "rectangle"])
def test_features_have_the_shape_that_is_declared_before_fit(name: str, cut: dict, size: tuple[int, int]) -> None:
    declared = small(name, **cut)
    features = fitted(name, cut).features(normals(2, *size))
    assert features.shape == (2, declared.channels, *(ceil(side / declared.stride) for side in size))
    assert features.isfinite().all()


@of_every_cut
def test_features_carry_no_gradient_and_can_be_trained_on(name: str, cut: dict) -> None:
    features = fitted(name, cut).features(normals(2).clone().requires_grad_())
    assert not features.requires_grad
    assert not features.is_inference()


@of_every_cut
def test_a_batch_of_four_is_one_and_three(name: str, cut: dict) -> None:
    method, images = fitted(name, cut), normals(4, 64, 96, seed=1)
    together = (method.features(images), *method.detect(images))
    parts = []
    for part in images.split([1, 3]):
        recall.forget()
        parts.append((method.features(part), *method.detect(part)))
    for whole, halves in zip(together, zip(*parts, strict=True), strict=True):
        torch.testing.assert_close(torch.cat(halves), whole, atol=1e-5, rtol=1e-5)


@of_every_method
@pytest.mark.parametrize("size", [(64, 64), (52, 90)], ids=["square", "rectangle"])
def test_detect_gives_a_finite_map_and_score_per_picture(name: str, size: tuple[int, int]) -> None:
    method, images = fitted(name), normals(3, *size)
    maps, scores = method.detect(images)
    assert maps.shape == (3, *size)
    assert scores.shape == (3,)
    assert maps.isfinite().all()
    assert scores.isfinite().all()
    assert not maps.requires_grad
    assert not scores.requires_grad
    assert torch.equal(method.anomaly_map(images), maps)
    assert torch.equal(method.image_score(images), scores)


@of_every_method
def test_the_same_seed_gives_the_same_numbers(name: str) -> None:
    again = small(name).fit(normals().split(2))
    assert equal_states(again, fitted(name))
    assert torch.equal(again.features(normals(2)), fitted(name).features(normals(2)))


@of_every_method
def test_another_seed_gives_other_numbers(name: str) -> None:
    assert not equal_states(small(name, seed=1).fit(normals().split(2)), fitted(name))


@of_every_method
def test_second_fit_forgets_the_first(name: str) -> None:
    twice = small(name).fit([torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(9))])
    twice.fit(normals().split(2))
    assert equal_states(twice, fitted(name))
    for again, fresh in zip(twice.detect(normals(2)), fitted(name).detect(normals(2)), strict=True):
        assert torch.equal(again, fresh)


@of_every_method
def test_fit_returns_the_method_and_leaves_its_parameters_and_pictures_alone(name: str) -> None:
    method, images = small(name), normals(3).clone()
    parameters = {entry.name: getattr(method, entry.name) for entry in fields(method) if entry.init}
    assert method.fit([images]) is method
    assert parameters == {key: getattr(method, key) for key in parameters}
    assert torch.equal(images, normals(3))


@of_every_method
def test_what_a_fit_does_not_depend_on_does_not_change_it(name: str) -> None:
    after = getattr(EXTRACTORS[name], "AFTER_FIT", ())
    assert set(after) <= {entry.name for entry in fields(EXTRACTORS[name]) if entry.init}
    for cut in cuts(name) if "cut" in after else ():
        assert equal_states(fitted(name, {"cut": cut}), fitted(name))


@of_every_cut
def test_what_was_learned_passes_through_a_file_bit_by_bit(name: str, cut: dict, tmp_path: Path) -> None:
    method, images = fitted(name, cut), normals(2, 64, 96)
    save_file(method.state(), tmp_path / "state.safetensors")
    restored = small(name, **cut).restore(load_file(tmp_path / "state.safetensors"))
    assert torch.equal(restored.features(images), method.features(images))
    for again, before in zip(restored.detect(images), method.detect(images), strict=True):
        assert torch.equal(again, before)
    assert equal_states(restored, method)


@of_every_method
def test_a_fit_leaves_the_global_random_generators_alone(name: str) -> None:
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    small(name).fit(normals().split(2)).detect(normals(1))
    after = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    np.testing.assert_equal(after[1:], before[1:])


@of_every_cut
def test_unfitted_use_says_so(name: str, cut: dict) -> None:
    method = small(name, **cut)
    for use in (method.features, method.detect, method.anomaly_map, method.image_score):
        with pytest.raises(RuntimeError, match=f"{EXTRACTORS[name].__name__} is not fitted"):
            use(normals(1))
    with pytest.raises(RuntimeError, match="is not fitted"):
        method.state()


@of_every_method
@pytest.mark.parametrize(
    "images",
    [torch.rand(2, 1, 64, 64), torch.rand(3, 64, 64), torch.zeros(2, 3, 64, 64, dtype=torch.uint8)],
    ids=["grey", "no batch", "bytes"],
)
def test_wrong_pictures_are_refused_with_what_came(name: str, images: Tensor) -> None:
    for use in (fitted(name).features, fitted(name).detect, lambda images: small(name).fit([images])):
        with pytest.raises(ValueError, match=r"expected RGB images \[N, 3, H, W\]"):
            use(images)


@of_every_method
def test_fitting_on_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"expected .* got"):
        small(name).fit([])


@of_every_method
def test_toy_anomalies_score_above_toy_normals(name: str) -> None:
    if name in LONG_TRAINED:
        pytest.skip(LONG_TRAINED[name])
    method = small(name, **_known(name, BRIEFLY_TRAINED)).fit(normals(12).split(4))
    unseen = normals(6, seed=5)
    maps, anomalous = method.detect(with_square(unseen))
    assert anomalous.min() > method.image_score(unseen).max()
    assert (maps[:, 20:44, 24:48].mean((1, 2)) > maps[:, :12].mean((1, 2))).all()
