"""Everything that was learned from the parts of normal pictures: families, arrangements, and how far they stray."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from extractors.grounds import k_means
from scorers.metrology_arrangement import GROUPS, Arrangement, Remark
from scorers.metrology_families import Table, families_of, family_of, taking_turns
from scorers.metrology_look import Look
from scorers.metrology_parts import PLACE

CELLS = 6
"""Per side of the raster on which arrangements are told apart."""
MOST_ARRANGEMENTS = 3
DISTINCT = 0.6
"""Silhouette from which on pictures show several arrangements."""
LEAST_SHARE = 0.15
"""Of the pictures that an arrangement must have."""
CALM = 2.0
"""Standard deviations between a normal picture and a straying normal one, at least."""
MOST = 20.0
"""What one group adds to a picture's score at most."""
REST = 0.1
"""Weight of the sum over groups: several groups that agree are more than one."""


@dataclass(frozen=True)
class Model:
    """What normal pictures of a class consist of."""

    sides: np.ndarray
    """int [K] of the kinds of parts."""
    typical: np.ndarray
    """[K, 12]"""
    family: np.ndarray
    """int [K]: kinds that take turns, such as long and short screws of which there are four together, are one."""
    rasters: np.ndarray
    """[A, families * cells] of the arrangements."""
    arrangements: tuple[Arrangement, ...]
    calm: np.ndarray
    """[A, groups]: half of the normal pictures stray by less."""
    reach: np.ndarray
    """[A, groups]: from there to where 95 of 100 stray by less."""

    @classmethod
    def of(cls, table: Table, recurrence: float) -> "Model | None":
        """Learn from a table; None where nothing recurs."""
        rows = families_of(table, recurrence)
        if not rows:
            return None
        sides, typical = table.side[rows], table.measures[rows]
        kind = family_of(table.side, table.measures, sides, typical)
        family = taking_turns(table, kind, sides)
        looks = _looks(table, _families(kind, family))
        rasters = np.array([_raster(look, family.max() + 1) for look in looks])
        label = _arrangements(rasters)
        groups = [[look for look, place in zip(looks, label) if place == number] for number in range(label.max() + 1)]
        arrangements = _alike([Arrangement.of(group, family.max() + 1) for group in groups])
        calm, reach = zip(*(_strays(one, group) for one, group in zip(arrangements, groups)), strict=True)
        centres = np.array([rasters[label == number].mean(axis=0) for number in range(label.max() + 1)])
        return cls(sides, typical, family, centres, arrangements, np.array(calm), np.array(reach))

    def look(self, side: np.ndarray, measures: np.ndarray, bulk: np.ndarray) -> Look:
        """Return the parts of a picture, see `Look`, with their families."""
        kind = family_of(side, measures, self.sides, self.typical)
        return Look(side, _families(kind, self.family), measures, bulk)

    def judge(self, look: Look) -> tuple[int, list[tuple[float, Remark]], float]:
        """Return the picture's arrangement, its remarks with how far each strays, and the picture's score.

        1 is how far one in twenty normal pictures strays. The score is the largest stray, and `REST` of the sum of the
        largest of each group.
        """
        raster = _raster(look, self.family.max() + 1)
        own = int(np.square(self.rasters - raster).sum(axis=1).argmin())
        remarks = self.arrangements[own].remarks(look)
        strays = [(self._stray(own, remark), remark) for remark in remarks]
        largest = np.zeros(len(GROUPS))
        for stray, remark in strays:
            place = GROUPS.index(remark.group)
            largest[place] = max(largest[place], min(stray, MOST))
        return own, strays, float(largest.max() + REST * largest.sum())

    def _stray(self, arrangement: int, remark: Remark) -> float:
        group = GROUPS.index(remark.group)
        return max(0.0, (remark.deviation - self.calm[arrangement, group]) / self.reach[arrangement, group])


def _alike(arrangements: Sequence[Arrangement]) -> tuple[Arrangement, ...]:
    """The arrangements with an overlap in common: in which of them parts run into others is chance."""
    overlap = np.average([one.overlap for one in arrangements], weights=[len(one.counts) for one in arrangements])
    return tuple(replace(one, overlap=float(overlap)) for one in arrangements)


def _strays(arrangement: Arrangement, looks: Sequence[Look]) -> tuple[np.ndarray, np.ndarray]:
    """Median, and distance from there to the 95 % quantile, of what normal pictures come to in each group."""
    largest = np.zeros((len(looks), len(GROUPS)))
    for number, look in enumerate(looks):
        for remark in arrangement.remarks(look, without=number):
            group = GROUPS.index(remark.group)
            largest[number, group] = max(largest[number, group], remark.deviation)
    calm = np.quantile(largest, 0.5, axis=0)
    return calm, np.maximum(np.quantile(largest, 0.95, axis=0) - calm, CALM)


def _families(kind: np.ndarray, family: np.ndarray) -> np.ndarray:
    """Int [R]: the family of each part, -1 for what is of no kind."""
    return np.where(kind < 0, -1, family[kind])


def _looks(table: Table, family: np.ndarray) -> list[Look]:
    own = [table.picture == place for place in range(table.pictures)]
    return [
        Look(table.side[part], family[part], table.measures[part], bulk)
        for part, bulk in zip(own, table.bulk, strict=True)
    ]


def _raster(look: Look, families: int) -> np.ndarray:
    """How many parts of each family are in each cell of the picture, flat; a part between cells counts in both."""
    raster = np.zeros((families, CELLS + 2, CELLS + 2))
    own = look.family >= 0
    corner = (look.measures[own, PLACE] * CELLS + 0.5).clip(0, CELLS + 0.999)
    low = corner.astype(int).clip(max=CELLS)
    rest = corner - low
    for y in (0, 1):
        for x in (0, 1):
            weight = np.abs(1 - y - rest[:, 0]) * np.abs(1 - x - rest[:, 1])
            np.add.at(raster, (look.family[own], low[:, 0] + y, low[:, 1] + x), weight)
    return raster.ravel()


def _arrangements(rasters: np.ndarray) -> np.ndarray:
    """Int [N]: which arrangement each picture shows; all the same one unless they are distinct."""
    best, chosen = DISTINCT, np.zeros(len(rasters), int)
    rows = torch.from_numpy(rasters)
    for count in range(2, MOST_ARRANGEMENTS + 1):
        centres = k_means(rows, count, torch.Generator().manual_seed(0)).numpy()
        label = np.square(rasters[:, None] - centres).sum(axis=2).argmin(axis=1)
        if np.bincount(label, minlength=count).min() >= LEAST_SHARE * len(rasters):
            silhouette = _silhouette(rasters, label)
            if silhouette > best:
                best, chosen = silhouette, label
    return chosen


def _silhouette(rows: np.ndarray, label: np.ndarray) -> float:
    """Mean silhouette (Rousseeuw, 1987) of a clustering."""
    apart = np.sqrt(np.square(rows[:, None] - rows).sum(axis=2))
    member = np.eye(label.max() + 1)[label]
    total, sizes = apart @ member, member.sum(axis=0)
    own = (total * member).sum(axis=1) / np.maximum(sizes[label] - 1, 1)
    other = np.where(member > 0, np.inf, total / sizes).min(axis=1)
    return float(((other - own) / np.maximum(np.maximum(own, other), 1e-12)).mean())
