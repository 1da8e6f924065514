"""Logical defects of a pattern of holes: one is missing, one too many, one of another size."""

import math
from collections.abc import Sequence

import numpy as np

from data_loco.metal_parts.part import LOGICAL, Defect
from data_loco.metal_parts.plate import Hole

LEAST_RESIZING, MOST_RESIZING = 0.2, 0.35
"""A hole of another size differs in diameter by a ratio between these."""


def hole_defects(radius: float, foreshortening: float = 1.0) -> tuple[Defect, ...]:
    """Kinds of defects of holes of `radius` mm, with the areas at which they saturate.

    One value per kind has to do for all its pictures. A missing hole saturates at the area of a hole; a hole of another
    size at the least area by which such holes differ; `foreshortening` is the cosine under which they are seen.

    >>> [round(defect.area, 2) for defect in hole_defects(1.0) if defect.area]
    [3.14, 1.13]
    """
    area = math.pi * radius**2 * foreshortening
    return (
        Defect("missing_hole", LOGICAL, area),
        Defect("additional_hole", LOGICAL),
        Defect("wrong_hole_size", LOGICAL, area * (1 - (1 - LEAST_RESIZING) ** 2)),
    )


def change_holes(
    holes: Sequence[Hole], spare: Sequence[tuple[float, float]], kind: str, rng: np.random.Generator
) -> tuple[tuple[Hole, ...], Hole]:
    """The pattern after a defect of `kind`, and the hole that covers what is different.

    An additional hole is drilled at one of the `spare` places, as wide as its neighbours.
    """
    chosen = int(rng.integers(len(holes)))
    hole = holes[chosen]
    rest = tuple(other for index, other in enumerate(holes) if index != chosen)
    if kind == "missing_hole":
        return rest, hole
    if kind == "additional_hole":
        u, v = np.array(spare[int(rng.integers(len(spare)))]) + rng.normal(0, 0.12, 2)
        extra = Hole(float(u), float(v), hole.radius)
        return (*holes, extra), extra
    wrong = Hole(hole.u, hole.v, _wrong_radius(hole.radius, rng))
    return (*rest, wrong), max(hole, wrong, key=lambda either: either.radius)


def _wrong_radius(radius: float, rng: np.random.Generator) -> float:
    return float(radius * (1 + rng.choice([-1, 1]) * rng.uniform(LEAST_RESIZING, MOST_RESIZING)))
