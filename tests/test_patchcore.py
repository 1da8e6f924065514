"""PatchCore: its scores equal a loop over patches, and its memory is what it says."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from extractors.backbone import Backbone
from extractors.patchcore import MemoryBankError, PatchCore
from extractors.patches import embed
from extractors.rows import as_rows
from extractors.smoothing import to_picture

LAYERS = ("layer2", "layer3")
GRID = (8, 12)


def small(**changes: Any) -> PatchCore:
    settings = {"backbone": "test_resnet", "layers": LAYERS, "weights": "random", "dimension": 24, "coreset_ratio": 0.2}
    return PatchCore(**(settings | changes))


def pictures(count: int = 4, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, 64, 96, generator=torch.Generator().manual_seed(seed))


def patches(images: Tensor) -> Tensor:
    return as_rows(embed(Backbone("test_resnet", LAYERS, "random").maps(images), "official", 24))


def distances_one_by_one(images: Tensor, bank: Tensor) -> Tensor:
    """`[patches, bank]` in double precision."""
    return torch.stack([(bank.double() - patch).norm(dim=1) for patch in patches(images).double()])


@pytest.fixture(scope="module")
def fitted() -> PatchCore:
    return small().fit(pictures().split(2))


def test_published_settings_declare_the_published_shape() -> None:
    published = PatchCore(weights="random")
    assert (published.channels, published.stride) == (1024, 8)
    assert PatchCore(weights="random", embedding="concatenation").channels == 1536
    assert PatchCore(weights="random", cut="distance").channels == 1


def test_the_bank_is_a_share_of_the_training_patches(fitted: PatchCore) -> None:
    bank = fitted.state()["bank"]
    assert bank.shape == (round(0.2 * 4 * 8 * 12), 24)
    assert (torch.cdist(bank, patches(pictures())).amin(1) < 1e-3).all()
    assert bank.unique(dim=0).shape == bank.shape


def test_a_share_of_one_remembers_everything() -> None:
    assert torch.equal(small(coreset_ratio=1.0).fit([pictures()]).state()["bank"], patches(pictures()))


def test_cells_are_distances_to_the_nearest_remembered_patch(fitted: PatchCore) -> None:
    images = pictures(2, seed=1)
    cells = distances_one_by_one(images, fitted.bank_).amin(1).view(2, *GRID).float()
    maps, scores = fitted.detect(images)
    torch.testing.assert_close(scores, cells.amax((1, 2)), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(maps, to_picture(cells, (64, 96), 4.0), atol=1e-4, rtol=1e-4)


def test_k_neighbours_are_averaged(fitted: PatchCore) -> None:
    images = pictures(2, seed=1)
    nearest = distances_one_by_one(images, fitted.bank_).sort(dim=1).values[:, :3]
    expected = nearest.mean(1).view(2, *GRID).float().amax((1, 2))
    scores = small(neighbours=3).restore(fitted.state()).image_score(images)
    torch.testing.assert_close(scores, expected, atol=1e-4, rtol=1e-4)


def test_more_neighbours_than_remembered_patches_average_them_all() -> None:
    images = pictures(1, seed=1)
    method = small(coreset_ratio=0.001, neighbours=9).fit([pictures()])
    assert len(method.bank_) == 1
    expected = distances_one_by_one(images, method.bank_).max().float()
    torch.testing.assert_close(method.image_score(images)[0], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("neighbours", "around_it"), [(1, 2), (1, 9), (4, 5)])
def test_reweighting_is_equation_7(fitted: PatchCore, neighbours: int, around_it: int) -> None:
    images = pictures(3, seed=1)
    bank = fitted.bank_.double()
    expected = []
    for rows in patches(images).double().view(3, -1, 24):
        distance = torch.cdist(rows, bank, compute_mode="donot_use_mm_for_euclid_dist")
        means = distance.sort(dim=1).values[:, :neighbours].mean(1)
        worst = int(means.argmax())
        own, star = distance[worst].min(dim=0)
        around = (bank - bank[star]).norm(dim=1).argsort()[:around_it]  # N_b(m*), m* the first of them
        weight = 1 - own.exp() / (rows[worst] - bank[around]).norm(dim=1).exp().sum()
        expected.append(weight * own)
    scores = small(reweight=around_it, neighbours=neighbours).restore(fitted.state()).image_score(images)
    torch.testing.assert_close(scores, torch.stack(expected).float(), atol=1e-4, rtol=1e-3)


def test_the_residual_is_the_signed_difference_to_the_nearest_patch(fitted: PatchCore) -> None:
    images = pictures(2, seed=1)
    index = distances_one_by_one(images, fitted.bank_).argmin(1)
    residual = small(cut="residual").restore(fitted.state()).features(images)
    torch.testing.assert_close(as_rows(residual), patches(images) - fitted.bank_[index])


def test_the_distance_cut_is_the_length_of_the_residual(fitted: PatchCore) -> None:
    images = pictures(2, seed=1)
    distance = small(cut="distance").restore(fitted.state()).features(images)
    expected = distances_one_by_one(images, fitted.bank_).amin(1).float()
    torch.testing.assert_close(as_rows(distance)[:, 0], expected, atol=1e-4, rtol=1e-4)


def test_a_half_precision_bank_takes_half_the_memory_and_scores_nearly_the_same(fitted: PatchCore) -> None:
    half = small(bank_dtype="float16").fit(pictures().split(2))
    assert half.bank_.dtype == torch.float16
    assert 2 * half.bank_.nbytes == fitted.bank_.nbytes
    images = pictures(2, seed=1)
    torch.testing.assert_close(half.image_score(images), fitted.image_score(images), atol=1e-3, rtol=1e-2)


def test_predicted_memory_is_that_of_patches_copy_and_bank(fitted: PatchCore) -> None:
    rows = patches(pictures())
    assert fitted.predicted_bytes(len(rows)) == pytest.approx(2 * rows.nbytes + fitted.bank_.nbytes, abs=24 * 4)


def test_too_many_patches_are_refused_with_what_would_fit() -> None:
    method = small(memory_limit_mb=1, dimension=2048)
    with pytest.raises(MemoryBankError) as refused:
        method.fit(pictures(8).split(2))
    said = str(refused.value)
    assert "768 training patches with 2048 channels" in said
    cure = int(re.search(r"memory_limit_mb: (\d+)", said)[1])
    dimension = int(re.search(r"dimension: (\d+)", said)[1])
    small(memory_limit_mb=cure, dimension=2048).fit(pictures(8).split(2))
    small(memory_limit_mb=1, dimension=dimension).fit(pictures(8).split(2))


def test_streaming_stays_under_the_limit_and_near_the_exact_answer() -> None:
    tight = small(memory_limit_mb=1, dimension=400, streaming=True)
    method = tight.fit(pictures(8).split(2))
    kept = len(method.bank_) / tight.coreset_ratio
    assert tight.predicted_bytes(int(kept)) <= 2**20
    exact = small(dimension=400).fit(pictures(8).split(2))
    images = pictures(3, seed=1)
    torch.testing.assert_close(method.image_score(images), exact.image_score(images), rtol=0.2, atol=0)


def test_streaming_changes_nothing_where_all_fits(fitted: PatchCore) -> None:
    assert torch.equal(small(streaming=True).fit(pictures().split(2)).bank_, fitted.bank_)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"coreset_ratio": 0.0}, "expected coreset_ratio in (0, 1], got 0.0"),
        ({"coreset_ratio": 1.5}, "expected coreset_ratio in (0, 1], got 1.5"),
        ({"neighbours": 0}, "expected neighbours of at least 1, got 0"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        small(**changes).fit([pictures(1)])
