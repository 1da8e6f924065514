"""One picture of a metal part, by class, kind of defect and number."""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_loco.metal_parts.angle import ANGLE
from data_loco.metal_parts.camera import expose
from data_loco.metal_parts.composite_part import COMPOSITE_PART
from data_loco.metal_parts.flat_connector import FLAT_CONNECTOR
from data_loco.metal_parts.part import MetalPart, Streams

METAL_PARTS: dict[str, MetalPart] = {part.name: part for part in (FLAT_CONNECTOR, ANGLE, COMPOSITE_PART)}
"""The classes that can be rendered, by name."""
SMALLEST = (160, 256)
"""Least height and width of a picture: below it holes are too small to be told apart."""


@dataclass(frozen=True)
class Region:
    """What is wrong in a picture, and where."""

    kind: str
    mask: NDArray[np.bool_]
    """[H, W] at the picture's size."""


def render_picture(
    name: str,
    kind: str = "good",
    index: int = 0,
    *,
    split: str = "test",
    seed: int = 0,
    size: tuple[int, int] = (640, 1024),
    intact: bool = False,
) -> tuple[NDArray[np.uint8], list[Region]]:
    """Picture number `index` of class `name`: RGB [H, W, 3] and the regions of its defects.

    `kind` is "good" or one of the class's defects. With `intact` the defect is left out and all else, down to the
    sensor's noise, stays: what the same part would look like without it.

    Raises ValueError for an unknown class or defect and for a size below 160 x 256.

    >>> picture, regions = render_picture("flat_connector", "missing_hole", size=(160, 256))
    >>> picture.shape, regions[0].kind, regions[0].mask.shape
    ((160, 256, 3), 'missing_hole', (160, 256))
    """
    part = part_named(name)
    check_size(size)
    known = [defect.name for defect in part.defects]
    if kind != "good" and kind not in known:
        raise ValueError(f"{name} has no defect {kind!r}; it has {', '.join(known)}")
    type_ = next((defect.type for defect in part.defects if defect.name == kind), "good")
    number, view = divmod(index, len(part.views))
    where = [seed, *(zlib.crc32(text.encode()) for text in (name, split, type_))]
    streams = Streams.of([*where, number], [*where, number, view])
    drawing = part.draw(streams, None if intact or kind == "good" else kind, view, size)
    regions = [Region(kind, drawing.mask)] if drawing.mask.any() else []
    return expose(drawing.radiance, streams.camera), regions


def part_named(name: str) -> MetalPart:
    """The class called `name`; ValueError where there is none."""
    if name not in METAL_PARTS:
        raise ValueError(f"unknown class {name!r}; known are {', '.join(METAL_PARTS)}")
    return METAL_PARTS[name]


def check_size(size: tuple[int, int]) -> None:
    """ValueError where a picture of `size` (H, W) would be too small."""
    if size[0] < SMALLEST[0] or size[1] < SMALLEST[1]:
        raise ValueError(f"expected a size (H, W) of at least {SMALLEST}, got {tuple(size)}")
