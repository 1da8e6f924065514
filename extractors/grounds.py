"""Which material covers each pixel, learned from normal pictures without labels: frozen features, clustered.

A *ground* is a cluster that covers a good part of the pictures: the table, the sheet that holds the screws. Clusterings
of several sizes are made, and what at least two of them agree on is a ground. Cells decide roughly; colours near by
decide where exactly a ground ends.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from extractors.backbone import Backbone
from extractors.frozen_features import resized
from extractors.outlines import outlines
from extractors.pixels import eight_bit
from extractors.protocol import check_images

DEFAULT_BACKBONE = Backbone("tf_efficientnet_lite0", ("blocks.1", "blocks.2"))
SAMPLED_CELLS = 24_000
"""Cells of all pictures together that the clusters are learned from."""
ROUNDS = 30
"""Of k-means."""


@dataclass(eq=False)
class Grounds:
    """The grounds of a class of pictures."""

    backbone: Backbone = DEFAULT_BACKBONE
    side: int = 384
    """Longer side in pixels of the picture that the network sees; smaller pictures are not enlarged."""
    stride: int = 4
    """Pixels of that picture per cell."""
    clusters: tuple[int, ...] = (2, 3, 4, 6, 8)
    """Sizes of the clusterings."""
    share: float = 0.05
    """Of the pictures' area that a cluster must cover to be a ground."""
    core: float = 0.5
    """Share of a ground's cells whose neighbours are all of it: a rim or a speckle is no ground."""
    agreement: float = 0.7
    """Intersection over union from which on two clusters of different clusterings agree."""
    colour: float = 0.5
    """Weight of colour, where each layer of the network has 1."""
    seed: int = 0
    mean_: Tensor | None = field(default=None, init=False, repr=False)
    """[D]"""
    scale_: Tensor | None = field(default=None, init=False, repr=False)
    """[D]"""
    centres_: tuple[tuple[Tensor, ...], ...] = field(default=(), init=False, repr=False)
    """For each ground, the clusters that agree on it: the centres [k, D] of each one's clustering, its own first."""

    def fit(self, images: Iterable[Tensor]) -> Self:
        """Learn from batches `[N, 3, H, W]` in [0, 1] of normal pictures of one size."""
        generator = torch.Generator().manual_seed(self.seed)
        collected = [self._cells(batch, eight_bit(batch)) for batch in images]
        if not collected:
            raise ValueError("expected pictures to learn from, got none")
        cells = torch.cat(collected)
        sample = cells.flatten(0, 2)[torch.randperm(cells[..., 0].numel(), generator=generator)[:SAMPLED_CELLS]]
        self.mean_, self.scale_ = sample.mean(0), self._scale(sample)
        sample, cells = (sample - self.mean_) / self.scale_, (cells - self.mean_) / self.scale_
        candidates = []
        for count in self.clusters:
            centres = k_means(sample, count, generator)
            covered = torch.stack(
                [_squares(cell.flatten(0, 1), centres).argmin(1).view(cell.shape[:2]) for cell in cells]
            )
            for own in range(count):
                mask = covered == own
                if mask.float().mean() >= self.share and _core(mask) >= self.core:
                    candidates.append((torch.cat([centres[own : own + 1], centres[:own], centres[own + 1 :]]), mask))
        groups = _agreeing([mask.flatten() for _, mask in candidates], self.agreement)
        self.centres_ = tuple(tuple(candidates[place][0] for place in group) for group in groups if len(group) > 1)
        return self

    def weights(self, images: Tensor) -> Tensor:
        """Return how surely each cell is of each ground, [N, G, h, w] in [0, 1]."""
        return self._weights(images, eight_bit(check_images(images)))

    def _weights(self, images: Tensor, pictures: np.ndarray) -> Tensor:
        if self.mean_ is None or self.scale_ is None:
            raise RuntimeError("Grounds is not fitted: call fit(images) first")
        layers = self._layers(images, pictures)
        grid = layers[-1].shape[2:]
        if not self.centres_:
            return torch.zeros(len(images), 0, *grid)
        clusterings = [centres for group in self.centres_ for centres in group]
        squares = _on_grid(layers, grid, *_nearness(torch.cat(clusterings), self.mean_, self.scale_))
        parts = iter(squares.split([len(centres) for centres in clusterings], dim=1))
        each = [[_membership(next(parts), centres) for centres in group] for group in self.centres_]
        return torch.stack([torch.stack(group).mean(0) for group in each], dim=1)

    def masks(self, images: Tensor) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield for each picture where each ground is, bool [G, H, W], to the pixel, and the picture in Lab uint8."""
        pictures = eight_bit(check_images(images))
        for picture, weights in zip(pictures, self._weights(images, pictures).numpy()):
            lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)
            yield outlines(lab, weights), lab

    def keep(self, grounds: Sequence[int]) -> None:
        """Forget all grounds but those at these places."""
        self.centres_ = tuple(self.centres_[ground] for ground in grounds)

    def state(self) -> dict[str, Tensor]:
        """What `fit` learned: `centres.1.0` are the first of the clusterings that agree on the second ground."""
        if self.mean_ is None or self.scale_ is None:
            raise RuntimeError("Grounds is not fitted: call fit(images) first")
        centres = {
            f"centres.{ground}.{place}": rows.contiguous()
            for ground, group in enumerate(self.centres_)
            for place, rows in enumerate(group)
        }
        return {"mean": self.mean_, "scale": self.scale_, **centres}

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Take back what `state` gave."""
        self.mean_, self.scale_ = state["mean"], state["scale"]
        places = sorted(tuple(map(int, name.split(".")[1:])) for name in state if name.startswith("centres."))
        grounds = sorted({ground for ground, _ in places})
        self.centres_ = tuple(
            tuple(state[f"centres.{ground}.{place}"] for own, place in places if own == ground) for ground in grounds
        )
        return self

    def _cells(self, images: Tensor, pictures: np.ndarray) -> Tensor:
        """[N, h, w, D]: the network's layers on one grid, then the cell's colour (Lab); `pictures` are RGB uint8."""
        layers = self._layers(images, pictures)
        grid = layers[-1].shape[2:]
        return torch.cat([resized(layer, grid, "bilinear") for layer in layers], dim=1).permute(0, 2, 3, 1)

    def _layers(self, images: Tensor, pictures: np.ndarray) -> list[Tensor]:
        """The network's layers `[N, C, *, *]`, each on its own grid, then the cells' colour (Lab) `[N, 3, h, w]`."""
        height, width = check_images(images).shape[2:]
        shrink = min(1.0, self.side / max(height, width))
        size = [max(32, 32 * round(length * shrink / 32)) for length in (height, width)]
        same = size == [height, width]
        seen = images if same else F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
        grid = [length // self.stride for length in size]
        return [*(layer.cpu() for layer in self.backbone.maps(seen)), _colours(pictures, grid)]

    def _scale(self, sample: Tensor) -> Tensor:
        """What to divide by so that every layer has a total variance of 1, and the colours of `colour` squared."""
        spread = sample.std(0).clamp(min=1e-6)
        layers = [part * len(part) ** 0.5 for part in spread[:-3].split(list(self.backbone.channels))]
        return torch.cat([*layers, (spread[-3:].norm() / self.colour).expand(3)])


def k_means(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return `count` centres [k, D] of `rows` [n, D]: k-means++ (Arthur & Vassilvitskii, 2007), then Lloyd's rounds.

    >>> rows = torch.tensor([[0.0], [0.2], [9.0], [9.2]])
    >>> k_means(rows, 2, torch.Generator().manual_seed(0)).sort(0).values.flatten().round(decimals=3)
    tensor([0.1000, 9.1000])
    """
    centres = rows[torch.randint(len(rows), (1,), generator=generator)]
    while len(centres) < count:
        nearest = _squares(rows, centres).amin(1).clamp(min=0) + 1e-12
        centres = torch.cat([centres, rows[torch.multinomial(nearest, 1, generator=generator)]])
    for _ in range(ROUNDS):
        member = F.one_hot(_squares(rows, centres).argmin(1), count).to(rows)
        sizes = member.sum(0)[:, None]
        moved = torch.where(sizes > 0, member.T @ rows / sizes.clamp(min=1), centres)
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres


def _squares(rows: Tensor, centres: Tensor) -> Tensor:
    """Squared distances [n, k] between `rows` [n, D] and `centres` [k, D]: one matrix product, by far the fastest."""
    lengths = rows.square().sum(1, keepdim=True)
    return torch.addmm(centres.square().sum(1) + lengths, rows, centres.T, alpha=-2)


def _nearness(centres: Tensor, mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """The squared distance of a cell to each of `centres` [K, D], less what all of them have in common.

    A linear function of the cell before it is standardised: factors [K, D], and what is added [K]. For a cell x,
    |(x - mean) / scale - c|² is |c|² - 2 c (x - mean) / scale and what does not depend on the centre c.
    """
    factors = -2 * centres / scale
    return factors, centres.square().sum(1) - factors @ mean


def _on_grid(layers: Sequence[Tensor], grid: Sequence[int], factors: Tensor, added: Tensor) -> Tensor:
    """[N, K, h, w]: factors [K, D] times the layers' D channels, plus what is added [K].

    Both are linear, so a coarse layer is resized after it has been multiplied: K maps instead of its channels.
    """
    result = added[:, None, None]
    for layer, factor in zip(layers, factors.split([layer.shape[1] for layer in layers], dim=1), strict=True):
        result = result + resized((factor @ layer.flatten(2)).unflatten(2, layer.shape[2:]), grid, "bilinear")
    return result


def _membership(squares: Tensor, centres: Tensor) -> Tensor:
    """[N, h, w]: near 1 where the first of `centres` [k, D] is by far the nearest, of `squares` [N, k, h, w]."""
    apart = torch.pdist(centres).square().median()
    return torch.sigmoid(8 * (squares[:, 1:].amin(1) - squares[:, 0]) / apart)


def _core(mask: Tensor) -> float:
    """Share of the cells set in bool [N, h, w] whose eight neighbours are set as well."""
    inside = -F.max_pool2d(-mask.float()[:, None], 3, stride=1, padding=1)
    return float(inside.sum() / mask.sum())


def _agreeing(masks: list[Tensor], agreement: float) -> list[list[int]]:
    """Return groups of places: each of the masks bool [n] belongs to the first one left that it agrees with."""
    if not masks:
        return []
    stacked = torch.stack(masks).float()
    common, sizes = stacked @ stacked.T, stacked.sum(1)
    overlap = common / (sizes[:, None] + sizes - common)
    left, groups = list(range(len(masks))), []
    while left:
        groups.append([place for place in left if overlap[left[0], place] >= agreement])
        left = [place for place in left if place not in groups[-1]]
    return groups


def _colours(pictures: np.ndarray, grid: list[int]) -> Tensor:
    """Lab of pictures, RGB uint8 [N, H, W, 3], on a grid: [N, 3, h, w]."""
    small = [cv2.resize(picture, grid[::-1], interpolation=cv2.INTER_AREA) for picture in pictures]
    lab = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2LAB) for image in small])
    return torch.from_numpy(lab).permute(0, 3, 1, 2).float()
