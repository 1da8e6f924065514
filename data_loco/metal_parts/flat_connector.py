"""The flat connector: a perforated bar of brushed steel with fourteen holes."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from data_loco.metal_parts.damage import CutCorner, Damage, DamagedEdge, DeepScratch
from data_loco.metal_parts.geometry import View
from data_loco.metal_parts.holes import change_holes, hole_defects
from data_loco.metal_parts.part import STRUCTURAL, Defect, Drawing, MetalPart, Streams, marked
from data_loco.metal_parts.plate import RIM, Hole, LaidPlate, Plate, Pose, lying
from data_loco.metal_parts.shading import STEEL, Lamp
from data_loco.metal_parts.surface import cloth

HALF = (48.0, 15.0)
"""Half length and half width of the bar in mm."""
RADIUS = 2.6
"""Radius of its holes in mm."""
PITCH, ROW = 8.4, 8.6
"""Distance of neighbouring columns and rows of holes in mm."""
PLACES = tuple(
    (PITCH * column, ROW * row)
    for column, rows in enumerate([(-1, 1), (0,), (-1, 1), (0,), (-1,), (), (1,), (0,), (-1, 1), (0,), (-1, 1)], -5)
    for row in rows
)
"""Middles of the holes in mm: a quincunx with a gap in the middle, the same after half a turn."""
SPARE = tuple((PITCH * column, ROW * row) for column, row in [(-1, 1), (1, -1), (0, 0), (-2, 1), (2, -1), (-2, -1)])
"""Where an additional hole does not stand out."""


def draw(streams: Streams, kind: str | None, view: int, size: tuple[int, int]) -> Drawing:  # noqa: ARG001
    """One photograph of a flat connector, with a defect of `kind` or without."""
    bar, above = _bar(streams.part), _placement(streams.part, size)
    mask = np.zeros(size, bool)
    if kind is not None:
        bar, mask = _spoil(bar, kind, above, streams.defect)
    lamp = Lamp.draw(streams.surface)
    canvas = np.tile(cloth(size, above.scale, streams.surface), (3, 1, 1))
    pose = Pose(above, lying(above, bar.thickness))
    laid = LaidPlate(bar, pose)
    laid.darken(canvas)
    laid.paint(canvas, lamp, streams.surface)
    return Drawing(canvas, mask)


DAMAGES = ("damaged_edge", "cut_corner", "deep_scratch")

FLAT_CONNECTOR = MetalPart(
    "flat_connector", (*hole_defects(RADIUS), *(Defect(name, STRUCTURAL) for name in DAMAGES)), draw
)


def _bar(rng: np.random.Generator) -> Plate:
    half = (HALF[0] + rng.normal(0, 0.15), HALF[1] + rng.normal(0, 0.08))
    slip = rng.normal(0, 0.12, 2)
    radius = RADIUS + rng.normal(0, 0.02)
    middles = np.array(PLACES) + slip + rng.normal(0, 0.06, (len(PLACES), 2))
    holes = tuple(Hole(u, v, radius + rng.normal(0, 0.02)) for u, v in middles.tolist())
    return Plate(half, 1.6 + rng.normal(0, 0.1), holes, STEEL, thickness=2.5)


def _placement(rng: np.random.Generator, size: tuple[int, int]) -> View:
    turned = rng.choice([0.0, np.pi])
    return View.from_above(size, tuple(rng.normal(0, 1.3, 2).clip(-3, 3)), turned + rng.normal(0, 0.035))


def _spoil(bar: Plate, kind: str, view: View, rng: np.random.Generator) -> tuple[Plate, NDArray[np.bool_]]:
    """The bar with a defect, and its mask [H, W]."""
    patch = bar.patch(view)
    if kind not in DAMAGES:
        holes, changed = change_holes(bar.holes, SPARE, kind, rng)
        return replace(bar, holes=holes), marked(view.size, (patch, changed.distance(patch)), margin=RIM)
    damage = _damage(kind, rng)
    return replace(bar, changes=(damage,)), marked(view.size, (patch, damage.region(patch, bar.metal(patch))))


def _damage(kind: str, rng: np.random.Generator) -> Damage:
    if kind == "damaged_edge":
        return DamagedEdge.draw(rng, HALF, (1.2, 2.6))
    if kind == "cut_corner":
        return CutCorner.draw(rng, HALF, (4.5, 8.0))
    return DeepScratch.draw(rng, HALF)
