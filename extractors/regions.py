"""Connected regions of a picture: taken out of what surrounds them, taken apart where they touch, described."""

from collections.abc import Iterator, Sequence
from math import hypot, log
from typing import NamedTuple

import cv2
import numpy as np

BRIDGE = 0.004
"""Regions that touch over less than twice this share of the picture's longer side are two."""
MERE = 0.2
"""What has less than this share of a region's pixels is a tip of it, however thin the neck."""
BRUSH = 0.035
"""Radius of the brush, as a share of the longer side, that what sticks out of a region is too narrow for."""
BODY = 0.6
"""Share of a region that the brush must reach for the rest to be parts that stick out."""
REACH = 2.0
"""How far a part must stick out, in radii of the brush."""


class Shape(NamedTuple):
    """A connected part of a picture's pixels."""

    top: int
    left: int
    mask: np.ndarray
    """bool [h, w], the smallest rectangle around it."""


class Region(NamedTuple):
    """One connected region of one picture, without the holes in it."""

    ground: int
    """What surrounds it, or surrounds the region that it sticks out of."""
    protrudes: bool
    top: int
    left: int
    mask: np.ndarray
    """bool [h, w], the smallest rectangle around the region."""
    signature: np.ndarray
    """float [5]: log of its share of the picture's area, log elongation, mean colour L, a, b (0 .. 255)."""

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the rectangle."""
        return slice(self.top, self.top + self.mask.shape[0]), slice(self.left, self.left + self.mask.shape[1])

    @property
    def centre(self) -> tuple[float, float]:
        """(y, x) of the centre of mass."""
        y, x = np.nonzero(self.mask)
        return self.top + float(y.mean()), self.left + float(x.mean())

    def full(self, size: tuple[int, int]) -> np.ndarray:
        """Bool [H, W], the whole picture."""
        mask = np.zeros(size, bool)
        mask[self.window] = self.mask
        return mask


def enclosed(figure: np.ndarray, smallest: float, bridge: int | None = None) -> Iterator[Shape]:
    """The connected regions of `figure` bool [H, W] that do not touch the picture's border, filled.

    Args:
        figure: what is not ground.
        smallest: pixels that a region has at least, before it is filled.
        bridge: what is narrower than twice this joins nothing, unless it joins a mere tip; by default `BRIDGE` of the
            longer side.
    """
    bridge = pixels_of(BRIDGE, figure) if bridge is None else bridge
    kernel = _disc(bridge)
    opened = cv2.morphologyEx(figure.astype(np.uint8), cv2.MORPH_OPEN, kernel)
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(opened, connectivity=4)
    sizes, taken = statistics[:, cv2.CC_STAT_AREA], {0}  # the background
    for label in np.argsort(-sizes, kind="stable").tolist():
        if label in taken or sizes[label] < MERE * smallest:
            continue
        small = [int(tip) for tip in np.flatnonzero(sizes < MERE * sizes[label]) if tip not in taken]
        tips = _touching(labels, statistics, label, small, 2 * bridge + 1)
        taken.update(tips)
        left, top, right, bottom = _window(_around(statistics[[label, *tips]]), bridge, figure.shape)
        if left == 0 or top == 0 or right == figure.shape[1] or bottom == figure.shape[0]:
            continue
        near = labels[top:bottom, left:right]
        own = np.isin(near, [label, *tips]) if tips else near == label
        part = cv2.dilate(own.view(np.uint8), kernel)
        part[~figure[top:bottom, left:right] | (own < (near > 0))] = 0
        if np.count_nonzero(part) >= smallest:
            outline, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            yield _cropped(cv2.drawContours(part, outline, -1, 1, cv2.FILLED).view(bool), top, left)


def _touching(labels: np.ndarray, statistics: np.ndarray, label: int, others: list[int], reach: int) -> list[int]:
    """Those of the `others` that have pixels within `reach` of the region `label`."""
    left, top, right, bottom = _window(statistics[label], reach, labels.shape)
    x, y, width, height = statistics[others, :4].T
    if not ((x < right) & (x + width > left) & (y < bottom) & (y + height > top)).any():
        return []
    near = labels[top:bottom, left:right]
    touched = np.bincount(near[cv2.dilate((near == label).view(np.uint8), _disc(reach)) > 0], minlength=len(statistics))
    return [other for other in others if touched[other]]


def _disc(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def _around(statistics: np.ndarray) -> tuple[int, int, int, int]:
    """(left, top, width, height) of the rectangle around those of `statistics` [n, 5], OpenCV's."""
    left, top = statistics[:, :2].min(axis=0)
    right, bottom = (statistics[:, :2] + statistics[:, 2:4]).max(axis=0)
    return left, top, right - left, bottom - top


def _window(rectangle: Sequence[int], margin: int, size: tuple[int, ...]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of (left, top, width, height, ...), wider by `margin` but inside the picture."""
    left, top, width, height = (int(number) for number in rectangle[:4])
    right, bottom = min(left + width + margin, size[1]), min(top + height + margin, size[0])
    return max(left - margin, 0), max(top - margin, 0), right, bottom


def protruding(shape: Shape, brush: int, smallest: float) -> Iterator[Shape]:
    """The parts of a region that a round brush inside it cannot reach, where it reaches most of the region.

    Args:
        shape: the region.
        brush: its radius in pixels.
        smallest: pixels that a part has at least.
    """
    if min(shape.mask.shape) <= 2 * brush:
        return
    padded = np.pad(shape.mask, 1).astype(np.uint8)
    core = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) > brush
    if not core.any():
        return
    outside = cv2.distanceTransform((~core).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) - brush
    rest = padded.astype(bool) & (outside > 1)
    if np.count_nonzero(rest) > (1 - BODY) * np.count_nonzero(padded):
        return
    for part in enclosed(np.pad(rest, 1), smallest, bridge=1):
        window = outside[part.top - 1 :, part.left - 1 :][: part.mask.shape[0], : part.mask.shape[1]]
        if window[part.mask].max() >= REACH * brush:
            yield Shape(part.top + shape.top - 2, part.left + shape.left - 2, part.mask)


def apart(region: Region, brush: int) -> Iterator[list[Shape]]:
    """What a region falls into when it is worn down further and further, up to `brush` pixels from its outline.

    Every pixel of the region belongs to the nearest piece.
    """
    padded = np.pad(region.mask, 1).astype(np.uint8)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    pieces = 1
    for worn in range(1, brush + 1):
        core = (depth > worn).astype(np.uint8)
        count, _ = cv2.connectedComponents(core, connectivity=8)
        if count - 1 > pieces:
            pieces = count - 1
            _, nearest = cv2.distanceTransformWithLabels(1 - core, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP)
            labels = np.where(padded > 0, nearest, 0)[1:-1, 1:-1]
            yield [_cropped(labels == label, region.top, region.left) for label in range(1, count)]


def _cropped(mask: np.ndarray, top: int, left: int) -> Shape:
    """The shape that `mask` bool [h, w] is, whose corner is at `top` and `left`."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return Shape(top + y, left + x, mask[y : y + height, x : x + width])


def described(shape: Shape, lab: np.ndarray, *, ground: int, protrudes: bool = False) -> Region:
    """Return the region that `shape` is in a picture, Lab uint8 [H, W, 3]."""
    rows, columns = shape.mask.shape
    pixels = lab[shape.top : shape.top + rows, shape.left : shape.left + columns]
    area = np.log(np.count_nonzero(shape.mask) / lab[..., 0].size)
    signature = np.array([area, elongation(shape.mask), *cv2.mean(pixels, shape.mask.astype(np.uint8))[:3]])
    return Region(ground, protrudes, shape.top, shape.left, shape.mask, signature)


def elongation(mask: np.ndarray) -> float:
    """Log of length to width of the ellipse with the mask's second moments; bool [h, w], not empty.

    >>> round(elongation(np.ones((5, 40), bool)), 2) == round(float(np.log(8)), 2)
    True
    """
    moments = cv2.moments(mask.astype(np.uint8), binaryImage=True)
    xx, yy, xy = (moments[name] / moments["m00"] for name in ("mu20", "mu02", "mu11"))
    middle, off = (xx + yy) / 2 + 1 / 12, hypot((xx - yy) / 2, xy)
    return log((middle + off) / (middle - off)) / 2


def overlap(one: Region, other: Region) -> float:
    """Intersection over union of two regions of one picture."""
    top, left = max(one.top, other.top), max(one.left, other.left)
    bottom = min(one.window[0].stop, other.window[0].stop)
    right = min(one.window[1].stop, other.window[1].stop)
    if bottom <= top or right <= left:
        return 0.0
    both = [r.mask[top - r.top : bottom - r.top, left - r.left : right - r.left] for r in (one, other)]
    common = np.count_nonzero(both[0] & both[1])
    return common / (np.count_nonzero(one.mask) + np.count_nonzero(other.mask) - common)


def pixels_of(share: float, picture: np.ndarray) -> int:
    """A share of the longer side of [H, W, ...], at least 1 pixel.

    >>> pixels_of(0.01, np.zeros((200, 300, 3)))
    3
    """
    return max(1, round(share * max(picture.shape[:2])))
