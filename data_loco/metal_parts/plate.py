"""A perforated plate of sheet metal: its shape, its surface, and how it is painted into a picture."""

import math
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from data_loco.metal_parts.damage import Damage
from data_loco.metal_parts.geometry import Array, Patch, View, as_array, coverage, disc, rounded_box, segment
from data_loco.metal_parts.shading import Finish, Lamp, Surface, blend, cast_shadow, hollows, lay, relief_slopes, rim
from data_loco.metal_parts.strips import by_strips
from data_loco.metal_parts.surface import brushed, mottle, spangle

RIM = 0.5
"""Width in mm over which the edges of plates and holes are rounded."""
DEEP = 2.0
"""Distance in mm from an edge beyond which it has no influence."""


@dataclass(frozen=True)
class Hole:
    """A round hole, in mm on the plate."""

    u: float
    v: float
    radius: float

    def window(self, patch: Patch) -> tuple[slice, slice]:
        """Where `distance` matters."""
        return patch.around((self.u, self.v), self.radius + DEEP)

    def distance(self, patch: Patch) -> Array:
        """Signed distance in mm, negative in the hole."""
        return disc(patch.u, patch.v, (self.u, self.v), self.radius)


@dataclass(frozen=True)
class Slot:
    """An oblong hole: every place within `radius` of the line from `start` to `end`, in mm on the plate."""

    start: tuple[float, float]
    end: tuple[float, float]
    radius: float

    def window(self, patch: Patch) -> tuple[slice, slice]:
        """Where `distance` matters."""
        middle = (self.start[0] + self.end[0]) / 2, (self.start[1] + self.end[1]) / 2
        return patch.around(middle, math.dist(self.start, self.end) / 2 + self.radius + DEEP)

    def distance(self, patch: Patch) -> Array:
        """Signed distance in mm, negative in the hole."""
        return segment(patch.u, patch.v, self.start, self.end, self.radius)


@dataclass(frozen=True)
class Plate:
    """A rectangular plate with rounded corners, holes and whatever else was done to it."""

    half: tuple[float, float]
    """Half sides in mm."""
    corner: float
    """Radius of the corners in mm."""
    holes: tuple[Hole, ...]
    """Round holes."""
    finish: Finish
    thickness: float = 2.0
    """In mm."""
    grain: float = 0.0
    """Size of the zinc crystals in mm; 0 for a brushed surface."""
    slots: tuple[Slot, ...] = ()
    """Oblong holes."""
    changes: tuple[Damage, ...] = ()
    """Cuts that belong to the part, and damages that do not."""

    def metal(self, patch: Patch) -> Array:
        """Signed distance to the metal in mm, [h, w]; cut off `DEEP` inside it."""
        distance = np.maximum(rounded_box(patch.u, patch.v, self.half, self.corner), np.float32(-DEEP))
        openings: tuple[Hole | Slot, ...] = self.holes + self.slots
        for hole in openings:
            near = hole.window(patch)
            distance[near] = np.maximum(distance[near], -hole.distance(patch.cropped(near)))
        for change in self.changes:
            distance = change.carve(patch, distance)
        return distance

    def patch(self, view: View, margin: float = 3.0) -> Patch:
        """The window of the picture that the plate covers, `margin` mm around it."""
        a, b = self.half[0] + margin, self.half[1] + margin
        return view.patch((-a, -b, a, b))


@dataclass(frozen=True)
class Pose:
    """Where a plate is and what lies behind it."""

    view: View
    lower: NDArray[np.float64]
    """[2, 3], pixels of the upper face -> pixels of the lower face below them."""
    tilt: tuple[float, float] = (0.0, 0.0)
    """Slope (x, y) of the plate towards the picture plane."""
    shadow: tuple[float, float, float, float] = (0.45, 0.45, 0.5, 0.75)
    """Offset (x, y) and softness in mm, and strength of the shadow it throws."""
    wall: float = 0.10
    """Radiance of the cut metal between both faces."""


def lying(view: View, thickness: float, distance: float = 420.0) -> NDArray[np.float64]:
    """`Pose.lower` of a plate on the cloth: what is further from a camera `distance` mm away looks smaller."""
    ratio = 1 - thickness / distance
    centre = np.array([view.size[1] - 1, view.size[0] - 1]) / 2
    return np.column_stack([np.eye(2) * ratio, centre * (1 - ratio)])


class LaidPlate:
    """A plate in its place, ready to be painted into a canvas [3, H, W] of radiance."""

    def __init__(self, plate: Plate, pose: Pose) -> None:
        self.plate, self.pose = plate, pose
        self.patch = plate.patch(pose.view)
        self.distance = plate.metal(self.patch)
        self.alpha = _antialiased(self.distance, self.patch)

    def darken(self, canvas: Array) -> None:
        """Throw the plate's shadow on what `canvas` holds so far, in place."""
        ground, scale = canvas[:, *self.patch.window], self.patch.scale
        dx, dy, softness, strength = self.pose.shadow
        cast_shadow(ground, self.alpha, (dx * scale, dy * scale), softness * scale, strength)
        cast_shadow(ground, self.alpha, (0, 0), 3.5 * softness * scale, 0.6 * strength)

    def paint(self, canvas: Array, lamp: Lamp, rng: np.random.Generator) -> None:
        """Lay the plate into `canvas`, in place: the cut edges, then the upper face."""
        ground = canvas[:, *self.patch.window]
        wall = np.array(self.plate.finish.tint, np.float32) * np.float32(self.pose.wall)
        blend(ground, wall, _walls(self.alpha, self.pose.lower, self.patch))
        lay(canvas, self.patch, self._face(rng), self.alpha, lamp)

    def _face(self, rng: np.random.Generator) -> Surface:
        view, patch = self.pose.view, self.patch
        start, end = view.to_picture(np.array([[0.0, 0.0], [1.0, 0.0]]))
        brush = math.atan2(end[1] - start[1], end[0] - start[0])
        texture, tx, ty = _skin(self.plate, patch, brush, rng)
        height = rim(self.distance, RIM)
        for change in self.plate.changes:
            relief = change.relief(patch)
            height += relief
            if isinstance(relief, np.ndarray):
                texture *= hollows(relief, patch.scale)
        sx, sy = relief_slopes(height, patch.scale)
        for slope, bare, tilt in zip((sx, sy), (tx, ty), self.pose.tilt):
            slope += bare
            slope += np.float32(tilt)
        return Surface((sx, sy), texture, self.plate.finish, brush)


def _skin(plate: Plate, patch: Patch, brush: float, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Reflectance [h, w] around 1 and slopes (x, y) of the bare surface."""
    shape = patch.u.shape
    stains, lines = mottle(shape, rng, 9 * patch.scale), _hairlines(shape, patch.scale, rng)
    waves = mottle(shape, rng, 16 * patch.scale) * np.float32(0.03)
    if plate.grain:
        sx, sy = spangle(patch, rng, plate.grain)
        texture = by_strips(partial(_reflectance, contrast=0.09, marks=0.10), stains, sx, lines)
        return texture, np.float32(0.065) * sx + waves, np.float32(0.065) * sy - waves
    streaks = brushed(patch, rng)
    texture = by_strips(partial(_reflectance, contrast=0.055, marks=0.16), stains, streaks, lines)
    bump = np.float32(0.06) * streaks + waves
    return texture, -np.float32(np.sin(brush)) * bump, np.float32(np.cos(brush)) * bump


def _reflectance(stains: Array, pattern: Array, lines: NDArray[np.uint8], *, contrast: float, marks: float) -> Array:
    stained = stains * np.float32(0.035) + 1
    hair = (lines.astype(np.float32) - 128) / 128
    return stained * (1 + np.float32(contrast) * pattern) + np.float32(marks) * hair


def _hairlines(shape: tuple[int, ...], scale: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Faint marks of handling that every part carries, [h, w], brighter and darker than 128."""
    lines = np.full(shape, 128, np.uint8)
    for _ in range(rng.poisson(9)):
        start, angle, length = rng.uniform(0, 1, 2) * shape[::-1], rng.uniform(0, np.pi), rng.gamma(2, 3.0) * scale
        end = start + length * np.array([np.cos(angle), np.sin(angle)])
        ends = [tuple(int(16 * c) for c in point) for point in (start, end)]
        cv2.line(lines, ends[0], ends[1], int(128 + rng.choice([-1, 1]) * rng.integers(30, 110)), 1, cv2.LINE_AA, 4)
    return lines


def _antialiased(distance: Array, patch: Patch) -> Array:
    """Coverage where a plane is seen obliquely: distance over its own change from pixel to pixel."""
    gx, gy = (cv2.Sobel(distance, cv2.CV_32F, *order, ksize=3, scale=1 / 8) for order in ((1, 0), (0, 1)))
    least = np.float32(0.3 / patch.scale)
    return by_strips(
        lambda far, dx, dy: coverage(far / np.maximum(np.sqrt(dx * dx + dy * dy), least), 1.0), distance, gx, gy
    )


def _walls(alpha: Array, lower: NDArray[np.float64], patch: Patch) -> Array:
    """Coverage of everything between the upper and the lower face, [h, w]."""
    covered = alpha
    corner = np.array([patch.cols.start, patch.rows.start], np.float64)
    for part in (1 / 3, 2 / 3, 1.0):
        move = (1 - part) * np.eye(2, 3) + part * lower
        move[:, 2] += move[:, :2] @ corner - corner
        moved = as_array(cv2.warpAffine(alpha, move, alpha.shape[::-1], flags=cv2.INTER_LINEAR))
        covered = np.maximum(covered, moved, out=moved)
    return covered
