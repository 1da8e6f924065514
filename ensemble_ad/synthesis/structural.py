"""Damage, drawn without knowing the object: blended textures, pasted patches and scars, dots, arcs.

Lengths are given for a picture whose shorter side is 224 pixels, as they are published, and grow with it.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from ensemble_ad.synthesis.edit import Edit, blend
from extractors.perlin import random_fields
from extractors.textures import Textures

PUBLISHED_SIDE = 224
NOISE_SIDE = 256
"""Longer side of the field of noise before it is stretched to the picture."""
DRAWS = 16
"""Fields of noise that one mask is chosen from."""
BLACK, WHITE = 25, 235
"""Levels that dots and arcs are drawn with."""

Range = tuple[float, float]


@dataclass(frozen=True)
class PerlinTexture:
    """A texture blended in where Perlin noise is high (DRAEM, Zavrtanik et al., ICCV 2021, section 3.3).

    The published mask is whatever exceeds the threshold: up to half of the picture, in dozens of pieces. Here it is the
    one to three largest pieces of the first field of 16 where their area lies in `area`, as real damage is small.
    """

    textures: Textures
    max_transparency: float = 0.8
    """Share of the normal picture that shines through, drawn from 0 to this."""
    threshold: float = 0.5
    """Where the noise exceeds this there is an anomaly."""
    pieces: tuple[int, int] = (1, 3)
    area: Range = (0.001, 0.06)
    """Share of the picture."""

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> Edit | None:
        """Blend one texture into `image`."""
        size = (image.shape[0], image.shape[1])
        mask = self._mask(size, rng)
        texture = self.textures.draw(size, rng)
        return blend(image, texture, mask * (1 - rng.uniform(0, self.max_transparency)))

    def _mask(self, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        """The pieces of the first field whose area fits; nothing where none does."""
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        scale = NOISE_SIDE / max(size)
        small = (max(2, round(size[0] * scale)), max(2, round(size[1] * scale)))
        pieces = int(rng.integers(self.pieces[0], self.pieces[1] + 1))
        for noise in random_fields(DRAWS, small, generator):
            field = cv2.resize(noise.numpy(), size[::-1], interpolation=cv2.INTER_LINEAR)
            mask = largest_pieces(field > self.threshold, pieces)
            if self.area[0] <= mask.mean() <= self.area[1]:
                return mask
        return np.zeros(size, bool)


@dataclass(frozen=True)
class CutPaste:
    """A rectangle of the picture, slightly recoloured, pasted elsewhere (Li et al., CVPR 2021, section 3.1)."""

    area: Range = (0.02, 0.15)
    """Share of the picture."""
    aspect: Range = (0.3, 3.3)
    """Height to width, drawn evenly on a logarithmic scale."""
    jitter: float = 0.1

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> Edit | None:
        """Cut and paste once."""
        pixels, aspect = rng.uniform(*self.area) * image[..., 0].size, np.exp(rng.uniform(*np.log(self.aspect)))
        sides = (np.sqrt(pixels * aspect), np.sqrt(pixels / aspect))
        height, width = (int(np.clip(round(side), 1, limit - 1)) for side, limit in zip(sides, image.shape))
        patch = jittered(_crop(image, (height, width), rng), self.jitter, rng)
        top, left = rng.integers(image.shape[0] - height + 1), rng.integers(image.shape[1] - width + 1)
        content, weight = image.copy(), np.zeros(image.shape[:2], np.float32)
        content[top : top + height, left : left + width] = patch
        weight[top : top + height, left : left + width] = 1
        return blend(image, content, weight)


@dataclass(frozen=True)
class Scar:
    """A thin turned strip of the picture, pasted elsewhere (CutPaste-Scar, Li et al., CVPR 2021, section 3.2)."""

    width: Range = (2, 12)
    length: Range = (20, 50)
    degrees: Range = (-45, 45)
    jitter: float = 0.1

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> Edit | None:
        """Paste one scar, upright before it is turned."""
        scale = _scale(image)
        size = (round(rng.uniform(*self.length) * scale), max(1, round(rng.uniform(*self.width) * scale)))
        size = (min(size[0], image.shape[0]), min(size[1], image.shape[1]))
        patch = jittered(_crop(image, size, rng), self.jitter, rng)
        turn = cv2.getRotationMatrix2D(((size[1] - 1) / 2, (size[0] - 1) / 2), rng.uniform(*self.degrees), 1)
        turn[:, 2] = turn[:, 2] + _place(image, max(size) / 2, rng) - np.array([size[1] - 1, size[0] - 1]) / 2
        target = (image.shape[1], image.shape[0])
        content = cv2.warpAffine(patch, turn, target, borderMode=cv2.BORDER_REPLICATE)
        return blend(image, content, cv2.warpAffine(np.ones(size, np.float32), turn, target))


@dataclass(frozen=True)
class Dots:
    """One to three dots, black ones or white ones with a black border, that fade into what surrounds them."""

    black: Range = (6, 10)
    """Diameter."""
    white: Range = (6, 12)
    """Inner diameter; the border adds a quarter of it on each side."""
    count: tuple[int, int] = (1, 3)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> Edit | None:
        """Draw the dots."""
        content, weight = image.astype(np.float32), np.zeros(image.shape[:2], np.float32)
        for _ in range(rng.integers(self.count[0], self.count[1] + 1)):
            bordered = bool(rng.random() < 0.5)
            radius = rng.uniform(*(self.white if bordered else self.black)) / 2 * _scale(image)
            reach = 1.5 * radius if bordered else radius
            distance = _distance(image, _place(image, reach, rng))
            border = np.clip((distance - radius) / max(0.2 * radius, 1) + 0.5, 0, 1)
            near = distance < reach
            content[near] = (WHITE + (BLACK - WHITE) * border if bordered else BLACK + 0 * border)[near, None]
            weight = np.maximum(weight, np.clip((reach - distance) / max(0.4 * radius, 1), 0, 1))
        return blend(image, content, weight)


@dataclass(frozen=True)
class Arc:
    """A dark or bright scar along a part of a circle, fading at its edges."""

    radius: Range = (35, 90)
    thickness: float = 5
    degrees: float = 60

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> Edit | None:
        """Draw one arc, its middle inside the picture."""
        scale = _scale(image)
        radius, half = rng.uniform(*self.radius) * scale, self.thickness * scale / 2
        towards = rng.uniform(0, 2 * np.pi)
        centre = _place(image, half, rng) - radius * np.array([np.cos(towards), np.sin(towards)])
        y, x = np.ogrid[: image.shape[0], : image.shape[1]]
        angle = np.arctan2(y - centre[1], x - centre[0]) - towards
        off = np.abs((angle + np.pi) % (2 * np.pi) - np.pi) - np.radians(self.degrees) / 2
        across = np.abs(_distance(image, centre) - radius)
        beyond = np.hypot(across, np.maximum(off, 0) * radius)
        weight = np.clip((half - beyond) / max(half / 2, 1), 0, 1) * rng.uniform(0.6, 1)
        content = np.full_like(image, BLACK if rng.random() < 0.5 else WHITE)
        return blend(image, content, weight)


def largest_pieces(mask: np.ndarray, count: int) -> np.ndarray:
    """Return the `count` largest 8-connected pieces of bool [H, W], all where there are fewer.

    >>> largest_pieces(np.array([[True, False, True, True]]), 1).tolist()
    [[False, False, True, True]]
    """
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    order = np.argsort(-statistics[1:, cv2.CC_STAT_AREA], kind="stable")[:count] + 1
    return np.isin(labels, order)


def jittered(patch: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast, saturation times 1 - strength .. 1 + strength, hue turned by up to that share of a circle.

    RGB uint8 [h, w, 3] in and out.

    >>> jittered(np.full((2, 2, 3), 100, np.uint8), 0.0, np.random.default_rng(0))[0, 0].tolist()
    [100, 100, 100]
    """
    brightness, contrast, saturation = rng.uniform(1 - strength, 1 + strength, 3)
    turn = round(rng.uniform(-strength, strength) * 255)
    levels = patch.astype(np.float32) * brightness
    levels = (levels - levels.mean()) * contrast + levels.mean()
    hsv = cv2.cvtColor(np.rint(levels.clip(0, 255)).astype(np.uint8), cv2.COLOR_RGB2HSV_FULL)
    hsv[..., 0] += np.uint8(turn % 256)
    hsv[..., 1] = np.rint(hsv[..., 1] * saturation).clip(0, 255)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)


def _scale(image: np.ndarray) -> float:
    return min(image.shape[:2]) / PUBLISHED_SIDE


def _crop(image: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    top, left = (rng.integers(limit - side + 1) for limit, side in zip(image.shape, size))
    return image[top : top + size[0], left : left + size[1]]


def _place(image: np.ndarray, margin: float, rng: np.random.Generator) -> np.ndarray:
    """A point (x, y) at least `margin` from the picture's border, or its middle where there is none."""
    limits = np.array([image.shape[1] - 1, image.shape[0] - 1], float)
    margins = np.minimum(margin, limits / 2)
    return rng.uniform(margins, limits - margins)


def _distance(image: np.ndarray, point: np.ndarray) -> np.ndarray:
    y, x = np.ogrid[: image.shape[0], : image.shape[1]]
    return np.hypot(y - point[1], x - point[0])
