"""Textures: brushed steel, the spangle of galvanised steel, black cloth."""

from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from data_loco.metal_parts.geometry import Array, Patch, as_array
from data_loco.metal_parts.strips import by_strips


def brushed(patch: Patch, rng: np.random.Generator) -> Array:
    """Streaks of a brush along the plane's first axis, [h, w] on the pixels of `patch`; mean 0, deviation about 1."""
    rows, cols = (max(int(np.ptp(axis) * patch.scale), 16) for axis in (patch.v, patch.u))
    strokes = rng.standard_normal((rows, cols), dtype=np.float32)
    lengths = max(cols // 4, 3), max(cols // 20, 3)
    long, short = (as_array(cv2.blur(strokes, (length, 1))) for length in lengths)
    texture = by_strips(partial(_streaks, lengths=lengths), long, short[::-1])
    x = patch.u * np.float32(patch.scale) + np.float32(cols / 2)
    y = patch.v * np.float32(patch.scale) + np.float32(rows / 2)
    return as_array(cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))


def _streaks(long: Array, short: Array, *, lengths: tuple[int, int]) -> Array:
    """Strokes of two `lengths` in pixels, from noise averaged over those."""
    long, short = long * np.float32(lengths[0] ** 0.5), short * np.float32(lengths[1] ** 0.5)
    return np.float32(0.86) * long + np.float32(0.5) * short


def spangle(patch: Patch, rng: np.random.Generator, grain: float) -> tuple[Array, Array]:
    """Zinc crystals of about `grain` mm: two slopes per pixel, constant in a crystal but for its fine needles."""
    height, width = patch.u.shape
    count = max(int(np.ptp(patch.u) * np.ptp(patch.v) / grain**2), 4)
    seeds = np.ones((height, width), np.uint8)
    seeds[rng.integers(0, height, count), rng.integers(0, width, count)] = 0
    blurred = cv2.GaussianBlur(rng.standard_normal((height, width), dtype=np.float32), (0, 0), grain * patch.scale / 6)
    _, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    warp = blurred * np.float32(grain * patch.scale / 5 / blurred.std())
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    wavy = as_array(cv2.remap(labels.astype(np.float32), x + warp, y + warp[::-1], cv2.INTER_NEAREST))
    crystal = wavy.astype(np.int32)
    tilt = rng.standard_normal((crystal.max() + 1, 2), dtype=np.float32)
    soft = cv2.GaussianBlur(tilt.take(crystal, axis=0), (0, 0), max(0.08 * patch.scale, 0.4))
    return as_array(soft[..., 0]), as_array(soft[..., 1])


def mottle(shape: tuple[int, int], rng: np.random.Generator, length: float) -> Array:
    """Smooth blotches about `length` pixels wide, [h, w]: dirt, oil film, folds of cloth."""
    rows, cols = (int(np.ceil(side / length)) + 3 for side in shape)
    coarse = rng.standard_normal((rows, cols), dtype=np.float32)
    return as_array(cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC))


def cloth(size: tuple[int, int], scale: float, rng: np.random.Generator) -> Array:
    """Dense black cloth seen from above: linear radiance [H, W] of weave, folds, fibres and a little lint."""
    side = int(np.hypot(*size)) + 8
    pitch = max(0.62 * scale, 2.2)
    thread = np.arange(side, dtype=np.float32) * np.float32(2 * np.pi / pitch)
    rib = np.sin(thread + rng.uniform(0, 6)).astype(np.float32) * np.float32(0.15)
    weave = rib[:, None] * (np.float32(2) * np.sin(thread)[None] + 1)
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), rng.uniform(20, 70), 1.0)
    turn = turn - np.array([[0, 0, (side - size[1]) / 2], [0, 0, (side - size[0]) / 2]])
    threads = cv2.warpAffine(weave, turn, (size[1], size[0]), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    fibres = as_array(cv2.blur(rng.standard_normal(size, dtype=np.float32), (3, 3)))
    folds = mottle(size, rng, 22 * scale)
    canvas = by_strips(_fabric, fibres, as_array(threads), folds)
    lint = _lint(size, scale, rng)
    lies = np.nonzero(lint > 0)
    canvas[lies] += np.float32(0.03) * (lint[lies].astype(np.float32) / 255)
    return canvas


def _fabric(fibres: Array, threads: Array, folds: Array) -> Array:
    """Radiance of the cloth itself."""
    return np.float32(0.0052) * np.exp(fibres * np.float32(0.67) + threads + np.float32(0.12) * folds)


def _lint(size: tuple[int, int], scale: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    lint = np.zeros(size, np.uint8)
    for _ in range(rng.poisson(5)):
        steps = np.cumsum(rng.normal(rng.uniform(-0.2, 0.2, 2), 0.2, (6, 2)), axis=0)
        points = (rng.uniform(0, 1, 2) * size[::-1] + steps * scale) * 16
        bright = int(rng.integers(90, 255))
        cv2.polylines(lint, [points.astype(np.int32)], isClosed=False, color=bright, lineType=cv2.LINE_AA, shift=4)
    specks = rng.uniform(0, 1, (rng.poisson(25), 2)) * size
    lint[tuple(specks.astype(int).T)] = 160
    return lint
