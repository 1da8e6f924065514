"""The angle: a perforated bracket of galvanised steel that stands on its two edges like a roof, seen from two sides.

The two pictures of one part are called <number>_a.png and <number>_b.png: the camera looks from 15 degrees left and
right of the ridge, so each shows one leg nearly face on and the other one foreshortened. A defect is marked in both.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from data_loco.metal_parts.damage import CutCorner, Damage, DamagedEdge, DeepScratch
from data_loco.metal_parts.geometry import Array, View, coverage
from data_loco.metal_parts.holes import change_holes, hole_defects
from data_loco.metal_parts.part import STRUCTURAL, Defect, Drawing, MetalPart, Streams, marked
from data_loco.metal_parts.plate import RIM, Hole, LaidPlate, Plate, Pose
from data_loco.metal_parts.shading import ZINC, Lamp, Surface, lay
from data_loco.metal_parts.surface import cloth

LEG, WIDTH, THICKNESS = 64.0, 54.0, 2.5
"""Length of a leg from the ridge to its edge, width along the ridge, and thickness in mm."""
RADIUS = 2.9
"""Radius of the holes in mm."""
BEND = 3.0
"""Outer radius of the bend in mm."""
OVERLAP = 1.6
"""How far the flat legs reach into the bend in mm, to leave no gap."""
PITCH = 45.0
"""Angle of the legs to the cloth in degrees."""
LOOK = (-15.0, 15.0)
"""From how many degrees right of the vertical the camera looks, for the views a and b."""
DISTANCE = 450.0
"""From camera to ridge in mm."""
PLACES = ((-20.0, -18.0), (-20.0, 18.0), (-6.0, 0.0), (8.0, -18.0), (8.0, 18.0), (20.0, 0.0))
"""Middles of a leg's holes in mm: u from its middle to its free edge, v along the ridge."""
LEAST_SEEN = float(
    np.cos(np.radians(PITCH + LOOK[1])) / (1 + LEG * np.sin(np.radians(PITCH + LOOK[1])) / DISTANCE) ** 2
)
"""Ratio to which an area shrinks at most: at the far edge of the leg that is seen obliquely."""
SPARE = ((-20.0, 0.0), (8.0, 0.0), (20.0, -18.0), (20.0, 18.0), (-6.0, -18.0), (-6.0, 18.0))
"""Where an additional hole does not stand out."""
FREE_EDGES = ((0, 1), (1, -1), (1, 1))
"""Axis and side of a leg's edges without the bend."""
DAMAGES = ("damaged_edge", "cut_corner", "deep_scratch")


@dataclass(frozen=True)
class _Stand:
    """How the bracket stands under the camera."""

    turn: float
    """About the vertical, in radians."""
    shift: tuple[float, float]
    """Of the ridge in mm."""
    spread: float
    """By how many degrees each leg is steeper than `PITCH`."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "_Stand":
        return cls(rng.normal(0, 0.035), tuple(rng.normal(0, 1.0, 2).clip(-2, 2)), rng.normal(0, 0.4))

    def centred(self, look: float) -> "_Stand":
        """Moved so that both legs together, not the ridge, stand in the picture's middle."""
        reach = [side * LEG * np.cos(np.radians(PITCH + side * look)) for side in (-1, 1)]
        return replace(self, shift=(self.shift[0] - sum(reach) / 2, self.shift[1]))

    def seen(self, side: int, look: float) -> NDArray[np.float64]:
        """Axes [3, 3] of a leg (-1 left, 1 right) in the camera's space: down the leg, along the ridge, outward."""
        pitch = np.radians(PITCH + self.spread + side * look)
        down = np.array([side * np.cos(pitch), 0, -np.sin(pitch)])
        along = np.array([0, 1.0, 0])
        outward = np.array([side * np.sin(pitch), 0, np.cos(pitch)])
        c, s = np.cos(self.turn), np.sin(self.turn)
        return np.array([down, along, outward]) @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])


def draw(streams: Streams, kind: str | None, view: int, size: tuple[int, int]) -> Drawing:
    """One photograph of an angle from the side of `view`, with a defect of `kind` or without."""
    legs = [_leg(streams.part), _leg(streams.part)]
    stand = _Stand.draw(streams.part).centred(LOOK[view])
    lamp = Lamp.draw(streams.surface)
    canvas = np.tile(cloth(size, View.from_above(size, (0, 0), 0).scale, streams.surface), (3, 1, 1))
    poses = [_pose(size, stand, side, LOOK[view]) for side in (-1, 1)]
    mask = np.zeros(size, bool)
    if kind is not None:
        struck = int(streams.defect.integers(2))
        legs[struck], mask = _spoil(legs[struck], kind, poses[struck].view, streams.defect)
    laid = [LaidPlate(leg, pose) for leg, pose in zip(legs, poses)]
    for leg in laid:
        leg.darken(canvas)
    for leg in laid:
        leg.paint(canvas, lamp, streams.surface)
    _paint_bend(canvas, stand, LOOK[view], lamp, size)
    return Drawing(canvas, mask)


ANGLE = MetalPart(
    "angle",
    (
        *hole_defects(RADIUS, LEAST_SEEN),
        *(Defect(name, STRUCTURAL) for name in DAMAGES),
    ),
    draw,
    views=("_a", "_b"),
)


def _leg(rng: np.random.Generator) -> Plate:
    slip, radius = rng.normal(0, 0.15, 2), RADIUS + rng.normal(0, 0.02)
    middles = np.array(PLACES) + slip + rng.normal(0, 0.06, (len(PLACES), 2))
    holes = tuple(Hole(u, v, radius + rng.normal(0, 0.02)) for u, v in middles.tolist())
    half = ((LEG - BEND + OVERLAP) / 2 + rng.normal(0, 0.1), WIDTH / 2 + rng.normal(0, 0.08))
    return Plate(half, 1.2 + rng.normal(0, 0.08), holes, ZINC, THICKNESS, grain=2.6)


def _pose(size: tuple[int, int], stand: _Stand, side: int, look: float) -> Pose:
    """Where a leg is. It reaches `OVERLAP` under the bend, which hides its upper edge."""
    down, along, outward = stand.seen(side, look)
    middle = np.array([*stand.shift, 0.0]) + outward * BEND + down * (LEG - BEND - OVERLAP) / 2
    axes = np.array([down, along])
    upper = View.of_plane(size, middle, axes, DISTANCE)
    lower = View.of_plane(size, middle - outward * THICKNESS, axes, DISTANCE)
    corners = np.array([[-20.0, -20.0], [20.0, -20.0], [0.0, 20.0]])
    seen, below = (face.to_picture(corners) for face in (upper, lower))
    shift = np.linalg.solve(np.column_stack([seen, np.ones(3)]), below).T.astype(np.float64)
    tilt = (outward[0] / outward[2], outward[1] / outward[2])
    return Pose(upper, shift, tilt, shadow=(0.9, 0.9, 1.6, 0.8), wall=0.05 if side < 0 else 0.03)


def _spoil(leg: Plate, kind: str, view: View, rng: np.random.Generator) -> tuple[Plate, NDArray[np.bool_]]:
    """The leg with a defect, and its mask [H, W]."""
    patch = leg.patch(view)
    if kind not in DAMAGES:
        holes, changed = change_holes(leg.holes, SPARE, kind, rng)
        return replace(leg, holes=holes), marked(view.size, (patch, changed.distance(patch)), margin=RIM)
    damage = _damage(kind, rng)
    return replace(leg, changes=(damage,)), marked(view.size, (patch, damage.region(patch, leg.metal(patch))))


def _damage(kind: str, rng: np.random.Generator) -> Damage:
    """A damage that lies clear of the bend."""
    half = (LEG / 2, WIDTH / 2)
    if kind == "damaged_edge":
        return DamagedEdge.draw(rng, half, (1.4, 2.8), edges=FREE_EDGES)
    if kind == "cut_corner":
        return CutCorner.draw(rng, half, (6.0, 10.0), corners=((1, -1), (1, 1)))
    return DeepScratch.draw(rng, (half[0] - 4, half[1]))


def _paint_bend(canvas: Array, stand: _Stand, look: float, lamp: Lamp, size: tuple[int, int]) -> None:
    """The rounded ridge: a part of a cylinder between both legs, on which the lamp draws a bright line."""
    left, right = (np.radians(PITCH + stand.spread + side * look) for side in (-1, 1))
    c, s = np.cos(stand.turn), np.sin(stand.turn)
    axes = np.array([[c, s, 0], [-s, c, 0]])
    view = View.of_plane(size, np.array([*stand.shift, BEND * 0.8]), axes, DISTANCE)
    low, high = -BEND * np.sin(left), BEND * np.sin(right)
    patch = view.patch((low - 1, -WIDTH / 2 - 1, high + 1, WIDTH / 2 + 1))
    ends = np.abs(patch.v) - np.float32(WIDTH / 2)
    across = np.clip(patch.u / np.float32(BEND), -0.97, 0.97)
    slope = across / np.sqrt(1 - across * across)
    end_slope = np.clip(1 + ends / np.float32(RIM), 0, 1.5) * np.sign(patch.v) * np.float32(0.6)
    slopes = np.float32(c) * slope - np.float32(s) * end_slope, np.float32(s) * slope + np.float32(c) * end_slope
    alpha = coverage(np.maximum(ends, np.maximum(low - patch.u, patch.u - high)), patch.scale)
    lay(canvas, patch, Surface(slopes, np.ones_like(slope), ZINC), alpha, lamp)
