"""What a gap is filled with when a component is taken away: bare ground of the same picture, as bright as around it."""

import cv2
import numpy as np

from ensemble_ad.synthesis.edit import window
from ensemble_ad.synthesis.room import free_corners

DONORS = 16
"""Patches of bare ground among which the best one fills a gap."""
TILES = (64, 32, 16, 8)
"""Sides in pixels of the patches that a gap is filled with where no patch is as large: the largest that is found."""
SMOOTH_SIDE = 128
"""Longer side in pixels of the picture in which colours are carried inwards."""


def filled(
    image: np.ndarray,
    bare: np.ndarray,
    place: tuple[slice, slice],
    gap: np.ndarray,
    ring: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray | None:
    """Return what to fill a gap with, float [h, w, 3]; None where there is no ground around it, or nowhere any bare.

    Of several patches of bare ground of its shape, the one that differs most evenly from what surrounds the gap; the
    difference, carried inwards, is added to it. Where none is as large, the colours of the surroundings are carried
    inwards and get the grain of many small patches.

    Args:
        image: RGB uint8 [H, W, 3].
        bare: bool [H, W], where the ground is free.
        place: the rows and columns of the window [h, w].
        gap: bool [h, w].
        ring: bool [h, w], the ground around it.
        rng: chooses the patches.
    """
    inside = window(gap | ring)
    surround, known = image[place][inside].astype(np.float32), ring[inside]
    if not known.any():
        return None
    patch = _best_patch(image, bare, surround, (gap | ring)[inside], known, rng)
    if patch is None:
        patch = _grain(image, bare, known.shape, rng)
    if patch is None:
        return None
    filling = image[place].astype(np.float32)
    filling[inside] = patch + _carried(surround - patch, known)
    return filling


def _best_patch(
    image: np.ndarray,
    bare: np.ndarray,
    surround: np.ndarray,
    need: np.ndarray,
    known: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray | None:
    """The patch float32 [h, w, 3] of bare ground whose difference to the surroundings varies least; None without."""
    best, least = None, np.inf
    for top, left in free_corners(bare, need, rng, DONORS):
        patch = image[top : top + known.shape[0], left : left + known.shape[1]].astype(np.float32)
        uneven = float((surround - patch)[known].std(axis=0).sum())
        if uneven < least:
            best, least = patch, uneven
    return best


def _grain(image: np.ndarray, bare: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray | None:
    """The fine texture of bare ground, mean 0, float32 [h, w, 3], as overlapping tiles; None where there is none.

    Where tiles overlap, their sum is divided by the root of the squared weights, which keeps the variance.
    """
    for side in TILES:
        corners = free_corners(bare, np.ones((side, side), bool), rng, DONORS)
        if corners:
            break
    else:
        return None
    tiles = [image[top : top + side, left : left + side].astype(np.float32) for top, left in corners]
    tiles = [tile - cv2.GaussianBlur(tile, (0, 0), side / 4, borderType=cv2.BORDER_REFLECT) for tile in tiles]
    ramp = np.sin(np.pi * (np.arange(side) + 0.5) / side).astype(np.float32)
    weight, hop = np.outer(ramp, ramp), side // 2
    sums = np.zeros((size[0] + 2 * side, size[1] + 2 * side, 3), np.float32)
    squares = np.zeros(sums.shape[:2], np.float32)
    for top in range(0, size[0] + side, hop):
        for left in range(0, size[1] + side, hop):
            there = slice(top, top + side), slice(left, left + side)
            sums[there] += weight[..., None] * tiles[int(rng.integers(len(tiles)))]
            squares[there] += weight**2
    whole = slice(hop, hop + size[0]), slice(hop, hop + size[1])
    return sums[whole] / np.sqrt(squares[whole])[..., None]


def _carried(difference: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Spread float [h, w, 3] from where it is known over the rest: means weighted by nearness at several scales.

    What is spread is smooth, so a small picture of it will do.
    """
    whole = (known.shape[1], known.shape[0])
    shrink = min(1.0, SMOOTH_SIDE / max(whole))
    small = (max(1, round(whole[0] * shrink)), max(1, round(whole[1] * shrink)))
    share = known.astype(np.float32)
    sums = cv2.resize(difference * share[..., None], small, interpolation=cv2.INTER_AREA)
    share = np.asarray(cv2.resize(share, small, interpolation=cv2.INTER_AREA), np.float32)
    total, spread = np.full(share.shape, 1e-6, np.float32), np.zeros(sums.shape, np.float32)
    for sigma in max(small) / np.array([16, 8, 4, 2]):
        total += np.asarray(cv2.GaussianBlur(share, (0, 0), sigma), np.float32)
        spread += np.asarray(cv2.GaussianBlur(sums, (0, 0), sigma), np.float32)
    return np.asarray(cv2.resize(spread / total[..., None], whole, interpolation=cv2.INTER_LINEAR))
