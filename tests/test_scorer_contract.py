"""What every entry of SCORERS promises. A new scorer is covered by its line in the dict alone."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ensemble_ad.build import make
from ensemble_ad.errors import ConfigError
from extractors import recall
from scorers import SCORERS
from scorers.protocol import GlobalScorer
from scorers.whole_picture import WholePicture

SMALL: Mapping[str, Any] = {
    "backbone": "test_resnet",
    "weights": "random",
    "layers": ("layer1", "layer2"),
    "components": 4,
    "levels": (2, 4),
    "hidden": 8,
    "bottleneck": 4,
    "epochs": 6,
    "words": 6,
    "projections": 20,
    "bins": 5,
}
BAD: Mapping[str, Any] = {
    "sigma": -1.0,
    "tail": 0.6,
    "power": 0.5,
    "pyramid": (0,),
    "words": 1,
    "projections": 0,
    "bins": 1,
    "components": 0,
    "levels": (1,),
    "context": 1,
    "bottleneck": 0,
    "hidden": 0,
    "epochs": 0,
    "batch": 0,
    "learning_rate": 0.0,
    "smallest": 0.0,
}
DRAWN = {"epochs", "words", "recurrence"}
"""Parameters of scorers that draw pictures or cells: in another order they draw others."""
OWN_PICTURES = {"metrology"}
"""Scorers for which these squares, of three cells of a random network, are too small; their own tests show a part."""
NAMES = sorted(SCORERS)
of_every_scorer = pytest.mark.parametrize("name", NAMES)


def parameters(name: str) -> set[str]:
    return {entry.name for entry in fields(SCORERS[name]) if entry.init}


def small(name: str, **changes: Any) -> GlobalScorer:
    """The scorer at sizes that fit in a fraction of a second."""
    known = {key: value for key, value in SMALL.items() if key in parameters(name)}
    return SCORERS[name](**known | changes)


@cache
def box(count: int = 16, seed: int = 0, size: int = 64, *, extra: bool = False) -> Tensor:
    """Four bright squares, one in each quarter, moved a little from picture to picture; `extra` has a fifth."""
    generator = torch.Generator().manual_seed(seed)
    pictures = 0.3 + 0.02 * torch.randn(count, 3, size, size, generator=generator)
    places = [(8, 8), (8, 40), (40, 8), (40, 40)] + ([(24, 24)] if extra else [])
    for picture in pictures:
        for place in places:
            y, x = (side + int(torch.randint(-2, 3, (1,), generator=generator)) for side in place)
            picture[:, y : y + 14, x : x + 14] = 0.9
    return pictures.clamp(0, 1)


@cache
def fitted(name: str) -> GlobalScorer:
    return small(name).fit(box().split(5))


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    recall.forget()
    yield
    recall.forget()


def equal_states(one: GlobalScorer, other: GlobalScorer) -> bool:
    first, second = one.state(), other.state()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@of_every_scorer
def test_detect_gives_a_finite_map_and_score_per_picture(name: str) -> None:
    maps, scores = fitted(name).detect(box(3, seed=1))
    assert maps.shape == (3, 64, 64)
    assert scores.shape == (3,)
    assert maps.isfinite().all()
    assert scores.isfinite().all()
    assert not maps.requires_grad
    assert not scores.requires_grad
    assert torch.equal(fitted(name).anomaly_map(box(3, seed=1)), maps)
    assert torch.equal(fitted(name).image_score(box(3, seed=1)), scores)


@pytest.mark.parametrize("name", [name for name in NAMES if issubclass(SCORERS[name], WholePicture)])
def test_the_features_that_others_share_are_left_as_they_are(name: str) -> None:
    scorer = small(name)
    features = scorer.features(box())
    before = features.clone()
    scorer.fit([box()]).detect(box())
    assert scorer.features(box()) is features  # shared, so the test says something
    assert torch.equal(features, before)


@of_every_scorer
def test_a_batch_of_four_is_one_and_three(name: str) -> None:
    together = fitted(name).detect(box(4, seed=1))
    parts = []
    for part in box(4, seed=1).split([1, 3]):
        recall.forget()
        parts.append(fitted(name).detect(part))
    for whole, halves in zip(together, zip(*parts, strict=True), strict=True):
        torch.testing.assert_close(torch.cat(halves), whole, atol=1e-4, rtol=1e-4)


@of_every_scorer
def test_the_same_seed_gives_the_same_numbers_and_a_second_fit_forgets_the_first(name: str) -> None:
    twice = small(name).fit([box(6, seed=9)]).fit(box().split(5))
    assert equal_states(twice, fitted(name))
    assert torch.equal(twice.image_score(box(2)), fitted(name).image_score(box(2)))


@pytest.mark.parametrize("name", [name for name in NAMES if not DRAWN & parameters(name)])
def test_the_order_of_the_pictures_changes_next_to_nothing(name: str) -> None:
    turned = small(name).fit(box().flip(0).split(5)).image_score(box(4, seed=1))
    given = fitted(name).image_score(box(4, seed=1))
    assert (turned - given).abs().max() <= 1e-2 * given.abs().max()


@of_every_scorer
def test_what_was_learned_passes_through_a_file_bit_by_bit(name: str, tmp_path: Path) -> None:
    save_file(fitted(name).state(), tmp_path / "state.safetensors")
    restored = small(name).restore(load_file(tmp_path / "state.safetensors"))
    for again, before in zip(restored.detect(box(2)), fitted(name).detect(box(2)), strict=True):
        assert torch.equal(again, before)
    assert equal_states(restored, fitted(name))


@of_every_scorer
def test_a_fit_leaves_parameters_pictures_and_global_random_generators_alone(name: str) -> None:
    scorer, images = small(name), box(4).clone()
    given = {key: getattr(scorer, key) for key in parameters(name)}
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    assert scorer.fit([images]) is scorer
    after = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    assert given == {key: getattr(scorer, key) for key in given}
    assert torch.equal(images, box(4))
    assert torch.equal(before[0], after[0])
    np.testing.assert_equal(after[1:], before[1:])


@of_every_scorer
def test_every_parameter_out_of_range_is_refused_by_name_before_any_picture_is_read(name: str) -> None:
    bad = {key: value for key, value in BAD.items() if key in parameters(name)}
    for key, value in bad.items():
        with pytest.raises(ConfigError, match=f"{name}: expected {key} .* got"):
            make(SCORERS, {"name": name, key: value})
    assert bad


@of_every_scorer
def test_unfitted_use_says_so(name: str) -> None:
    scorer = small(name)
    for use in (scorer.detect, scorer.anomaly_map, scorer.image_score):
        with pytest.raises(RuntimeError, match=f"{SCORERS[name].__name__} is not fitted"):
            use(box(1))
    with pytest.raises(RuntimeError, match="is not fitted"):
        scorer.state()


@of_every_scorer
@pytest.mark.parametrize(
    "images",
    [torch.rand(2, 1, 64, 64), torch.rand(3, 64, 64), torch.zeros(2, 3, 64, 64, dtype=torch.uint8)],
    ids=["grey", "no batch", "bytes"],
)
def test_wrong_pictures_are_refused_with_what_came(name: str, images: Tensor) -> None:
    for use in (fitted(name).detect, lambda images: small(name).fit([images])):
        with pytest.raises(ValueError, match=r"expected RGB images \[N, 3, H, W\]"):
            use(images)


@of_every_scorer
def test_pictures_of_another_size_or_none_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"expected .* got"):
        small(name).fit([])
    if "backbone" in parameters(name):
        with pytest.raises(ValueError, match=r"expected pictures of the size learned from, .* got"):
            fitted(name).detect(torch.rand(1, 3, 96, 64))
        with pytest.raises(ValueError, match="pictures of one size"):
            small(name).fit([torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 96)])


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OWN_PICTURES])
def test_one_part_too_many_scores_above_normal_and_the_map_says_where(name: str) -> None:
    scorer = small(name, **({"epochs": 60} if "epochs" in parameters(name) else {})).fit(box(40).split(8))
    scores = scorer.image_score(box(8, seed=2))
    maps, wrong = scorer.detect(box(8, seed=3, extra=True))
    assert wrong.mean() > scores.max()
    assert maps[:, 24:38, 24:38].mean() > maps[:, :20, :20].mean() + 0.1 * maps.std()
