"""One grid for maps of different stride."""

import pytest
import torch
from torch.nn import functional as F

from combiners.align import common_grid, resize


@pytest.mark.parametrize(
    ("grids", "expected"),
    [
        ([(8, 8), (16, 16), (4, 4)], (16, 16)),
        ([(64, 64)], (32, 32)),
        ([(64, 128), (32, 64)], (32, 64)),
        ([(40, 100)], (32, 80)),
        ([(8, 200)], (8, 200)),
    ],
)
def test_the_finest_grid_wins_up_to_32_cells_along_the_shorter_side(
    grids: list[tuple[int, int]], expected: tuple[int, int]
) -> None:
    assert common_grid(grids) == expected
    assert common_grid(grids[::-1]) == expected


def test_a_coarser_grid_averages_the_cells_it_covers_and_keeps_the_mean() -> None:
    maps = torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    kernel = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8  # the triangle that antialiasing by two stands for
    padded = F.pad(maps, (1, 1, 1, 1), mode="replicate")
    windows = padded.unfold(2, 4, 2).unfold(3, 4, 2)
    expected = torch.einsum("nchwij,i,j->nchw", windows, kernel, kernel)
    inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    torch.testing.assert_close(resize(maps, (4, 6))[inner], expected[inner])


def test_a_constant_stays_that_constant_on_any_grid() -> None:
    maps = torch.full((1, 2, 5, 7), 3.0)
    for grid in [(2, 3), (9, 9), (5, 3), (5, 7)]:
        torch.testing.assert_close(resize(maps, grid), torch.full((1, 2, *grid), 3.0))


def test_a_finer_grid_is_bilinear_between_cell_centres() -> None:
    ramp = torch.arange(4.0).view(1, 1, 1, 4)
    assert resize(ramp, (1, 8))[0, 0, 0].tolist() == [0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]


def test_the_same_grid_is_the_same_tensor() -> None:
    maps = torch.rand(1, 2, 4, 4)
    assert resize(maps, (4, 4)) is maps


def test_anything_but_feature_maps_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected feature maps \[N, C, h, w\], got \[2, 4, 4\]"):
        resize(torch.zeros(2, 4, 4), (2, 2))
