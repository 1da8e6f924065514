"""Where exactly a ground ends: the cells of a network say it roughly, the colours near by say it to the pixel."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np

DOUBT = (0.2, 0.8)
"""What the cells say about a pixel is never surer than this."""
OUTLIERS = (2.0, 2.0, 3.0)
"""Standard deviations off a ground's colours near by, in rounds, from which on a pixel is no longer counted to it."""
LEAST_SPREAD = 9.0
"""Of the colours of what is near by, squared: pictures have noise."""


def outlines(lab: np.ndarray, weights: np.ndarray, *, reach: float = 0.03, colour: float = 4.0) -> np.ndarray:
    """Return where each ground is, bool [G, H, W], from how surely each cell is of it, [G, h, w].

    Near every pixel, within `reach` of the longer side, the colours of the ground and of the rest are each one Gaussian
    (in Lab); their log likelihood ratio, at most `colour`, is added to the cells' log odds. Done twice on half cells
    and then on the pixels, each time with Gaussians of what was told apart before, and at first of what the cells say,
    less what is far off the colours near by: a hole may be too small for the cells.

    Args:
        lab: the picture in Lab, uint8 [H, W, 3].
        weights: in [0, 1], [G, h, w].
        reach: share of the longer side.
        colour: how much colours may say against the cells, in log odds.
    """
    pixels = lab.astype(np.float32)
    grid = (weights.shape[2], weights.shape[1])
    window = (2 * max(1, round(reach * max(grid))) + 1,) * 2
    small = cv2.resize(pixels, (2 * grid[0], 2 * grid[1]), interpolation=cv2.INTER_AREA)
    near = _Neighbourhood.of(small, grid, window)
    whole = _planes(pixels)
    found = [_outlined(near, whole, weight, colour) for weight in weights]
    return np.array(found, bool).reshape(len(weights), *lab.shape[:2])


def _outlined(near: "_Neighbourhood", whole: np.ndarray, weight: np.ndarray, colour: float) -> np.ndarray:
    """uint8 [H, W], 1 where the ground is; `weight` is [h, w]."""
    sure = weight.clip(*DOUBT)
    odds = np.log(sure / (1 - sure))
    share = near.without_outliers(_enlarged(weight, near.planes))
    for planes in (near.planes, near.planes, whole):
        ratio = _applied(near.likelihood_ratio(share), planes).clip(-colour, colour)
        found = cv2.medianBlur((ratio > _enlarged(-odds, planes)).astype(np.uint8), 3)
        share = found.astype(np.float32)
    return found


@dataclass(frozen=True)
class _Gaussians:
    """One for each cell, of the colours near by."""

    mean: np.ndarray
    """[3, h, w]"""
    spread: np.ndarray
    """[h, w], squared"""

    @classmethod
    def of(cls, sums: np.ndarray, total: np.ndarray) -> Self:
        """From [4, h, w], L, a, b and squared length of the pixels near by, weighted, and their weight [h, w]."""
        mean = sums / (total + 1e-3)
        return cls(mean[:3], (mean[3] - _square(mean[:3])).clip(LEAST_SPREAD))

    def likelihood(self) -> np.ndarray:
        """Log likelihood of a colour as a function of L, a, b and its squared length: factors, and what is added."""
        inverse = 0.5 / self.spread
        rest = -inverse * _square(self.mean) - 0.5 * np.log(self.spread)
        return np.stack([*(2 * inverse * self.mean), -inverse, rest])

    def outside(self, limit: float) -> np.ndarray:
        """A function like `likelihood`'s, above 0 for colours more than `limit` standard deviations off the mean."""
        return np.stack([*(-2 * self.mean), np.ones_like(self.spread), _square(self.mean) - limit**2 * self.spread])


@dataclass(frozen=True)
class _Neighbourhood:
    """A picture's colours in half cells, and what is near each cell.

    What a cell makes of a colour is a linear function of (L, a, b, squared length); a pixel lies between cells, and its
    function between theirs.
    """

    planes: np.ndarray
    """[4, 2 h, 2 w], see `_planes`."""
    grid: tuple[int, int]
    """(w, h) of the cells."""
    window: tuple[int, int]
    """How many of these are near by, across and down."""
    sums: np.ndarray
    """[4, h, w]: mean of the planes near each cell."""

    @classmethod
    def of(cls, pixels: np.ndarray, grid: tuple[int, int], window: tuple[int, int]) -> Self:
        planes = _planes(pixels)
        return cls(planes, grid, window, np.stack([_nearby(plane, grid, window) for plane in planes]))

    def likelihood_ratio(self, share: np.ndarray) -> np.ndarray:
        """Log of how much likelier a colour is of the Gaussian near by weighted by `share` than of the rest's."""
        sums, total = self._weighted(share)
        return _Gaussians.of(sums, total).likelihood() - _Gaussians.of(self.sums - sums, 1 - total).likelihood()

    def without_outliers(self, weight: np.ndarray) -> np.ndarray:
        """`weight`, 0 where a half cell is far off the colours near by that it belongs to, outliers not counted."""
        share = weight
        for limit in OUTLIERS:
            outside = _Gaussians.of(*self._weighted(share)).outside(limit)
            share = weight * (_applied(outside, self.planes) < 0)
        return share

    def _weighted(self, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sums = np.stack([_nearby(plane, self.grid, self.window) for plane in self.planes * share])
        return sums, _nearby(share, self.grid, self.window)


def _planes(pixels: np.ndarray) -> np.ndarray:
    """[4, H, W]: L, a, b of each pixel of [H, W, 3], and the squared length of the three."""
    colours = cv2.split(pixels)
    return np.stack([*colours, _square(colours)])


def _applied(function: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """[H, W]: of each pixel's colour, from the factors of the planes and what is added, [5, h, w]."""
    result = _enlarged(function[-1], planes)
    for plane, factor in zip(planes, function):
        enlarged = _enlarged(factor, planes)
        enlarged *= plane
        result += enlarged
    return result


def _enlarged(plane: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """[h, w] at the size of the planes, linearly between."""
    return cv2.resize(plane, planes.shape[:0:-1], interpolation=cv2.INTER_LINEAR)


def _nearby(plane: np.ndarray, grid: tuple[int, int], window: tuple[int, int]) -> np.ndarray:
    """Mean of a plane [H, W] near each cell, [h, w]."""
    return cv2.blur(cv2.resize(plane, grid, interpolation=cv2.INTER_AREA), window)


def _square(planes: Iterable[np.ndarray]) -> np.ndarray:
    """Squared length of each pixel's vector: three of [H, W] -> [H, W]."""
    one, two, three = planes
    return one * one + two * two + three * three
