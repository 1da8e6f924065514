"""Streaming principal components equal scikit-learn's on everything at once."""

import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from combiners.pca import Moments, Projection, principal_components


def maps(count: int = 6, channels: int = 8, offset: float = 3.0) -> Tensor:
    """Correlated channels with a mean."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(channels, channels, generator=generator)
    noise = torch.randn(count, channels, 5, 4, generator=generator)
    return torch.einsum("dc,nchw->ndhw", mixing, noise) + offset


def rows(features: Tensor) -> np.ndarray:
    return features.permute(0, 2, 3, 1).flatten(0, 2).double().numpy()


def moments(*batches: Tensor) -> Moments:
    total = Moments()
    for batch in batches:
        total.add(batch)
    return total


def projection(components: int | float, *, whiten: bool = False, features: Tensor | None = None) -> Projection:
    learned = moments(maps() if features is None else features)
    return principal_components(learned.mean, learned.covariance, components, whiten=whiten)


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("components", [1, 3, 8])
def test_projection_equals_scikit_learn_signs_included(components: int, whiten: bool) -> None:
    expected = PCA(components, whiten=whiten, svd_solver="full").fit_transform(rows(maps()))
    got = rows(projection(components, whiten=whiten)(maps()))
    np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize("share", [0.3, 0.9, 0.99, 1.0])
def test_a_share_keeps_the_fewest_components_that_reach_it(share: float) -> None:
    variances = np.linalg.eigvalsh(np.cov(rows(maps()).T))[::-1]
    explained = np.cumsum(variances) / variances.sum()
    fewest = next(count for count in range(1, 9) if explained[count - 1] >= share - 1e-12)
    assert projection(share).matrix.shape == (8, fewest)


def test_the_order_and_size_of_batches_do_not_matter() -> None:
    once = moments(maps())
    for streamed in (moments(*maps().split(1)), moments(*maps().flip(0).split(4))):
        torch.testing.assert_close(streamed.mean, once.mean)
        torch.testing.assert_close(streamed.covariance, once.covariance)


def test_moments_equal_numpy_even_far_from_zero() -> None:
    far = moments(*(maps(offset=0.0).double() + 1e6).split(2))
    np.testing.assert_allclose(far.mean.numpy(), rows(maps(offset=0.0)).mean(0) + 1e6)
    np.testing.assert_allclose(far.covariance.numpy(), np.cov(rows(maps(offset=0.0)).T), rtol=1e-6, atol=1e-8)


def test_whitened_components_have_unit_variance_and_no_correlation() -> None:
    whitened = rows(projection(8, whiten=True)(maps()))
    np.testing.assert_allclose(np.cov(whitened.T), np.eye(8), atol=1e-4)


def test_whitening_drops_components_without_variance() -> None:
    flat = torch.cat([maps(channels=3), torch.full((6, 2, 5, 4), 7.0)], dim=1)
    whitened = projection(5, whiten=True, features=flat)
    assert whitened.matrix.shape == (5, 3)
    assert whitened(flat).isfinite().all()


def test_features_without_any_variance_become_zero() -> None:
    constant = torch.full((2, 3, 4, 4), 5.0)
    projected = projection(0.99, features=constant)(constant)
    torch.testing.assert_close(projected, torch.zeros_like(projected))


def test_scaled_channels_are_those_of_scaled_features() -> None:
    scale = torch.arange(1.0, 9.0)
    learned, stretched = moments(maps()), maps() * scale[:, None, None]
    scaled = principal_components(learned.mean, learned.covariance, 4, whiten=False, scale=scale)
    torch.testing.assert_close(scaled(maps()), projection(4, features=stretched)(stretched), atol=1e-3, rtol=1e-3)


def test_a_projection_passes_through_its_state_bit_by_bit() -> None:
    learned = projection(3)
    assert torch.equal(Projection.restore(learned.state("0"), "0")(maps()), learned(maps()))


@pytest.mark.parametrize("components", [0, -1, 0.0, 1.5, math.nan])
def test_impossible_components_are_refused(components: float) -> None:
    with pytest.raises(ValueError, match=r"expected components as a count >= 1 or a share of variance in \(0, 1\]"):
        projection(components)


def test_more_components_than_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at most 8 components, the number of channels, got 9"):
        projection(9)


def test_other_channels_than_before_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 8 channels as before, got 7"):
        moments(maps(), maps(channels=7))
    with pytest.raises(ValueError, match=r"expected feature maps \[N, 8, h, w\], got \[6, 7, 5, 4\]"):
        projection(3)(maps(channels=7))


def test_one_cell_has_no_covariance() -> None:
    with pytest.raises(ValueError, match="expected features of at least two cells to fit on, got 1"):
        _ = moments(maps()[:1, :, :1, :1]).covariance
