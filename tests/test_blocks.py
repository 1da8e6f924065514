"""Transformation blocks: what they give follows from resizing, concatenating and scikit-learn's PCA."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.decomposition import PCA
from torch import Tensor

from combiners import FEATURE_COMBINERS
from combiners.align import resize
from combiners.blocks import Concatenation, GlobalBlock, IndividualBlocks

BLOCKS = list(FEATURE_COMBINERS.values())
of_every_block = pytest.mark.parametrize("block", BLOCKS)


def members(count: int = 6, seed: int = 0) -> list[Tensor]:
    """Two extractors' features on grids 8 x 6 and 4 x 3."""
    generator = torch.Generator().manual_seed(seed)
    fine = torch.randn(count, 4, 8, 6, generator=generator) + 2
    coarse = torch.randn(count, 5, 4, 3, generator=generator) * torch.arange(1.0, 6.0)[:, None, None] - 1
    return [fine, coarse]


def in_batches(features: Sequence[Tensor], size: int = 2) -> list[tuple[Tensor, ...]]:
    return list(zip(*(maps.split(size) for maps in features), strict=True))


def rows(maps: Tensor) -> np.ndarray:
    return maps.permute(0, 2, 3, 1).flatten(0, 2).double().numpy()


def grid_of(maps: np.ndarray, like: Tensor) -> Tensor:
    count, _, height, width = like.shape
    return torch.from_numpy(maps).float().view(count, height, width, -1).permute(0, 3, 1, 2)


def together() -> Tensor:
    """Both members on the finest grid, channels side by side."""
    fine, coarse = members()
    return torch.cat([fine, resize(coarse, (8, 6))], dim=1)


def standardised(maps: Tensor) -> Tensor:
    """Centred, and scaled so that the channel variances sum to one."""
    flat = maps.transpose(0, 1).flatten(1)
    return (maps - flat.mean(1)[:, None, None]) / flat.var(1).sum().sqrt()


def test_concatenation_alone_only_resizes_and_joins() -> None:
    block = Concatenation(standardise=False).fit(in_batches(members()))
    torch.testing.assert_close(block.transform(members()), together())


def test_standardised_concatenation_brings_each_extractor_to_a_total_variance_of_one() -> None:
    fine, coarse = members()
    expected = torch.cat([standardised(fine), resize(standardised(coarse), (8, 6))], dim=1)
    got = Concatenation().fit(in_batches(members())).transform(members())
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("whiten", [False, True])
def test_global_block_is_one_pca_of_all_channels(whiten: bool) -> None:
    block = GlobalBlock(4, standardise=False, whiten=whiten).fit(in_batches(members()))
    expected = PCA(4, whiten=whiten, svd_solver="full").fit_transform(rows(together()))
    torch.testing.assert_close(block.transform(members()), grid_of(expected, together()), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("whiten", [False, True])
def test_individual_blocks_are_one_pca_per_extractor(whiten: bool) -> None:
    block = IndividualBlocks(3, standardise=False, whiten=whiten).fit(in_batches(members()))
    each = [grid_of(PCA(3, whiten=whiten, svd_solver="full").fit_transform(rows(maps)), maps) for maps in members()]
    expected = torch.cat([each[0], resize(each[1], (8, 6))], dim=1)
    torch.testing.assert_close(block.transform(members()), expected, atol=1e-4, rtol=1e-4)


def test_an_individual_count_above_the_channels_keeps_them_all() -> None:
    assert IndividualBlocks(5).fit(in_batches(members())).transform(members()).shape == (6, 4 + 5, 8, 6)


def test_a_global_count_above_the_channels_keeps_them_all() -> None:
    assert GlobalBlock(128).fit(in_batches(members())).transform(members()).shape == (6, 4 + 5, 8, 6)


def test_resizing_and_a_given_pca_commute() -> None:
    block = GlobalBlock(4).fit(in_batches(members()))
    (projection,) = block.projections_
    torch.testing.assert_close(block.transform(members()), projection(together()), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("loud", [1.0, 1e4])
def test_standardised_global_block_gives_a_loud_extractor_no_more_say(loud: float) -> None:
    fine, coarse = members()
    scaled = [fine, coarse * loud]
    got = GlobalBlock(4).fit(in_batches(scaled)).transform(scaled)
    expected = GlobalBlock(4).fit(in_batches(members())).transform(members())
    torch.testing.assert_close(got, expected, atol=1e-3, rtol=1e-3)


def test_channels_said_twice_give_an_extractor_no_more_say() -> None:
    fine, coarse = members()
    twice = [fine, torch.cat([coarse, coarse], dim=1)]
    got = GlobalBlock(4).fit(in_batches(twice)).transform(twice)
    expected = GlobalBlock(4).fit(in_batches(members())).transform(members())
    torch.testing.assert_close(got.abs(), expected.abs(), atol=1e-3, rtol=1e-3)


def test_without_standardising_the_loud_extractor_rules() -> None:
    fine, coarse = members()
    block = GlobalBlock(4, standardise=False).fit(in_batches([fine, coarse * 1e4]))
    assert block.projections_[0].matrix[:4].abs().max() < 1e-2


@of_every_block
def test_the_size_and_order_of_batches_do_not_matter(block: Any) -> None:
    expected = block().fit(in_batches(members(), 6)).transform(members())
    for batches in (in_batches(members(), 1), in_batches(members(), 4)[::-1]):
        torch.testing.assert_close(block().fit(batches).transform(members()), expected, atol=1e-4, rtol=1e-4)


@of_every_block
def test_second_fit_forgets_the_first(block: Any) -> None:
    twice = block().fit(in_batches(members(seed=1))).fit(in_batches(members()))
    assert torch.equal(twice.transform(members()), block().fit(in_batches(members())).transform(members()))


@of_every_block
def test_a_batch_of_six_is_two_and_four(block: Any) -> None:
    fitted = block().fit(in_batches(members()))
    parts = zip(*(maps.split([2, 4]) for maps in members()), strict=True)
    torch.testing.assert_close(
        torch.cat([fitted.transform(part) for part in parts]), fitted.transform(members()), atol=1e-5, rtol=1e-5
    )


@of_every_block
def test_the_grid_can_be_chosen(block: Any) -> None:
    assert block(grid=(5, 7)).fit(in_batches(members())).transform(members()).shape[2:] == (5, 7)


@of_every_block
def test_what_was_learned_passes_through_a_file_bit_by_bit(block: Any, tmp_path: Path) -> None:
    fitted = block().fit(in_batches(members()))
    save_file(fitted.state(), tmp_path / "state.safetensors")
    restored = block().restore(load_file(tmp_path / "state.safetensors"))
    assert torch.equal(restored.transform(members()), fitted.transform(members()))


@of_every_block
def test_unfitted_use_says_so(block: Any) -> None:
    for use in (lambda: block().transform(members()), lambda: block().state()):
        with pytest.raises(RuntimeError, match=f"{block.__name__} is not fitted"):
            use()


@of_every_block
def test_nothing_to_fit_on_is_refused(block: Any) -> None:
    with pytest.raises(ValueError, match="expected features of normal images to fit on, got none"):
        block().fit([])
    with pytest.raises(ValueError, match="expected the features of at least one extractor, got none"):
        block().fit([()])


@of_every_block
def test_another_set_of_extractors_is_refused(block: Any) -> None:
    fitted = block().fit(in_batches(members()))
    with pytest.raises(ValueError, match="expected"):
        fitted.transform(members()[:1])
    with pytest.raises(ValueError, match="expected"):
        fitted.transform([*members(), members()[0]])


@pytest.mark.parametrize("block", [GlobalBlock, IndividualBlocks])
@pytest.mark.parametrize("components", [0, 1.5])
def test_impossible_components_are_refused(block: Any, components: float) -> None:
    with pytest.raises(ValueError, match="expected components"):
        block(components).fit(in_batches(members()))
