"""What every class of metal parts has in common: its name, its views, its kinds of defects, and how it is drawn."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_loco.metal_parts.geometry import Array, Patch, pixels_per_mm

LOGICAL, STRUCTURAL = "logical_anomalies", "structural_anomalies"


@dataclass(frozen=True)
class Defect:
    """A kind of defect, and when a detector is said to have found all of it."""

    name: str
    type: str
    """`LOGICAL` or `STRUCTURAL`, the folder its pictures lie in."""
    area: float | None = None
    """Saturation area in mm² of the picture plane; None where the whole region has to be found (relative 1.0)."""

    def saturation(self, size: tuple[int, int]) -> int | float:
        """Saturation threshold for pictures of `size` (H, W): pixels, or the ratio 1.0."""
        return 1.0 if self.area is None else max(round(self.area * pixels_per_mm(size) ** 2), 1)


@dataclass(frozen=True)
class Streams:
    """Independent random numbers, so that a defect changes nothing but itself."""

    part: np.random.Generator
    """Tolerances and placement."""
    defect: np.random.Generator
    """Where the defect is and how large."""
    surface: np.random.Generator
    """Cloth, texture, lamp."""
    camera: np.random.Generator
    """Focus, exposure, noise."""

    @classmethod
    def of(cls, part: list[int], picture: list[int]) -> "Streams":
        """From integers that name the part, and integers that name the picture of it."""
        tolerances, defect = np.random.SeedSequence(part).spawn(2)
        surface, camera = np.random.SeedSequence(picture).spawn(2)
        return cls(*(np.random.default_rng(sequence) for sequence in (tolerances, defect, surface, camera)))


@dataclass(frozen=True)
class Drawing:
    """A picture before it is exposed."""

    radiance: Array
    """[3, H, W], linear."""
    mask: NDArray[np.bool_]
    """[H, W], the defect; empty where there is none."""


@dataclass(frozen=True)
class MetalPart:
    """A class of parts that can be rendered."""

    name: str
    defects: tuple[Defect, ...]
    draw: Callable[[Streams, str | None, int, tuple[int, int]], Drawing]
    """(streams, kind of defect or None, view, size (H, W)) -> drawing."""
    views: tuple[str, ...] = ("",)
    """What the file names of one part's pictures end in."""

    def kinds(self, type_: str) -> tuple[str, ...]:
        """Names of the defects of one anomaly type."""
        return tuple(defect.name for defect in self.defects if defect.type == type_)


def marked(size: tuple[int, int], *regions: tuple[Patch, Array], margin: float = 0.0) -> NDArray[np.bool_]:
    """Mask [H, W] of regions given by signed distances (mm) on patches, `margin` mm wider than they are.

    A margin of the width of a hole's rounded rim takes the rim into the mask: it changes with the hole.
    """
    mask = np.zeros(size, bool)
    for patch, distance in regions:
        mask[patch.window] |= distance < margin
    return mask
