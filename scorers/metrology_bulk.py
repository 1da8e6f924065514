"""How large what lies at each point of a picture is: what tells a missing part from one that ran into another.

Where a hole runs into a bright edge, or an edge breaks into pieces, the parts found are others than in most pictures,
although nothing is missing and nothing too much. What lies over an empty place then is much larger than what belongs
there, and what lies over a piece's place in other pictures is much larger than the piece.
"""

import numpy as np

from scorers.metrology_parts import ALONG, AREA, LENGTH, PLACE, WIDTH, Parts

RASTER = 64
"""Points of a bulk on a picture's longer side."""
GROUND = -128
"""In a bulk, where there is nothing but ground."""
UNIT = 0.1
"""Logarithm of area that one step of a bulk is."""
ALONG_IT = np.linspace(-0.45, 0.45, 9)
"""Points of a part that are looked at, in lengths from its middle along it."""
NINE = 0.3 * np.array([(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)])
"""Points of a part that are looked at, in widths from its middle."""


def bulk_of(parts: Parts, masks: np.ndarray) -> np.ndarray:
    """Return int8 [G, h, w] for a picture whose grounds are `masks` bool [G, H, W]; the longer of h and w is `RASTER`.

    The log of the area of the part that lies at each point, as a share of the picture, in tenths: 0 where what lies
    there is no part, such as all that the picture's border cuts, and `GROUND` where nothing does.
    """
    y, x = _lines(masks.shape[1:])
    found = np.where(masks[:, y[:, None], x], GROUND, 0).astype(np.int8)
    wholes = [row for row, region in enumerate(parts.regions) if not region.protrudes]
    for row in sorted(wholes, key=lambda row: -parts.measures[row, AREA]):
        region = parts.regions[row]
        top, bottom = np.searchsorted(y, (region.top, region.window[0].stop))
        left, right = np.searchsorted(x, (region.left, region.window[1].stop))
        window = found[region.ground, top:bottom, left:right]
        inside = region.mask[y[top:bottom, None] - region.top, x[left:right] - region.left]
        window[inside & (window != GROUND)] = max(round(parts.measures[row, AREA] / UNIT), GROUND + 1)
    return found


def _lines(size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Rows [h] and columns [w] of a picture of `size` (H, W) that a bulk has."""
    step = max(size) / RASTER
    rows, columns = (((np.arange(max(1, round(length / step))) + 0.5) * step).astype(int) for length in size)
    return rows.clip(max=size[0] - 1), columns.clip(max=size[1] - 1)


def moved(bulk: np.ndarray, places: np.ndarray) -> np.ndarray:
    """A bulk [G, h, w] whose points are taken from `places` [h * w, 2] (y, x), shares of the longer side.

    What is out of the picture is taken for ground: it says of no part that it belongs to something larger.
    """
    shape = np.array(bulk.shape[1:])
    at = np.floor(places * RASTER).astype(int)
    y, x = at.clip(0, shape - 1).T
    inside = ((at >= 0) & (at < shape)).all(axis=1)
    return np.where(inside, bulk[:, y, x], GROUND).astype(np.int8).reshape(bulk.shape)


def points_of(bulk: np.ndarray) -> np.ndarray:
    """(y, x) of the points of a bulk [..., h, w], [h * w, 2], as shares of the longer side."""
    return (np.indices(bulk.shape[-2:]).reshape(2, -1).T + 0.5) / RASTER


def filled(bulk: np.ndarray, side: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Bool [R]: something lies at all but one of the points of each of several places, int [R] and [R, P, 2]."""
    y, x = np.moveaxis((points * RASTER).astype(int).clip(0, np.array(bulk.shape[1:]) - 1), -1, 0)
    there = bulk[side[:, None] // 2, y, x] != GROUND
    return (there.sum(axis=1) >= points.shape[1] - 1) & (side % 2 == 0)


def axes_of(measures: np.ndarray) -> np.ndarray:
    """Points (y, x) along each of several parts [R, 12]: [R, 9, 2], shares of the longer side."""
    angle = 0.5 * np.arctan2(*measures[:, ALONG].T)
    along = np.exp(measures[:, LENGTH, None]) * np.column_stack([np.sin(angle), np.cos(angle)])
    return measures[:, None, PLACE] + ALONG_IT[:, None] * along[:, None]


def much_larger(bulks: np.ndarray, side: np.ndarray, measures: np.ndarray, middle: np.ndarray, by: float) -> np.ndarray:
    """Bool [N, R]: over most of a part, something larger lies in each of several pictures.

    Args:
        bulks: int8 [N, G, h, w] of the pictures.
        side: int [R] of the parts; for those that stick out of others the answer is no.
        measures: [R, 12] of the parts.
        middle: [R, 2], where the parts are in those pictures, shares of the longer side.
        by: log of how much larger.
    """
    points = middle[:, None] + np.exp(measures[:, WIDTH, None, None]) * NINE
    y, x = np.moveaxis((points * RASTER).astype(int).clip(0, np.array(bulks.shape[2:]) - 1), -1, 0)
    larger = bulks[:, side[:, None] // 2, y, x] > (measures[:, AREA, None] + by) / UNIT
    return (larger.sum(axis=2) > len(NINE) / 2) & (side % 2 == 0)
