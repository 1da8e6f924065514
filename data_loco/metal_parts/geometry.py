"""Planes seen by the camera, and signed distances to shapes drawn on them (millimetres, negative inside)."""

from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.floating[Any]]
"""Pixels; single precision throughout."""


def as_array(values: ArrayLike) -> Array:
    """What OpenCV or NumPy made of an `Array`, as an `Array` again, without a copy where it is one already."""
    return np.ascontiguousarray(values, dtype=np.float32)


FRAME = (71.0, 114.0)
"""Height and width in millimetres of what the camera sees at least."""


def pixels_per_mm(size: tuple[int, int]) -> float:
    """Scale at which `FRAME` fits into a picture of `size` (H, W).

    >>> round(pixels_per_mm((640, 1024)), 3)
    8.982
    """
    return min(size[0] / FRAME[0], size[1] / FRAME[1])


@dataclass(frozen=True)
class Patch:
    """The window of a picture that one plane covers: plane coordinates in mm and picture axes of its pixels."""

    rows: slice
    cols: slice
    u: Array
    """[h, w], along the plane's first axis."""
    v: Array
    """[h, w], along the plane's second axis."""
    scale: float
    """Pixels per millimetre where the plane faces the camera."""

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the picture."""
        return self.rows, self.cols

    def cropped(self, window: tuple[slice, slice]) -> "Patch":
        """The part of this patch inside `window`, slices of its own rows and columns."""
        rows, cols = window
        top, left = self.rows.start + rows.start, self.cols.start + cols.start
        u, v = self.u[window], self.v[window]
        return Patch(slice(top, top + u.shape[0]), slice(left, left + u.shape[1]), u, v, self.scale)

    def around(self, centre: tuple[float, float], radius: float) -> tuple[slice, slice]:
        """Slices of this patch that contain the disc around `centre`; empty where it lies outside."""
        step = 4  # every fourth pixel will do, with room for planes seen as obliquely as 70 degrees
        reach = radius + 3 * step / self.scale
        near = np.abs(self.u[::step, ::step] - centre[0]) <= reach
        near &= np.abs(self.v[::step, ::step] - centre[1]) <= reach
        rows, cols = np.flatnonzero(near.any(axis=1)) * step, np.flatnonzero(near.any(axis=0)) * step
        if not rows.size:
            return slice(0, 0), slice(0, 0)
        return slice(int(rows[0]), int(rows[-1]) + step), slice(int(cols[0]), int(cols[-1]) + step)


@dataclass(frozen=True)
class View:
    """How the camera sees a plane: a homography from plane millimetres to picture pixels."""

    matrix: NDArray[np.float64]
    """[3, 3]"""
    size: tuple[int, int]
    """(H, W) of the picture."""
    scale: float
    """Pixels per millimetre."""

    @classmethod
    def from_above(cls, size: tuple[int, int], shift: tuple[float, float], angle: float) -> "View":
        """The plane of the cloth, turned by `angle` (radians) and moved by `shift` (mm) from the picture's middle."""
        scale = pixels_per_mm(size)
        c, s = np.cos(angle), np.sin(angle)
        turned = np.array([[c, -s, shift[0]], [s, c, shift[1]], [0, 0, 1]])
        return cls(_to_pixels(size, scale) @ turned, size, scale)

    @classmethod
    def of_plane(
        cls, size: tuple[int, int], origin: NDArray[np.float64], axes: NDArray[np.float64], distance: float
    ) -> "View":
        """A plane in space, `origin` [3] and `axes` [2, 3] in mm; the camera looks down from `distance` mm."""
        scale = pixels_per_mm(size)
        plane = np.column_stack([axes[0], axes[1], origin])
        perspective = np.array([plane[0], plane[1], [0, 0, 1] - plane[2] / distance])
        return cls(_to_pixels(size, scale) @ perspective, size, scale)

    def moved(self, shift: tuple[float, float], angle: float) -> "View":
        """The view of a sheet that lies on this plane, turned and shifted upon it."""
        c, s = np.cos(angle), np.sin(angle)
        turned = np.array([[c, -s, shift[0]], [s, c, shift[1]], [0, 0, 1]])
        return View(self.matrix @ turned, self.size, self.scale)

    def to_picture(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """[n, 2] millimetres on the plane -> [n, 2] pixels (x, y)."""
        projected = np.column_stack([points, np.ones(len(points))]) @ self.matrix.T
        return projected[:, :2] / projected[:, 2:]

    def patch(self, box: tuple[float, float, float, float]) -> Patch:
        """The pixels in which the plane's rectangle `box` (u0, v0, u1, v1) lies, cropped to the picture."""
        u0, v0, u1, v1 = box
        corners = self.to_picture(np.array([[u0, v0], [u1, v0], [u1, v1], [u0, v1]]))
        low, high = np.floor(corners.min(axis=0)).astype(int), np.ceil(corners.max(axis=0)).astype(int) + 1
        x0, y0 = np.clip(low, 0, [self.size[1] - 1, self.size[0] - 1])
        x1, y1 = np.clip(high, [x0 + 1, y0 + 1], [self.size[1], self.size[0]])
        inverse = np.linalg.inv(self.matrix).astype(np.float32)
        x = np.arange(x0, x1, dtype=np.float32)[None]
        y = np.arange(y0, y1, dtype=np.float32)[:, None]
        w = inverse[2, 0] * x + inverse[2, 1] * y + inverse[2, 2] if inverse[2, :2].any() else inverse[2, 2]
        u, v = (row[0] * x + row[1] * y for row in inverse[:2])
        for coordinate, constant in zip((u, v), inverse[:2, 2]):
            coordinate += constant
            coordinate /= w
        return Patch(slice(int(y0), int(y1)), slice(int(x0), int(x1)), u, v, self.scale)


def _to_pixels(size: tuple[int, int], scale: float) -> NDArray[np.float64]:
    return np.array([[scale, 0, (size[1] - 1) / 2], [0, scale, (size[0] - 1) / 2], [0, 0, 1]])


def rounded_box(u: Array, v: Array, half: tuple[float, float], radius: float) -> Array:
    """Rectangle around the origin with half sides `half` and rounded corners."""
    du, dv = np.abs(u) - np.float32(half[0] - radius), np.abs(v) - np.float32(half[1] - radius)
    distance = np.maximum(du, dv)
    np.hypot(du, dv, out=distance, where=np.minimum(du, dv) > 0)
    distance -= np.float32(radius)
    return distance


def disc(u: Array, v: Array, centre: tuple[float, float], radius: float) -> Array:
    """Disc."""
    distance = np.hypot(u - np.float32(centre[0]), v - np.float32(centre[1]))
    distance -= np.float32(radius)
    return distance


def segment(u: Array, v: Array, start: tuple[float, float], end: tuple[float, float], radius: float = 0.0) -> Array:
    """Line from `start` to `end`, `radius` thick: a slot, or one stroke of a scratch."""
    du, dv = np.float32(end[0] - start[0]), np.float32(end[1] - start[1])
    u, v = u - np.float32(start[0]), v - np.float32(start[1])
    position = np.clip((u * du + v * dv) / (du * du + dv * dv), 0, 1)
    return np.hypot(u - position * du, v - position * dv) - np.float32(radius)


def half_plane(u: Array, v: Array, normal: tuple[float, float], offset: float) -> Array:
    """What lies before the line normal . (u, v) = offset; `normal` is of unit length."""
    return np.float32(normal[0]) * u + np.float32(normal[1]) * v - np.float32(offset)


def regular_polygon(u: Array, v: Array, sides: int, apothem: float, angle: float) -> Array:
    """Regular polygon around the origin whose sides lie `apothem` from it: a hexagon head."""
    directions = angle + 2 * np.pi * np.arange(sides) / sides
    return reduce(np.maximum, (half_plane(u, v, (np.cos(a), np.sin(a)), apothem) for a in directions))


def coverage(distance: Array, scale: float) -> Array:
    """Share of each pixel that lies inside, from signed distance in mm at `scale` pixels per mm: anti-aliasing.

    >>> coverage(np.float32([-1, 0, 1]), 4.0).tolist()
    [1.0, 0.5, 0.0]
    """
    inside = distance * np.float32(scale)
    np.subtract(0.5, inside, out=inside)
    return np.clip(inside, 0, 1, out=inside)
