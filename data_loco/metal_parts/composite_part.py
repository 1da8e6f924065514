"""The composite part: a cover sheet screwed to a base sheet by four screws, and three bolts through the base's flange.

What is normal varies: screws are zinc-plated bright or yellow, every head is turned as it comes, the cover lies as
exactly as its holes allow. The left screws have hexagon heads, the right ones Phillips heads; some holes stay empty.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from data_loco.metal_parts.damage import BentCorner, CutCorner, DeepScratch
from data_loco.metal_parts.fastener import BOLT, TIP, WASHER, Bolt, Screw, along_axis, paint_bolt, paint_screw
from data_loco.metal_parts.geometry import Array, View
from data_loco.metal_parts.part import LOGICAL, STRUCTURAL, Defect, Drawing, MetalPart, Streams, marked
from data_loco.metal_parts.plate import RIM, Hole, LaidPlate, Plate, Pose, Slot, lying
from data_loco.metal_parts.shading import BRIGHT_ZINC, STEEL, YELLOW_ZINC, ZINC, Lamp
from data_loco.metal_parts.surface import cloth

BASE, COVER = (43.0, 18.0), (27.0, 13.5)
"""Half sides of the sheets in mm."""
COVER_AT = (-8.0, 0.0)
"""Middle of the cover on the base in mm."""
FLANGE = 2.5
"""Thickness of the flange along the base's lower edge, seen from above, in mm."""
SCREWS = ((-20.0, -7.5), (-20.0, 7.5), (20.0, -7.5), (20.0, 7.5))
"""Middles of the screws on the cover in mm; the first two have hexagon heads."""
HEADS = ("hexagon", "phillips")
"""Heads of the screws on the left and on the right."""
BOLTS = (-28.0, 0.0, 28.0)
"""Where the bolts are along the flange, in mm."""
BOLT_LENGTH = 15.0
"""How far a bolt comes out of the flange, in mm."""
LEAST_LENGTH, MOST_LENGTH = 3.2, 5.0
"""A bolt of a wrong length differs by between these, in mm."""
EMPTY = ((33.0 - COVER_AT[0], -8.0), (33.0 - COVER_AT[0], 8.0), (0.0, 8.0))
"""Middles of the holes without a screw, as seen from the cover: two in the base, one in the cover."""
RADIUS = 2.2
"""Radius of all holes in mm."""
EDGE = 0.2
"""Width in mm of the rim round a screw that its mask takes in."""


@dataclass(frozen=True)
class _Assembly:
    """One composite part."""

    base: Plate
    cover: Plate
    slip: tuple[float, float, float]
    """Shift (mm) and turn (radians) of the cover against its nominal place."""
    screws: tuple[Screw, ...]
    bolts: tuple[Bolt, ...]


def draw(streams: Streams, kind: str | None, view: int, size: tuple[int, int]) -> Drawing:  # noqa: ARG001
    """One photograph of a composite part, with a defect of `kind` or without."""
    part, middle = _assemble(streams.part), streams.part.normal(0, 1.0, 2).clip(-2, 2)
    on_cloth = View.from_above(size, (middle[0], middle[1]), streams.part.normal(0, 0.02)).moved((0, -10.0), 0)
    mask = np.zeros(size, bool)
    if kind is not None:
        part, mask = CHANGES[kind](part, on_cloth, streams.defect)
    lamp = Lamp.draw(streams.surface)
    canvas = np.tile(cloth(size, on_cloth.scale, streams.surface), (3, 1, 1))
    _paint(canvas, part, on_cloth, lamp, streams.surface)
    return Drawing(canvas, mask)


def _assemble(rng: np.random.Generator) -> _Assembly:
    finish = (BRIGHT_ZINC, YELLOW_ZINC)[rng.integers(2)]
    turns = rng.uniform(0, 2 * math.pi, len(SCREWS))
    places = np.array(SCREWS) + rng.normal(0, 0.1, (len(SCREWS), 2))
    screws = tuple(
        Screw(u, v, HEADS[nominal[0] > 0], turn, finish, int(rng.integers(2**32)))
        for (u, v), nominal, turn in zip(places.tolist(), SCREWS, turns.tolist())
    )
    bolt_finish = (BRIGHT_ZINC, YELLOW_ZINC)[rng.integers(2)]
    lengths = BOLT_LENGTH + rng.normal(0, 0.15, len(BOLTS))
    bolts = tuple(
        Bolt(u + rng.normal(0, 0.1), BASE[1] + FLANGE, length, rng.uniform(0, 6), bolt_finish)
        for u, length in zip(BOLTS, lengths.tolist())
    )
    slip = (rng.normal(0, 0.15), rng.normal(0, 0.15), rng.normal(0, 0.006))
    return _Assembly(_base(rng), _cover(rng), slip, screws, bolts)


def _base(rng: np.random.Generator) -> Plate:
    places = [(u + COVER_AT[0], v + COVER_AT[1]) for u, v in (*SCREWS, *EMPTY)]
    holes = tuple(Hole(u, v, RADIUS + rng.normal(0, 0.02)) for u, v in places)
    return Plate((BASE[0] + rng.normal(0, 0.1), BASE[1]), 2.0, holes, STEEL, thickness=1.5)


def _cover(rng: np.random.Generator) -> Plate:
    """The cover has a cut corner, a slot and a notch, so that it fits one way round only."""
    holes = tuple(Hole(u, v, RADIUS) for u, v in (*SCREWS, EMPTY[2]))
    notch = Slot((-COVER[0] - 1, 0.0), (-COVER[0] + 1.5, 0.0), 2.4)
    slots = (Slot((-8.0, -7.5), (6.0, -7.5), 2.0), notch)
    corner = CutCorner.at(COVER, 4.5, 4.5)
    half = (COVER[0] + rng.normal(0, 0.08), COVER[1] + rng.normal(0, 0.08))
    return Plate(half, 1.0, holes, ZINC, thickness=1.5, grain=1.7, slots=slots, changes=(corner,))


def _cover_view(part: _Assembly, on_cloth: View) -> View:
    return on_cloth.moved((COVER_AT[0] + part.slip[0], COVER_AT[1] + part.slip[1]), part.slip[2])


def _paint(canvas: Array, part: _Assembly, on_cloth: View, lamp: Lamp, rng: np.random.Generator) -> None:
    """From the cloth upwards. Every sheet has its own random numbers: a change of one changes no other."""
    streams = rng.spawn(3)
    base = Pose(on_cloth, lying(on_cloth, part.base.thickness))
    _lay(canvas, LaidPlate(part.base, base), lamp, streams[0])
    above = _cover_view(part, on_cloth)
    cover = Pose(above, lying(above, part.cover.thickness), shadow=(0.5, 0.5, 0.5, 0.6))
    _lay(canvas, LaidPlate(part.cover, cover), lamp, streams[1])
    nominal = on_cloth.moved(COVER_AT, 0)
    for screw in part.screws:
        paint_screw(canvas, nominal, screw, lamp)
    for bolt in part.bolts:
        paint_bolt(canvas, on_cloth, bolt, lamp)
    flange = Plate((part.base.half[0], FLANGE / 2), 0.3, (), STEEL, thickness=0.0)
    beyond = on_cloth.moved((0, BASE[1] + FLANGE / 2), 0)
    pose = Pose(beyond, lying(beyond, 0.0), shadow=(0.5, 0.5, 0.5, 0.5))
    LaidPlate(flange, pose).paint(canvas, lamp, streams[2])


def _lay(canvas: Array, plate: LaidPlate, lamp: Lamp, rng: np.random.Generator) -> None:
    plate.darken(canvas)
    plate.paint(canvas, lamp, rng)


Changed = tuple[_Assembly, NDArray[np.bool_]]


def _missing_screw(part: _Assembly, on_cloth: View, rng: np.random.Generator) -> Changed:
    chosen = int(rng.integers(len(part.screws)))
    rest = part.screws[:chosen] + part.screws[chosen + 1 :]
    return replace(part, screws=rest), _mark_screws(on_cloth, part.screws[chosen])


def _additional_screw(part: _Assembly, on_cloth: View, rng: np.random.Generator) -> Changed:
    (u, v), head = EMPTY[rng.integers(len(EMPTY))], HEADS[rng.integers(2)]
    screw = Screw(u, v, head, rng.uniform(0, 2 * math.pi), part.screws[0].finish, int(rng.integers(2**32)))
    return replace(part, screws=(*part.screws, screw)), _mark_screws(on_cloth, screw)


def _swapped_screws(part: _Assembly, on_cloth: View, rng: np.random.Generator) -> Changed:
    left, right = int(rng.integers(2)), int(rng.integers(2, 4))
    screws = list(part.screws)
    screws[left] = replace(screws[left], head=HEADS[1])
    screws[right] = replace(screws[right], head=HEADS[0])
    return replace(part, screws=tuple(screws)), _mark_screws(on_cloth, screws[left], screws[right])


def _damaged_screw_head(part: _Assembly, on_cloth: View, rng: np.random.Generator) -> Changed:
    chosen = int(rng.integers(len(part.screws)))
    screws = tuple(replace(screw, worn=index == chosen) for index, screw in enumerate(part.screws))
    patch = part.cover.patch(on_cloth.moved(COVER_AT, 0))
    return replace(part, screws=screws), marked(on_cloth.size, (patch, screws[chosen].circle(patch)))


def _wrong_screw_length(part: _Assembly, on_cloth: View, rng: np.random.Generator) -> Changed:
    chosen = int(rng.integers(len(part.bolts)))
    bolt = part.bolts[chosen]
    length = BOLT_LENGTH + float(rng.choice([-1, 1]) * rng.uniform(LEAST_LENGTH, MOST_LENGTH))
    bolts = tuple(replace(other, length=length) if other is bolt else other for other in part.bolts)
    ends = sorted((bolt.v + bolt.length, bolt.v + length))
    patch = on_cloth.patch((bolt.u - 6, ends[0] - 3, bolt.u + 6, ends[1] + 3))
    difference = along_axis(patch, bolt.u, (ends[0] - TIP, ends[1]), BOLT)
    return replace(part, bolts=bolts), marked(on_cloth.size, (patch, difference))


def _wrong_way_round(part: _Assembly, on_cloth: View, rng: np.random.Generator) -> Changed:
    """The cover turned by half a turn: what it covers only in one of both positions is marked."""
    sideways, along, turn = part.slip
    turned = replace(part, slip=(sideways, along, turn + math.pi + rng.normal(0, 0.002)))
    views = [_cover_view(assembly, on_cloth) for assembly in (part, turned)]
    bare = [~_covered(part.cover, view, margin=-0.5 * RIM) for view in views]
    solid = [_covered(part.cover, view) for view in views]
    return turned, (bare[0] & solid[1]) | (bare[1] & solid[0])


def _bent_sheet(part: _Assembly, on_cloth: View, rng: np.random.Generator) -> Changed:
    bend = BentCorner.draw(rng, BASE, (8.0, 13.0), corners=((-1, -1), (1, -1)))
    patch = part.base.patch(on_cloth)
    mask = marked(on_cloth.size, (patch, bend.region(patch, part.base.metal(patch))))
    mask &= ~_covered(part.cover, _cover_view(part, on_cloth))
    return replace(part, base=replace(part.base, changes=(bend,))), mask


def _scratched_sheet(part: _Assembly, on_cloth: View, rng: np.random.Generator) -> Changed:
    scratch = DeepScratch.draw(rng, (14.0, 8.5), (12, 24), middle=(0.0, 4.5))  # between screws, clear of the slot
    view = _cover_view(part, on_cloth)
    patch = part.cover.patch(view)
    mask = marked(on_cloth.size, (patch, scratch.region(patch, part.cover.metal(patch))))
    scratched = replace(part.cover, changes=(*part.cover.changes, scratch))
    return replace(part, cover=scratched), mask & ~_mark_screws(on_cloth, *part.screws)


def _mark_screws(on_cloth: View, *screws: Screw) -> NDArray[np.bool_]:
    patch = on_cloth.patch((-BASE[0], -BASE[1], BASE[0], BASE[1]))
    middle = replace(patch, u=patch.u - np.float32(COVER_AT[0]), v=patch.v - np.float32(COVER_AT[1]))
    return marked(on_cloth.size, *((patch, screw.washer(middle)) for screw in screws), margin=EDGE)


def _covered(plate: Plate, view: View, margin: float = 0.0) -> NDArray[np.bool_]:
    patch = plate.patch(view)
    return marked(view.size, (patch, plate.metal(patch)), margin=margin)


CHANGES: dict[str, Callable[[_Assembly, View, np.random.Generator], Changed]] = {
    "missing_screw": _missing_screw,
    "additional_screw": _additional_screw,
    "wrong_screw_length": _wrong_screw_length,
    "swapped_screws": _swapped_screws,
    "sheet_wrong_way_round": _wrong_way_round,
    "bent_sheet": _bent_sheet,
    "scratched_sheet": _scratched_sheet,
    "damaged_screw_head": _damaged_screw_head,
}
"""Kind of defect -> (part, view of its base, random numbers) -> the part with it, and its mask."""

COMPOSITE_PART = MetalPart(
    "composite_part",
    (
        Defect("missing_screw", LOGICAL, math.pi * WASHER**2),
        Defect("additional_screw", LOGICAL),
        Defect("wrong_screw_length", LOGICAL, 2 * BOLT * LEAST_LENGTH),
        Defect("swapped_screws", LOGICAL),
        Defect("sheet_wrong_way_round", LOGICAL),
        Defect("bent_sheet", STRUCTURAL),
        Defect("scratched_sheet", STRUCTURAL),
        Defect("damaged_screw_head", STRUCTURAL),
    ),
    draw,
)
