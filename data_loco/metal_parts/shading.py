"""Light on metal: a large lamp beside the camera, reflected by a rough surface; everything in linear radiance."""

from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from data_loco.metal_parts.geometry import Array, Patch, as_array
from data_loco.metal_parts.strips import by_strips, covered_strips


@dataclass(frozen=True)
class Lamp:
    """One soft lamp, near enough for its light to fall off across the picture."""

    slope: tuple[float, float]
    """Slope (x, y) of a mirror that would throw the lamp into the camera at the picture's middle."""
    spread: float
    """How far that slope changes per half picture width: nearness of lamp and camera."""
    power: float
    """Radiance of a white, matt, level surface."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Lamp":
        """A lamp at the upper left, as it varies from one photograph to the next."""
        slope = (rng.normal(-0.17, 0.025), rng.normal(-0.15, 0.025))
        return cls(slope, rng.normal(0.15, 0.02), rng.normal(1.0, 0.05))

    def mirror_slopes(self, patch: Patch, size: tuple[int, int]) -> tuple[Array, Array]:
        """Slopes at which each pixel of `patch` would mirror the lamp, [1, w] and [h, 1]."""
        x = np.arange(patch.cols.start, patch.cols.stop, dtype=np.float32)[None] * np.float32(2 / size[1]) - 1
        y = np.arange(patch.rows.start, patch.rows.stop, dtype=np.float32)[:, None] * np.float32(2 / size[0]) - 1
        return self.slope[0] - np.float32(self.spread) * x, self.slope[1] - np.float32(0.6 * self.spread) * y


@dataclass(frozen=True)
class Finish:
    """How a surface reflects."""

    tint: tuple[float, float, float]
    """Linear RGB of the reflected light."""
    matt: float
    """Share of light scattered evenly."""
    gloss: float
    """Radiance at the middle of the highlight."""
    along: float
    """Width of the highlight in slopes along the brush strokes."""
    across: float
    """Width across the strokes; equal to `along` for a surface without direction."""


STEEL = Finish((1.0, 0.985, 0.96), matt=0.16, gloss=0.42, along=0.17, across=0.42)
ZINC = Finish((0.95, 0.985, 1.02), matt=0.30, gloss=0.26, along=0.28, across=0.28)
BRIGHT_ZINC = Finish((0.96, 0.99, 1.03), matt=0.12, gloss=0.62, along=0.22, across=0.22)
YELLOW_ZINC = Finish((1.02, 0.83, 0.50), matt=0.13, gloss=0.56, along=0.22, across=0.22)


@dataclass(frozen=True)
class Surface:
    """A surface as it is before light falls on it."""

    slopes: tuple[Array, Array]
    """Of its normal (x, y), [h, w] each."""
    texture: Array
    """Share of light it throws back, [h, w] around 1."""
    finish: Finish
    brush: float = 0.0
    """The strokes' direction in the picture, in radians."""


def lay(canvas: Array, patch: Patch, surface: Surface, alpha: Array, lamp: Lamp) -> None:
    """Lay `surface`, lit by `lamp`, over `canvas` [3, H, W] in place: on `patch`, with coverage `alpha` [h, w]."""
    ground, (across, down) = canvas[:, *patch.window], lamp.mirror_slopes(patch, (canvas.shape[1], canvas.shape[2]))
    tint = np.float32(lamp.power) * np.array(surface.finish.tint, np.float32)
    for rows, cols in covered_strips(alpha):
        radiance = _shade(surface, (across[:, cols], down[rows]), (rows, cols))
        texture, covers = surface.texture[rows, cols], alpha[rows, cols]
        for plane, colour in zip(ground, tint):
            _mix(plane[rows, cols], colour * radiance * texture, covers)


def blend(canvas: Array, colour: Array, alpha: Array) -> None:
    """Lay radiance `colour` [3] over `canvas` [3, h, w] with coverage `alpha` [h, w], in place."""
    for window in covered_strips(alpha):
        for plane, radiance in zip(canvas, colour):
            _mix(plane[window], radiance, alpha[window])


def _mix(plane: Array, radiance: Array | np.float32, alpha: Array) -> None:
    difference = radiance - plane
    difference *= alpha
    plane += difference


def _shade(surface: Surface, mirror: tuple[Array, Array], window: tuple[slice, slice]) -> Array:
    """White radiance [h, w] of a `window` of the surface, where the slopes `mirror` would show the lamp."""
    finish, (sx, sy) = surface.finish, (slopes[window] for slopes in surface.slopes)
    dx, dy = sx - mirror[0], sy - mirror[1]
    c, s = np.float32(np.cos(surface.brush)), np.float32(np.sin(surface.brush))
    along, across = (c * dx + s * dy) / np.float32(finish.along), (c * dy - s * dx) / np.float32(finish.across)
    highlight = np.exp(-0.5 * (along * along + across * across))
    # A matt surface sees the lamp by the cosine law; mirror slopes are half the lamp's own.
    lx, ly = 2 * mirror[0], 2 * mirror[1]
    cosine = (1 + sx * lx + sy * ly) / np.sqrt((1 + sx * sx + sy * sy) * (1 + lx * lx + ly * ly))
    return finish.matt * (0.35 + np.maximum(cosine, 0)) + finish.gloss * highlight


def relief_slopes(height: Array, scale: float) -> tuple[Array, Array]:
    """Slopes of the surface's normal (x, y) from its height in mm, at `scale` pixels per mm."""
    factor = -scale / 8
    return (
        as_array(cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=factor, borderType=cv2.BORDER_REPLICATE)),
        as_array(cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=factor, borderType=cv2.BORDER_REPLICATE)),
    )


def rim(distance: Array, width: float) -> Array:
    """Height in mm of a rounded rim: 0 inside, falling over the last `width` mm before the edge."""
    return by_strips(partial(_rounded, width=width), distance)


def _rounded(distance: Array, *, width: float) -> Array:
    depth = np.clip(1 + distance / np.float32(width), 0, 1.5)
    return -np.float32(width * 0.45) * depth * depth


def hollows(height: Array, scale: float) -> Array:
    """Share of light, in (0, 1], that reaches each point of a relief in mm: what lies deep is dark."""
    around = as_array(cv2.GaussianBlur(height, (0, 0), max(0.5 * scale, 0.6)))
    return by_strips(lambda *levels: np.exp(np.float32(-3.0) * np.maximum(np.subtract(*levels), 0)), around, height)


def cast_shadow(canvas: Array, alpha: Array, offset: tuple[float, float], softness: float, strength: float) -> None:
    """Darken `canvas` [3, H, W] where the lamp is hidden by `alpha` [H, W], moved by `offset` pixels (x, y)."""
    if any(offset):
        move = np.array([[1, 0, offset[0]], [0, 1, offset[1]]], np.float64)
        alpha = as_array(cv2.warpAffine(alpha, move, (alpha.shape[1], alpha.shape[0]), flags=cv2.INTER_LINEAR))
    light = _soften(alpha, softness)
    light *= np.float32(strength)
    np.subtract(1, light, out=light)
    canvas *= light


def _soften(image: Array, sigma: float) -> Array:
    """A wide blur, worked out on a smaller picture where that changes nothing to be seen."""
    step = max(int(sigma / 3), 1)
    if step == 1:
        return as_array(cv2.GaussianBlur(image, (0, 0), max(sigma, 0.3)))
    small = cv2.resize(image, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), max(sigma / step, 0.3))
    return as_array(cv2.resize(blurred, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR))
