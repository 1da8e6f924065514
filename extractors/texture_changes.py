"""The ten random changes of which DRAEM applies three to every texture (Zavrtanik et al., ICCV 2021, section 3.3).

All take and give RGB uint8 [H, W, 3]. Kinds and ranges are those of the published code, which draws on the imgaug
package; here brightness is changed in RGB (there in a random colour space) and autocontrast ignores no extremes.
"""

from collections.abc import Callable

import cv2
import numpy as np

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def change(texture: np.ndarray, rng: np.random.Generator, count: int = 3) -> np.ndarray:
    """Apply `count` different changes in random order to RGB uint8 [H, W, 3].

    >>> change(np.zeros((8, 8, 3), np.uint8), np.random.default_rng(0)).dtype
    dtype('uint8')
    """
    for number in rng.choice(len(CHANGES), count, replace=False):
        texture = CHANGES[number](texture, rng)
    return texture


def gamma(texture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Contrast of each channel to a power in 0.5 .. 2."""
    levels = np.linspace(0, 1, 256)[:, None] ** rng.uniform(0.5, 2, 3)
    return cv2.LUT(texture, np.rint(255 * levels).astype(np.uint8)[None])


def brightness(texture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """All channels times 0.8 .. 1.2 plus -30 .. 30."""
    levels = np.arange(256) * rng.uniform(0.8, 1.2) + rng.uniform(-30, 30)
    return cv2.LUT(texture, np.rint(levels.clip(0, 255)).astype(np.uint8))


def sharpness(texture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """From smoothed (0) over unchanged (1) to sharpened (2)."""
    smooth = cv2.GaussianBlur(texture, (3, 3), 0)
    amount = rng.uniform(0, 2)
    return cv2.addWeighted(texture, amount, smooth, 1 - amount, 0)


def hue_and_saturation(texture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Hue and saturation each shifted by -50 .. 50 of 255 steps."""
    hsv = cv2.cvtColor(texture, cv2.COLOR_RGB2HSV_FULL)
    hue, saturation = rng.integers(-50, 51, 2)
    hsv[..., 0] += np.uint8(hue % 256)
    hsv[..., 1] = np.clip(hsv[..., 1].astype(np.int16) + saturation, 0, 255)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)


def solarize(texture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """With probability 0.5 invert what is brighter than a threshold in 32 .. 128."""
    inverted = (texture >= rng.integers(32, 129)) & (rng.random() < 0.5)
    return np.where(inverted, 255 - texture, texture)


def posterize(texture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Keep the upper 1 .. 8 bits."""
    return texture & np.uint8(256 - 2 ** int(rng.integers(8)))


def invert(texture: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    """Bright to dark."""
    return 255 - texture


def autocontrast(texture: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    """Stretch each channel to 0 .. 255."""
    low, high = texture.min((0, 1)).astype(np.float32), texture.max((0, 1)).astype(np.float32)
    return np.rint((texture - low) * (255 / np.maximum(high - low, 1))).astype(np.uint8)


def equalize(texture: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    """Make the levels of each channel equally frequent."""
    return np.stack([cv2.equalizeHist(np.ascontiguousarray(texture[..., channel])) for channel in range(3)], axis=-1)


def rotate(texture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turn by up to 45 degrees either way; what comes in is black."""
    return turned(texture, rng.uniform(-45, 45))


CHANGES: tuple[Change, ...]
CHANGES = (
    gamma,
    brightness,
    sharpness,
    hue_and_saturation,
    solarize,
    posterize,
    invert,
    autocontrast,
    equalize,
    rotate,
)


def turned(picture: np.ndarray, degrees: float) -> np.ndarray:
    """Return [H, W, 3] turned about its centre; what comes in is black.

    >>> turned(np.eye(3, dtype=np.uint8)[..., None].repeat(3, axis=-1), 90)[..., 0].tolist()
    [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    """
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    return cv2.warpAffine(picture, matrix, (width, height))
