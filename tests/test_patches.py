"""Patch features equal the two published forms, written out slowly."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from extractors.patches import embed, embedding_channels


def layers() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 5, 6, 8), (2, 7, 3, 4)]
    return [torch.randn(shape, generator=generator) for shape in shapes]


def neighbourhoods(layer: Tensor) -> Tensor:
    """`[N, h, w, C, 3, 3]`: each cell with its neighbours, zeros outside the map, one cell at a time."""
    count, channels, height, width = layer.shape
    padded = torch.zeros(count, channels, height + 2, width + 2)
    padded[:, :, 1:-1, 1:-1] = layer
    found = torch.empty(count, height, width, channels, 3, 3)
    for row in range(height):
        for column in range(width):
            found[:, row, column] = padded[:, :, row : row + 3, column : column + 3]
    return found


def pooled(numbers: Tensor, dimension: int) -> Tensor:
    """Adaptive averages along the last axis, by their definition."""
    length = numbers.shape[-1]
    spans = [(k * length // dimension, -(-(k + 1) * length // dimension)) for k in range(dimension)]
    return torch.stack([numbers[..., start:end].mean(-1) for start, end in spans], dim=-1)


def released_code(maps: list[Tensor], dimension: int) -> Tensor:
    """What the released PatchCore does, cell by cell: neighbourhoods, one grid, pool each layer, stack, pool again."""
    fine, coarse = (neighbourhoods(layer) for layer in maps)
    height, width = fine.shape[1:3]
    flat = coarse.flatten(3).permute(0, 3, 1, 2)  # every entry of a neighbourhood is resized as a map of its own
    resized = F.interpolate(flat, (height, width), mode="bilinear", align_corners=False).permute(0, 2, 3, 1)
    both = torch.cat([pooled(fine.flatten(3), dimension), pooled(resized, dimension)], dim=-1)
    return pooled(both, dimension).permute(0, 3, 1, 2)


@pytest.mark.parametrize("dimension", [4, 10, 45])
def test_official_equals_the_released_code_step_by_step(dimension: int) -> None:
    features = embed(layers(), "official", dimension)
    assert features.shape == (2, dimension, 6, 8)
    torch.testing.assert_close(features, released_code(layers(), dimension))


def test_concatenation_is_the_average_of_each_neighbourhood() -> None:
    fine, coarse = layers()
    features = embed(layers(), "concatenation", 0)
    averages = [neighbourhoods(layer).mean((-1, -2)).permute(0, 3, 1, 2) for layer in (fine, coarse)]
    torch.testing.assert_close(features[:, :5], averages[0])
    torch.testing.assert_close(features[:, 5:], F.interpolate(averages[1], (6, 8), mode="bilinear"))


@pytest.mark.parametrize("embedding", ["official", "concatenation"])
def test_channels_are_known_before(embedding: str) -> None:
    assert embed(layers(), embedding, 9).shape[1] == embedding_channels((5, 7), embedding, 9)


def test_published_embeddings_of_wide_resnet_have_the_published_channels() -> None:
    assert embedding_channels((512, 1024), "official", 1024) == 1024
    assert embedding_channels((512, 1024), "concatenation", 1024) == 1536
