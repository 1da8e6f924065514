"""The frozen features that a flow is trained on: pictures -> maps of a backbone at one or several picture scales."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor
from torch.nn import functional as F

from extractors.backbone import Backbone
from extractors.protocol import check_images


@dataclass(frozen=True)
class FrozenFeatures:
    """Maps of the frozen `backbone` for the picture enlarged and, scale by scale, halved again.

    Halved sizes are rounded up: ceil(ceil(x / 2) / s) = ceil(ceil(x / s) / 2), so the grids of two neighbouring scales
    always fit a stride-2 convolution, whatever the picture's size. (CS-Flow's code asks for multiples of 128, where
    rounding makes no difference.)
    """

    backbone: Backbone
    """Several layers are put on the finest layer's grid (bilinear) and concatenated."""
    image_scale: int
    """The picture is enlarged by this factor first (bilinear)."""
    scales: int = 1
    """Full size, half, quarter ...: halved by nearest interpolation, as CS-Flow does."""

    @property
    def channels(self) -> int:
        """C of every scale's map."""
        return sum(self.backbone.channels)

    @property
    def stride(self) -> int:
        """Pixels of the picture as given per cell of the finest map, rounded: 32 / 3 is 11."""
        return max(1, round(min(self.backbone.strides) / self.image_scale))

    def __call__(self, images: Tensor) -> list[Tensor]:
        """`[N, 3, H, W]` -> one `[N, C, h, w]` per scale, the finest first."""
        size = [self.image_scale * side for side in check_images(images).shape[2:]]
        enlarged = resized(images, size, "bilinear")
        shrunk = [resized(enlarged, [ceil(side / 2**k) for side in size], "nearest") for k in range(self.scales)]
        return [_stacked(self.backbone.maps(pictures)) for pictures in shrunk]

    def of_all(self, batches: Iterable[Tensor]) -> list[Tensor]:
        """Return the maps of all batches together; raises ValueError where there are none or their sizes differ."""
        collected = [self(images) for images in batches]
        shapes = {tuple(maps[0].shape[2:]) for maps in collected}
        if len(shapes) != 1:
            raise ValueError(
                f"expected pictures of one size to learn from, got feature grids {sorted(shapes) or 'none'}"
            )
        return [torch.cat(scale) for scale in zip(*collected, strict=True)]

    def grid(self, images: Tensor) -> list[int]:
        """Return the grid that `features` promises for `images`: ceil(H / stride), ceil(W / stride)."""
        return [ceil(side / self.stride) for side in images.shape[2:]]


def resized(maps: Tensor, size: Sequence[int], mode: str) -> Tensor:
    """`[N, C, h, w]` -> `[N, C, *size]`, untouched where it has that size already.

    >>> resized(torch.zeros(1, 2, 4, 4), [8, 6], "bilinear").shape
    torch.Size([1, 2, 8, 6])
    """
    if list(maps.shape[2:]) == list(size):
        return maps
    corners = None if mode == "nearest" else False
    return F.interpolate(maps, size=list(size), mode=mode, align_corners=corners)


def shuffled_batches(count: int, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the indices 0 .. count - 1 once, shuffled, in ceil(count / batch) parts of nearly equal size.

    No picture is left out of an epoch, and no small remainder rules a step (or a batch normalisation) of its own.

    >>> [len(part) for part in shuffled_batches(9, 4, torch.Generator())]
    [3, 3, 3]
    """
    yield from torch.randperm(count, generator=generator).tensor_split(ceil(count / batch))


def _stacked(layers: Sequence[Tensor]) -> Tensor:
    finest = max(layers, key=lambda layer: layer.shape[2] * layer.shape[3])
    return torch.cat([resized(layer, finest.shape[2:], "bilinear") for layer in layers], dim=1)
