"""The camera: lens blur, vignette, exposure, sensor noise, 8 bits."""

from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from data_loco.metal_parts.geometry import Array, as_array
from data_loco.metal_parts.strips import by_strips

SENSOR_NOISE = 0.011
"""Standard deviation after the transfer curve, of full scale 1."""


def expose(radiance: Array, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Linear radiance [3, H, W] -> photograph, RGB uint8 [H, W, 3].

    The transfer curve is a square root with a soft shoulder. Photon noise has a variance proportional to the signal, so
    behind a square root it has the same size everywhere, and plain Gaussian noise is right.
    """
    size = (radiance.shape[1], radiance.shape[2])
    defocus = max(rng.uniform(0.6, 0.95) * min(size[0] / 640, size[1] / 1024), 0.45)
    vignette = _vignette(size, rng)
    gains = rng.normal(1, 0.03) * rng.normal(1, 0.005, 3)
    noise = as_array(rng.standard_normal(size, dtype=np.float32))
    noise *= np.float32(SENSOR_NOISE)
    colours = []
    for plane, gain in zip(radiance, gains):
        light = as_array(cv2.GaussianBlur(plane, (0, 0), defocus))
        develop = partial(_develop, gain=gain)
        signal = by_strips(develop, light, vignette, noise, _colour_noise(size, rng))
        colours.append(cv2.convertScaleAbs(signal, alpha=255))
    return np.asarray(cv2.merge(colours), dtype=np.uint8)


def _develop(light: Array, vignette: Array, noise: Array, grain: Array, *, gain: float) -> Array:
    """Linear light of one colour -> what the sensor reads, of full scale 1."""
    light = light * (vignette * np.float32(gain))
    light /= 1 + np.float32(0.12) * light * light
    return np.maximum(np.sqrt(light) + noise + grain, 0)


def _vignette(size: tuple[int, int], rng: np.random.Generator) -> Array:
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) - np.float32(rng.normal(0, 0.05)) for side in size)
    return 1 - np.float32(0.13) * (x * x)[None] - np.float32(0.08) * (y * y)[:, None]


def _colour_noise(size: tuple[int, int], rng: np.random.Generator) -> Array:
    """Noise of one colour [H, W] as demosaicing leaves it: twice as coarse as that of brightness."""
    coarse = rng.standard_normal((size[0] // 2, size[1] // 2), dtype=np.float32)
    coarse *= np.float32(0.6 * SENSOR_NOISE)
    return as_array(cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_LINEAR))
