"""Which parts are of one family: alike in size and shape, in picture after picture."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from scorers.metrology_parts import AREA, LENGTH, WIDTH, Parts, pieces_of

STEP = 0.5
"""Difference of log area, or of log elongation, that counts as one step."""
LIKE = 1.8
"""Steps from a family's typical part at most for a part to be of it; parts within 1 of each other found a family."""
TOGETHER = 0.8
"""Share of the pictures that must have the usual number of two families together for them to take turns,"""
STEADIER = 0.25
"""and by how much it must be larger than the share that has the usual number of either."""
TWO = 0.35
"""Log of how much larger than one part two touching ones are at least."""


@dataclass(frozen=True)
class Table:
    """The measured parts of normal pictures."""

    pictures: int
    picture: np.ndarray
    """int [R], from 0."""
    side: np.ndarray
    """int [R], what surrounds each part, see `Parts.sides`; a family's parts have one side."""
    measures: np.ndarray
    """[R, 12]"""
    bulk: np.ndarray
    """int8 [pictures, G, h, w]"""


def steps(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Steps in size and shape between measured parts [..., 12], which are broadcast."""
    return np.hypot(one[..., AREA] - other[..., AREA], _elongation(one) - _elongation(other)) / STEP


def families_of(table: Table, recurrence: float) -> list[int]:
    """Return the typical parts (rows) of the families: what most pictures have one within a step of, in turn.

    Args:
        table: of normal pictures.
        recurrence: share of the pictures that must have a part of a family.
    """
    picture, side, measures = table.picture, table.side, table.measures
    needed = max(2, recurrence * table.pictures)
    typical = []
    for own in np.unique(side):
        rows = np.flatnonzero(side == own)
        near = steps(measures[rows, None], measures[None, rows]) <= 1
        seen = np.eye(table.pictures, dtype=np.float32)[picture[rows]]
        left = np.ones(len(rows), bool)
        while True:
            recurs = ((near & left).astype(np.float32) @ seen > 0).sum(axis=1) * left
            most = int(recurs.argmax())
            if recurs[most] < needed:
                break
            typical.append(int(rows[most]))
            left &= ~near[most]
    return typical


def family_of(side: np.ndarray, measures: np.ndarray, sides: np.ndarray, typical: np.ndarray) -> np.ndarray:
    """Return the family, int [R], that each part is most like; -1 for what is like none.

    Args:
        side: int [R].
        measures: [R, 12].
        sides: int [K], of the families.
        typical: [K, 12], a typical part of each.
    """
    if not len(typical) or not len(measures):
        return np.full(len(measures), -1)
    distance = np.where(side[:, None] == sides, steps(measures[:, None], typical[None]), np.inf)
    nearest = distance.argmin(axis=1)
    return np.where(distance[np.arange(len(nearest)), nearest] <= LIKE, nearest, -1)


def taking_turns(table: Table, kind: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Return the family, int [K] from 0, of each kind of parts: those that take turns are one.

    The number of long screws varies, and that of short ones, but there are four together: they take the same places.

    Args:
        table: of normal pictures.
        kind: int [R] of its parts, -1 for none.
        sides: int [K], of the kinds.
    """
    counts = np.stack([np.bincount(table.picture[kind == own], minlength=table.pictures) for own in range(len(sides))])
    family = np.arange(len(sides))
    while True:
        best, pair = 0.0, None
        for one, other in combinations(range(len(counts)), 2):
            alone, together = max(_steady(counts[one]), _steady(counts[other])), _steady(counts[one] + counts[other])
            if sides[one] == sides[other] and together >= max(TOGETHER, alone + STEADIER) and together > best:
                best, pair = together, (one, other)
        if pair is None:
            return family
        one, other = pair
        counts[one] += counts[other]
        counts, sides = np.delete(counts, other, axis=0), np.delete(sides, other)
        family = np.where(family == other, one, family - (family > other))


def _steady(counts: np.ndarray) -> float:
    """Share of the pictures that have the usual number; counts int [N]."""
    return float(np.bincount(counts).max() / len(counts))


def taken_apart(parts: Parts, lab: np.ndarray, sides: np.ndarray, typical: np.ndarray, counts: np.ndarray) -> Parts:
    """The parts of a picture, Lab uint8 [H, W, 3], those that are several touching ones of commoner families split.

    Args:
        parts: of the picture.
        lab: the picture.
        sides: int [K], of the families.
        typical: [K, 12], a typical part of each.
        counts: [K], how many parts of each a normal picture has on average.
    """
    found = []
    for region, row, family in zip(
        parts.regions, parts.measures, family_of(parts.sides, parts.measures, sides, typical)
    ):
        count = counts[family] if family >= 0 else 0.0
        unlike = steps(row, typical[family]) if family >= 0 else np.inf
        side = 2 * region.ground + region.protrudes
        smaller = (sides == side) & (counts >= count) & (typical[:, AREA] < row[AREA] - TWO)
        for pieces in pieces_of(region, lab) if smaller.any() else ():
            own = family_of(pieces.sides, pieces.measures, sides, typical)
            commoner = counts[own] > count
            if (own >= 0).all() and (commoner | (steps(pieces.measures, typical[own]) < unlike)).all():
                found.append(pieces)
                break
        else:
            found.append(Parts((region,), row[None]))
    regions = tuple(region for pieces in found for region in pieces.regions)
    return Parts(regions, np.concatenate([pieces.measures for pieces in found])) if found else parts


def _elongation(measures: np.ndarray) -> np.ndarray:
    return measures[..., LENGTH] - measures[..., WIDTH]
