"""Which material covers each pixel, learned from normal pictures without labels: frozen features, clustered.

A *ground* is a cluster that covers a good part of the pictures: the table, the sheet that holds the screws. Clusterings
of several sizes are made, and what at least two of them agree on is a ground. Cells decide roughly; colours near by
decide where exactly a ground ends.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from extractors.backbone import Backbone
from extractors.frozen_features import resized
from extractors.protocol import check_images

DEFAULT_BACKBONE = Backbone("tf_efficientnet_lite0", ("blocks.1", "blocks.2"))
SAMPLED_CELLS = 24_000
"""Cells of all pictures together that the clusters are learned from."""
ROUNDS = 30
"""Of k-means."""
DOUBT = (0.2, 0.8)
"""What the cells say about a pixel is never surer than this."""
OUTLIERS = (2.0, 2.0, 3.0)
"""Standard deviations off a ground's colours near by, in rounds, from which on a pixel is no longer counted to it."""
LEAST_SPREAD = 9.0
"""Of the colours of what is near by, squared: pictures have noise."""


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
        collected = [self._cells(batch) for batch in images]
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
        if self.mean_ is None or self.scale_ is None:
            raise RuntimeError("Grounds is not fitted: call fit(images) first")
        cells = (self._cells(images) - self.mean_) / self.scale_
        if not self.centres_:
            return cells.new_zeros(cells.shape[0], 0, *cells.shape[1:3])
        return torch.stack([_memberships(cell, self.centres_) for cell in cells])

    def masks(self, images: Tensor) -> np.ndarray:
        """Return where each ground is, bool [N, G, H, W], with outlines that follow the picture."""
        weights = self.weights(images).numpy()
        pictures = (images.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)
        found = [[outlined(image, weight) for weight in row] for image, row in zip(pictures, weights)]
        return np.array(found, bool).reshape(len(images), len(self.centres_), *images.shape[2:])

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

    def _cells(self, images: Tensor) -> Tensor:
        """[N, h, w, D]: the network's layers on one grid, then the cell's colour (Lab)."""
        height, width = check_images(images).shape[2:]
        shrink = min(1.0, self.side / max(height, width))
        size = [max(32, 32 * round(length * shrink / 32)) for length in (height, width)]
        seen = F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
        grid = [length // self.stride for length in size]
        layers = [resized(layer.cpu(), grid, "bilinear") for layer in self.backbone.maps(seen)]
        return torch.cat([*layers, _colours(images, grid)], dim=1).permute(0, 2, 3, 1)

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


def outlined(image: np.ndarray, weight: np.ndarray, *, reach: float = 0.03, colour: float = 4.0) -> np.ndarray:
    """Return where a ground is, bool [H, W], from how surely each cell is of it, [h, w].

    Near every pixel, within `reach` of the longer side, the colours of the ground and of the rest are each one Gaussian
    (in Lab); their log likelihood ratio, at most `colour`, is added to the cells' log odds. Done twice on half cells
    and then on the pixels, each time with Gaussians of what was told apart before, and at first of what the cells say,
    less what is far off the colours near by: a hole may be too small for the cells.

    Args:
        image: RGB uint8 [H, W, 3].
        weight: in [0, 1], [h, w].
        reach: share of the longer side.
        colour: how much colours may say against the cells, in log odds.
    """
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)
    grid, whole = (weight.shape[1], weight.shape[0]), (image.shape[1], image.shape[0])
    half = (2 * grid[0], 2 * grid[1])
    window = (2 * max(1, round(reach * max(grid))) + 1,) * 2
    small = cv2.resize(lab, half, interpolation=cv2.INTER_AREA)
    small_squares, squares = _square(small), _square(lab)
    share = _without_outliers(small, small_squares, _enlarged(weight, half), grid, window)
    for pixels, lengths, size in ((small, small_squares, half), (small, small_squares, half), (lab, squares, whole)):
        sure = _enlarged(weight, size).clip(*DOUBT)
        share = _enlarged(share, size)
        ground, rest = (_likelihood(pixels, lengths, part, grid, window) for part in (share, 1 - share))
        odds = np.log(sure / (1 - sure)) + (ground - rest).clip(-colour, colour)
        found = cv2.medianBlur((odds > 0).astype(np.uint8), 3)
        share = found.astype(np.float32)
    return found.astype(bool)


def _without_outliers(
    pixels: np.ndarray, squares: np.ndarray, weight: np.ndarray, grid: tuple[int, int], window: tuple[int, int]
) -> np.ndarray:
    """`weight` [H, W], 0 where a pixel is far off the colours near by that it belongs to, outliers not counted."""
    share, size = weight, pixels.shape[1::-1]
    for limit in OUTLIERS:
        mean, spread = _gaussian(pixels, squares, share, grid, window)
        off = _square(pixels - _enlarged(mean, size)) / _enlarged(spread, size)
        share = weight * (off < limit**2)
    return share


def _likelihood(
    pixels: np.ndarray, squares: np.ndarray, share: np.ndarray, grid: tuple[int, int], window: tuple[int, int]
) -> np.ndarray:
    """Log likelihood [H, W] of each pixel's colour under the Gaussian of the pixels near by, weighted by `share`."""
    mean, spread = _gaussian(pixels, squares, share, grid, window)
    size = pixels.shape[1::-1]
    narrow, width = _enlarged(0.5 / spread, size), _enlarged(0.5 * np.log(spread), size)
    return -_square(pixels - _enlarged(mean, size)) * narrow - width


def _gaussian(
    pixels: np.ndarray, squares: np.ndarray, share: np.ndarray, grid: tuple[int, int], window: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean colour [h, w, 3] and squared spread [h, w] of the pixels near each cell of the grid, weighted by `share`.

    `squares` [H, W] are the squared lengths of `pixels` [H, W, 3].
    """
    total, sums, lengths = (
        cv2.blur(cv2.resize(part, grid, interpolation=cv2.INTER_AREA), window)
        for part in (share, pixels * share[..., None], squares * share)
    )
    total = total + 1e-3
    mean = sums / total[..., None]
    return mean, (lengths / total - _square(mean)).clip(LEAST_SPREAD)


def _enlarged(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[h, w, ...] at `size` (W, H), linearly between."""
    return cv2.resize(values, size, interpolation=cv2.INTER_LINEAR)


def _square(colours: np.ndarray) -> np.ndarray:
    """Squared length of each pixel's vector, [H, W]."""
    own = colours * colours
    return own[..., 0] + own[..., 1] + own[..., 2]


def _squares(rows: Tensor, centres: Tensor) -> Tensor:
    """Squared distances [n, k] between `rows` [n, D] and `centres` [k, D]: one matrix product, by far the fastest."""
    lengths = rows.square().sum(1, keepdim=True)
    return torch.addmm(centres.square().sum(1) + lengths, rows, centres.T, alpha=-2)


def _memberships(cells: Tensor, grounds: Sequence[Sequence[Tensor]]) -> Tensor:
    """[G, h, w]: how surely each cell [h, w, D] of a picture is of each ground, by the clusterings that agree on it."""
    clusterings = [centres for group in grounds for centres in group]
    squares = _squares(cells.flatten(0, 1), torch.cat(clusterings)).T.contiguous()
    parts = squares.split([len(centres) for centres in clusterings])
    each = torch.stack([_membership(part, centres) for part, centres in zip(parts, clusterings, strict=True)])
    means = [own.mean(0) for own in each.split([len(group) for group in grounds])]
    return torch.stack(means).unflatten(1, cells.shape[:2])


def _membership(squares: Tensor, centres: Tensor) -> Tensor:
    """[n]: near 1 where the first of `centres` [k, D] is the nearest by far, to which cells have `squares` [k, n]."""
    apart = torch.pdist(centres).square().median()
    return torch.sigmoid(8 * (squares[1:].amin(0) - squares[0]) / apart)


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


def _colours(images: Tensor, grid: list[int]) -> Tensor:
    pictures = (images.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)
    small = [cv2.resize(image, grid[::-1], interpolation=cv2.INTER_AREA) for image in pictures]
    lab = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2LAB) for image in small])
    return torch.from_numpy(lab).permute(0, 3, 1, 2).float()
