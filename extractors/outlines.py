"""Where exactly a ground ends: the cells of a network say it roughly, the colours near by say it to the pixel."""

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


def outlines(image: np.ndarray, weights: np.ndarray, *, reach: float = 0.03, colour: float = 4.0) -> np.ndarray:
    """Return where each ground is, bool [G, H, W], from how surely each cell is of it, [G, h, w].

    Near every pixel, within `reach` of the longer side, the colours of the ground and of the rest are each one Gaussian
    (in Lab); their log likelihood ratio, at most `colour`, is added to the cells' log odds. Done twice on half cells
    and then on the pixels, each time with Gaussians of what was told apart before, and at first of what the cells say,
    less what is far off the colours near by: a hole may be too small for the cells.

    Args:
        image: RGB uint8 [H, W, 3].
        weights: in [0, 1], [G, h, w].
        reach: share of the longer side.
        colour: how much colours may say against the cells, in log odds.
    """
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)
    grid = (weights.shape[2], weights.shape[1])
    window = (2 * max(1, round(reach * max(grid))) + 1,) * 2
    small = cv2.resize(lab, (2 * grid[0], 2 * grid[1]), interpolation=cv2.INTER_AREA)
    levels = [_Colours.of(pixels, grid, window) for pixels in (small, lab)]
    found = [_outlined(levels[0], levels[1], weight, colour) for weight in weights]
    return np.array(found, bool).reshape(len(weights), *image.shape[:2])


@dataclass(frozen=True)
class _Colours:
    """A picture's colours. One plane each, not three numbers per pixel: that saves a quarter of the time."""

    planes: np.ndarray
    """[3, H, W]: L, a, b."""
    squares: np.ndarray
    """[H, W]: each pixel's squared length."""
    grid: tuple[int, int]
    """(w, h) of the cells for which Gaussians are worked out."""
    window: tuple[int, int]
    """How many of these are near by, across and down."""

    @classmethod
    def of(cls, pixels: np.ndarray, grid: tuple[int, int], window: tuple[int, int]) -> Self:
        planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
        return cls(planes, _square(planes), grid, window)

    def enlarged(self, values: np.ndarray) -> np.ndarray:
        """[..., h, w] at the picture's size, linearly between."""
        if values.ndim == 3:
            return np.stack([self.enlarged(plane) for plane in values])
        return cv2.resize(values, self.squares.shape[::-1], interpolation=cv2.INTER_LINEAR)

    def gaussian(self, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean colour [3, h, w] and squared spread [h, w] of the pixels near each cell, weighted by `share` [H, W]."""
        total = self._nearby(share) + 1e-3
        mean = np.stack([self._nearby(plane * share) for plane in self.planes]) / total
        return mean, (self._nearby(self.squares * share) / total - _square(mean)).clip(LEAST_SPREAD)

    def distance(self, mean: np.ndarray) -> np.ndarray:
        """Squared distance [H, W] of each pixel's colour to the `mean` [3, h, w] near by."""
        return _square(self.planes - self.enlarged(mean))

    def likelihood(self, share: np.ndarray) -> np.ndarray:
        """Log likelihood [H, W] of each pixel's colour under the Gaussian of those near by, weighted by `share`."""
        mean, spread = self.gaussian(share)
        return -self.distance(mean) * self.enlarged(0.5 / spread) - self.enlarged(0.5 * np.log(spread))

    def without_outliers(self, weight: np.ndarray) -> np.ndarray:
        """`weight` [H, W], 0 where a pixel is far off the colours near by that it belongs to, outliers not counted."""
        share = weight
        for limit in OUTLIERS:
            mean, spread = self.gaussian(share)
            share = weight * (self.distance(mean) / self.enlarged(spread) < limit**2)
        return share

    def _nearby(self, plane: np.ndarray) -> np.ndarray:
        return cv2.blur(cv2.resize(plane, self.grid, interpolation=cv2.INTER_AREA), self.window)


def _outlined(small: _Colours, whole: _Colours, weight: np.ndarray, colour: float) -> np.ndarray:
    """uint8 [H, W], 1 where the ground is."""
    share = small.without_outliers(small.enlarged(weight))
    for colours in (small, small, whole):
        sure = colours.enlarged(weight).clip(*DOUBT)
        share = colours.enlarged(share)
        odds = np.log(sure / (1 - sure))
        odds += (colours.likelihood(share) - colours.likelihood(1 - share)).clip(-colour, colour)
        found = cv2.medianBlur((odds > 0).astype(np.uint8), 3)
        share = found.astype(np.float32)
    return found


def _square(planes: np.ndarray) -> np.ndarray:
    """Squared length of each pixel's vector: [3, H, W] -> [H, W]."""
    own = planes * planes
    return own[0] + own[1] + own[2]
