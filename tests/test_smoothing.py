"""Two small matrix products equal upsampling followed by Gaussian smoothing."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional as F

from extractors.smoothing import gaussian, to_picture


def cells(height: int = 5, width: int = 8) -> Tensor:
    return torch.randn(3, height, width, generator=torch.Generator().manual_seed(0))


def slowly(grid: Tensor, size: tuple[int, int], sigma: float) -> np.ndarray:
    upsampled = F.interpolate(grid[:, None], size, mode="bilinear", align_corners=False)[:, 0].numpy()
    return np.stack([gaussian_filter(picture, sigma) if sigma else picture for picture in upsampled])


@pytest.mark.parametrize("size", [(40, 64), (33, 50), (5, 8), (3, 4)])
@pytest.mark.parametrize("sigma", [0.0, 1.5, 4.0])
def test_to_picture_equals_interpolate_and_scipy(size: tuple[int, int], sigma: float) -> None:
    np.testing.assert_allclose(to_picture(cells(), size, sigma).numpy(), slowly(cells(), size, sigma), atol=1e-5)


def test_a_constant_stays_that_constant() -> None:
    torch.testing.assert_close(to_picture(torch.full((1, 4, 4), 7.0), (30, 20)), torch.full((1, 30, 20), 7.0))


@pytest.mark.parametrize("sigma", [0.0, 2.0])
def test_gaussian_equals_scipy_picture_by_picture(sigma: float) -> None:
    maps = cells(20, 30)
    expected = np.stack([gaussian_filter(picture, sigma) if sigma else picture for picture in maps.numpy()])
    np.testing.assert_allclose(gaussian(maps, sigma).numpy(), expected, atol=1e-6)


def test_anything_but_cells_of_pictures_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected scores per cell \[N, h, w\], got \[1, 1, 4, 4\]"):
        to_picture(torch.zeros(1, 1, 4, 4), (8, 8))
