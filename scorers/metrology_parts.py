"""A picture's parts, measured: connected regions that a ground surrounds, each a row of numbers."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from extractors.regions import BRUSH, Region, apart, described, enclosed, pixels_of, protruding

MEASURES = ("log area", "log length", "log width", "along y", "along x", "head y", "head x", "L", "a", "b", "y", "x")
"""Columns of what is measured of a part.

Area is a share of the picture; length and width, y and x are shares of the longer side. `along` is the doubled angle of
the long axis, 0 for what is round; `head` points along the long axis to the thinner end, 0 for what is
symmetric. L, a, b is the mean colour, 0 .. 255.
"""
AREA, LENGTH, WIDTH = 0, 1, 2
ALONG, HEAD, COLOUR, PLACE = slice(3, 5), slice(5, 7), slice(7, 10), slice(10, 12)
MOST = 48
"""Regions on one ground of a picture that are measured, the largest ones."""


class Parts(NamedTuple):
    """The parts of one picture."""

    regions: tuple[Region, ...]
    measures: np.ndarray
    """float64 [R, 12], see `MEASURES`."""

    @property
    def sides(self) -> np.ndarray:
        """Int [R]: what surrounds each part, twice the ground, plus 1 for a part that sticks out of another."""
        return np.array([2 * region.ground + region.protrudes for region in self.regions], int)


def parts_of(masks: np.ndarray, lab: np.ndarray, smallest: float) -> Parts:
    """Return the parts of a picture, Lab uint8 [H, W, 3], whose grounds are `masks` bool [G, H, W].

    `smallest` is the least area of a part, as a share of the picture's.
    """
    pixels, brush, found = smallest * lab[..., 0].size, pixels_of(BRUSH, lab), list[Region]()
    for ground, mask in enumerate(masks):
        wholes = sorted(enclosed(~mask, pixels), key=lambda shape: -np.count_nonzero(shape.mask))[:MOST]
        for whole in wholes:
            found.append(described(whole, lab, ground=ground))
            found += [described(part, lab, ground=ground, protrudes=True) for part in protruding(whole, brush, pixels)]
    return measured(found, lab)


def measured(regions: Sequence[Region], lab: np.ndarray) -> Parts:
    """The regions of a picture, Lab uint8 [H, W, 3], with what is measured of each."""
    rows = [_measures(region, lab) for region in regions]
    return Parts(tuple(regions), np.array(rows).reshape(len(rows), len(MEASURES)))


def pieces_of(region: Region, lab: np.ndarray) -> list[Parts]:
    """What a region may be several touching parts of: each way in which it falls apart when worn down."""
    if region.protrudes:
        return []
    ways = apart(region, pixels_of(BRUSH, lab))
    return [measured([described(shape, lab, ground=region.ground) for shape in shapes], lab) for shapes in ways]


def _measures(region: Region, lab: np.ndarray) -> list[float]:
    longer = max(lab.shape[:2])
    moments = cv2.moments(region.mask.astype(np.uint8), binaryImage=True)
    area = moments["m00"]
    angle = 0.5 * np.arctan2(2 * moments["mu11"], moments["mu20"] - moments["mu02"])
    c, s = np.cos(angle), np.sin(angle)
    long, short, taper = _extents(region, c, s)
    anisotropy = (long - short) / (long + short)
    centre = region.top + moments["m01"] / area, region.left + moments["m10"] / area
    return [
        np.log(area / lab[..., 0].size),
        np.log(long / longer),
        np.log(area / long / longer),
        anisotropy * np.sin(2 * angle),
        anisotropy * np.cos(2 * angle),
        anisotropy * taper * s,
        anisotropy * taper * c,
        *region.signature[2:],
        (centre[0] + 0.5) / longer,
        (centre[1] + 0.5) / longer,
    ]


def _extents(region: Region, c: float, s: float) -> tuple[float, float, float]:
    """Length in pixels along the long axis, whose direction is x = c, y = s, width across it, and taper.

    The taper is by how much the first quarter is larger than the last one, as a share of both together.
    """
    y, x = np.nonzero(region.mask)
    along, across = c * x + s * y, c * y - s * x
    low, length = along.min(), np.ptp(along)
    first, last = (along < low + length / 4).sum(), (along > low + 0.75 * length).sum()
    return float(length) + 1, float(np.ptp(across)) + 1, float((first - last) / max(first + last, 1))
