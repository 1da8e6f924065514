"""Screws: heads with their washers as seen from above, and threaded bolts as seen from the side."""

from dataclasses import dataclass

import numpy as np

from data_loco.metal_parts.geometry import Array, Patch, View, coverage, disc, regular_polygon, rounded_box
from data_loco.metal_parts.shading import Finish, Lamp, Surface, cast_shadow, hollows, lay, relief_slopes, rim
from data_loco.metal_parts.surface import mottle

WASHER, HEAD = 5.0, 4.6
"""Radius of a washer, and of the circle round any head, in mm."""
BOLT = 2.5
"""Radius of a bolt's thread in mm."""
TIP = 1.0
"""Length of a bolt's tapered end in mm."""
THREAD = 1.0
"""Pitch of the thread in mm."""


@dataclass(frozen=True)
class Screw:
    """A screw in a sheet: a hexagon head or a Phillips pan head, on a washer."""

    u: float
    v: float
    head: str
    """"hexagon" or "phillips"."""
    turn: float
    """How far it was turned, in radians: any angle is normal."""
    finish: Finish
    marks: int
    """Seed of the marks on its surface."""
    worn: bool = False
    """Whether the tool slipped and rounded it off."""

    def washer(self, patch: Patch) -> Array:
        """Signed distance to the washer in mm."""
        return disc(patch.u, patch.v, (self.u, self.v), WASHER)

    def circle(self, patch: Patch) -> Array:
        """Signed distance to the circle round the head in mm."""
        return disc(patch.u, patch.v, (self.u, self.v), HEAD)


@dataclass(frozen=True)
class Bolt:
    """A threaded bolt that lies in the plane and points along its second axis."""

    u: float
    v: float
    """Where it comes out of the sheet, in mm."""
    length: float
    """How far it comes out, in mm."""
    phase: float
    """Where its thread begins, in radians."""
    finish: Finish

    def thread(self, patch: Patch) -> Array:
        """Signed distance to the thread that can be seen, in mm."""
        return along_axis(patch, self.u, (self.v, self.v + self.length), BOLT)


def along_axis(patch: Patch, u: float, ends: tuple[float, float], half_width: float) -> Array:
    """Signed distance to a rectangle along the second axis from `ends`[0] to `ends`[1]."""
    half = (half_width, (ends[1] - ends[0]) / 2)
    return rounded_box(patch.u - np.float32(u), patch.v - np.float32(sum(ends) / 2), half, 0.0)


def paint_screw(canvas: Array, view: View, screw: Screw, lamp: Lamp) -> None:
    """Lay washer and head into `canvas` [3, H, W], in place."""
    rng = np.random.default_rng(screw.marks)
    own = view.moved((screw.u, screw.v), screw.turn)
    reach = WASHER + 2.5
    patch = own.patch((-reach, -reach, reach, reach))
    noise = mottle(patch.u.shape, rng, 0.8 * patch.scale)
    middle = disc(patch.u, patch.v, (0, 0), 0)
    washer = middle - np.float32(WASHER)
    _lay(canvas, patch, washer, rim(washer, 0.4) + np.float32(0.006) * noise, screw.finish, lamp, 0.45)
    outline, height = (_hexagon if screw.head == "hexagon" else _phillips)(patch, middle, worn=screw.worn)
    if screw.worn:
        scars = mottle(patch.u.shape, rng, 0.9 * patch.scale)
        height = height + np.float32(0.085) * np.clip(-outline, 0, 1) * scars
    _lay(canvas, patch, outline, height + np.float32(0.010) * noise, screw.finish, lamp, 1.1)


def paint_bolt(canvas: Array, view: View, bolt: Bolt, lamp: Lamp) -> None:
    """Lay the thread and the nut behind the sheet into `canvas` [3, H, W], in place."""
    patch = view.patch((bolt.u - 7, bolt.v - 8, bolt.u + 7, bolt.v + bolt.length + 3))
    across, along = patch.u - np.float32(bolt.u), patch.v - np.float32(bolt.v)
    turns = np.float32(2 * np.pi / THREAD) * (along + across * np.float32(THREAD / 4 / BOLT)) + np.float32(bolt.phase)
    flank = np.float32(0.16) * np.sin(turns)
    tip = np.clip(along - np.float32(bolt.length - TIP), 0, TIP)
    radius = np.float32(BOLT) - np.float32(0.9) * tip
    round_ = np.sqrt(np.maximum(radius * radius - across * across, np.float32(0.3)))
    shaft = np.maximum(bolt.thread(patch), np.abs(across) - radius + np.float32(0.12) * (1 + np.sin(turns)))
    _lay(canvas, patch, shaft, round_ + flank, bolt.finish, lamp, 1.2)
    _lay_nut(canvas, patch, across, along, bolt, lamp)


def _lay_nut(canvas: Array, patch: Patch, across: Array, along: Array, bolt: Bolt, lamp: Lamp) -> None:
    """A hexagon head lying on its side: one facet faces the camera, two slope away."""
    nut = rounded_box(across, along + np.float32(4.6), (4.4, 2.1), 0.5)
    facets = -np.float32(0.577) * np.maximum(np.abs(across) - np.float32(2.3), 0)
    _lay(canvas, patch, nut, facets + rim(nut, 0.5), bolt.finish, lamp, 1.2)


def _hexagon(patch: Patch, middle: Array, *, worn: bool) -> tuple[Array, Array]:
    """Outline and height of a hexagon head with its turned chamfer; `middle` is the distance from it in mm."""
    apothem = HEAD * np.cos(np.pi / 6)
    outline = regular_polygon(patch.u, patch.v, 6, apothem, 0.0)
    if worn:
        outline = np.maximum(outline, middle - np.float32(apothem * 1.03))
    face = middle - np.float32(apothem * 0.95)
    dish = -np.float32(0.10) * np.clip(1 + (middle - np.float32(apothem * 0.45)), 0, 1)
    chamfer = -np.float32(0.5) * np.maximum(face, 0)
    return outline, chamfer + rim(outline, 0.35) - dish


def _phillips(patch: Patch, middle: Array, *, worn: bool) -> tuple[Array, Array]:
    """Outline and height of a pan head with a cross recess; `middle` is the distance from it in mm."""
    outline = middle - np.float32(HEAD * 0.97)
    dome = -np.square(outline + np.float32(HEAD)) * np.float32(0.032)
    cross = np.minimum(
        rounded_box(patch.u, patch.v, (2.5, 0.55), 0.25), rounded_box(patch.u, patch.v, (0.55, 2.5), 0.25)
    )
    if worn:
        cross = np.minimum(cross, disc(patch.u, patch.v, (0.3, -0.2), 1.9))
    depth = np.clip(-cross, 0, 0.7)
    return outline, dome + rim(outline, 0.9) - np.float32(2.2) * depth


def _lay(
    canvas: Array,
    patch: Patch,
    outline: Array,
    height: Array,
    finish: Finish,
    lamp: Lamp,
    rise: float,
) -> None:
    """A shiny body that rises `rise` mm: its shadow, then its surface; what lies deep is dark."""
    alpha, ground = coverage(outline, patch.scale), canvas[:, *patch.window]
    offset = 0.35 * rise * patch.scale
    cast_shadow(ground, alpha, (offset, offset), 0.35 * rise * patch.scale, 0.65)
    surface = Surface(relief_slopes(height, patch.scale), hollows(height, patch.scale), finish)
    lay(canvas, patch, surface, alpha, lamp)
