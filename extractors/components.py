"""The parts that normal pictures consist of, found without labels: regions that a ground wholly surrounds.

A screw on a table, a hole in a sheet, the sheet on the table: each is a connected region of what is *not* one ground,
enclosed by it. Bolts that stick out of a sheet are the parts of such a region that a wide brush cannot reach. What
recurs over the normal pictures, as often in one as in the next, is a component; the rest is dirt and shadows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self

import numpy as np
from torch import Tensor

from extractors.grounds import Grounds
from extractors.protocol import check_fitted
from extractors.regions import BRUSH, Region, apart, described, enclosed, overlap, pixels_of, protruding

UNITS = np.array([0.4, 0.4, 15.0, 15.0, 15.0])
"""Differences of log area, log elongation and colour (L, a, b of 255) that count as one step between two regions."""
LIKE = 1.6
"""Steps from a kind at most for a region to be of it; regions within 1 of each other found the kind."""
MOST = 64
"""Regions on one ground of a picture that are looked at, the largest ones."""


@dataclass(frozen=True)
class Kind:
    """Regions that look alike and recur."""

    ground: int
    protrudes: bool
    signature: np.ndarray
    """float [5] of the region that most pictures have the like of."""
    share: float
    """Of the normal pictures that have one."""
    count: float
    """Per normal picture, on average."""


class Component(NamedTuple):
    """A region and the kind that it is."""

    region: Region
    kind: int
    """Place in `Components.kinds_`; -1 for a region that is like none of them."""


class Layout(NamedTuple):
    """What one picture consists of."""

    components: tuple[Component, ...]
    grounds: np.ndarray
    """bool [G, H, W]: where each ground is."""


@dataclass(eq=False)
class Components:
    """Finds the components of pictures of one class."""

    grounds: Grounds = field(default_factory=Grounds)
    area: tuple[float, float] = (0.0012, 0.6)
    """Of a region, as a share of the picture."""
    recurrence: float = 0.3
    """Share of the normal pictures that must have a region of a kind: two finishes of one part may take turns."""
    dispersion: float = 0.5
    """Variance over mean of the number of components per picture, at most; regions strewn at random have 1."""
    kinds_: tuple[Kind, ...] | None = field(default=None, init=False, repr=False)

    def fit(self, images: Iterable[Tensor]) -> Self:
        """Learn grounds and kinds from batches `[N, 3, H, W]` in [0, 1] of normal pictures of one size, iterated twice.

        Grounds that hold no components are forgotten; a class without components ends with no kinds.
        """
        self.grounds.fit(images)
        self.kinds_ = ()
        looks = [(self._regions(masks, lab), lab) for batch in images for masks, lab in self.grounds.masks(batch)]
        self.kinds_ = self._recurrent([regions for regions, _ in looks])
        kinds = self._recurrent([self._split(regions, lab) for regions, lab in looks])
        used = sorted({kind.ground for kind in kinds})
        self.grounds.keep(used)
        self.kinds_ = tuple(replace(kind, ground=used.index(kind.ground)) for kind in kinds)
        return self

    def find(self, images: Tensor) -> list[Layout]:
        """Return the layout of each picture of `[N, 3, H, W]` in [0, 1], outlines at its own resolution."""
        check_fitted(self, self.kinds_)
        layouts = []
        for masks, lab in self.grounds.masks(images):
            regions = self._split(self._regions(masks, lab), lab)
            layouts.append(Layout(tuple(Component(region, self.kind_of(region)) for region in regions), masks))
        return layouts

    def kind_of(self, region: Region) -> int:
        """Return the kind that a region is most like, -1 where it is like none."""
        distances = [
            _steps(region.signature, kind.signature)
            if (kind.ground, kind.protrudes) == (region.ground, region.protrudes)
            else np.inf
            for kind in self.kinds_ or ()
        ]
        nearest = int(np.argmin(distances)) if distances else -1
        return nearest if distances and distances[nearest] <= LIKE else -1

    def _regions(self, masks: np.ndarray, lab: np.ndarray) -> list[Region]:
        """Every region of a fitting size that lies wholly inside the picture, and what sticks out of it."""
        low, high = (share * lab[..., 0].size for share in self.area)
        brush, found = pixels_of(BRUSH, lab), []
        for ground, mask in enumerate(masks):
            wholes = [shape for shape in enclosed(~mask, low) if shape.mask.sum() <= high]
            for whole in sorted(wholes, key=lambda shape: -shape.mask.sum())[:MOST]:
                parts = protruding(whole, brush, low)
                found.append(described(whole, lab, ground=ground))
                found += [described(part, lab, ground=ground, protrudes=True) for part in parts]
        return found

    def _split(self, regions: Sequence[Region], lab: np.ndarray) -> list[Region]:
        """The regions, those that are several touching ones of more recurrent kinds taken apart."""
        return [part for region in regions for part in self._parts(region, lab)]

    def _parts(self, region: Region, lab: np.ndarray) -> list[Region]:
        kind = self.kind_of(region)
        count = self.kinds_[kind].count if self.kinds_ and kind >= 0 else 0.0
        for shapes in () if region.protrudes else apart(region, pixels_of(BRUSH, lab)):
            parts = [described(shape, lab, ground=region.ground) for shape in shapes]
            kinds = [self.kind_of(part) for part in parts]
            if self.kinds_ and all(place >= 0 and self.kinds_[place].count > count for place in kinds):
                return parts
        return [region]

    def _recurrent(self, seen: Sequence[Sequence[Region]]) -> tuple[Kind, ...]:
        """The kinds of the regions of the normal pictures."""
        found = []
        for ground, protrudes in sorted({(region.ground, region.protrudes) for regions in seen for region in regions}):
            chosen = [[r for r in regions if (r.ground, r.protrudes) == (ground, protrudes)] for regions in seen]
            found += self._kinds(chosen)
        return tuple(_without_doubles(found))

    def _kinds(self, pictures: Sequence[Sequence[Region]]) -> list["_Candidate"]:
        """The kinds of the regions on one ground that recur, if their number varies little from picture to picture."""
        members = _leaders(pictures, self.recurrence)
        counts = np.array([[sum(place == n for place, _ in kind) for n in range(len(pictures))] for kind in members])
        steady = _steadiest(counts)
        if not steady or _dispersion(counts[steady]) > self.dispersion:
            return []
        return [
            _Candidate(
                Kind(
                    members[place][0][1].ground,
                    members[place][0][1].protrudes,
                    members[place][0][1].signature,
                    float((counts[place] > 0).mean()),
                    float(counts[place].mean()),
                ),
                members[place],
            )
            for place in steady
        ]


class _Candidate(NamedTuple):
    kind: Kind
    members: list[tuple[int, Region]]
    """(picture, region), the typical one first."""


def _leaders(pictures: Sequence[Sequence[Region]], recurrence: float) -> list[list[tuple[int, Region]]]:
    """Groups of like regions, a typical one first: those that most pictures have one within a step of, in turn."""
    regions = [(number, region) for number, seen in enumerate(pictures) for region in seen]
    if not regions:
        return []
    signatures = np.stack([region.signature for _, region in regions]) / UNITS
    steps = np.sqrt(np.square(signatures[:, None] - signatures).sum(axis=2))
    picture = np.eye(len(pictures), dtype=bool)[[number for number, _ in regions]]
    left, typical = np.ones(len(regions), bool), list[int]()
    while True:
        recurs = np.array([picture[(row <= 1) & left].any(axis=0).sum() for row in steps]) * left
        most = int(recurs.argmax())
        if recurs[most] < max(2, recurrence * len(pictures)):
            break
        typical.append(most)
        left &= steps[most] > 1
    nearest = steps[typical].argmin(axis=0) if typical else ()
    members: list[list[int]] = [[first] for first in typical]
    for place, group in enumerate(nearest):
        if place not in typical and steps[typical[group], place] <= LIKE:
            members[group].append(place)
    return [[regions[place] for place in group] for group in members]


def _steadiest(counts: np.ndarray) -> list[int]:
    """Places of the kinds that are left when those whose number varies most are dropped, as long as that helps."""
    kept = list(range(len(counts)))
    while len(kept) > 1 and _dispersion(counts[kept]) > 0.1:
        without = [_dispersion(counts[[other for other in kept if other != place]]) for place in kept]
        if min(without) >= _dispersion(counts[kept]):
            break
        kept.pop(int(np.argmin(without)))
    return kept


def _dispersion(counts: np.ndarray) -> float:
    """Variance over mean of the number of components per picture; counts [kinds, pictures]."""
    total = counts.sum(axis=0)
    return float(total.var() / total.mean())


def _without_doubles(candidates: Sequence[_Candidate]) -> list[Kind]:
    """The kinds whose regions are not mostly those of a steadier kind, found on another ground."""
    kept: list[_Candidate] = []
    for candidate in sorted(candidates, key=lambda entry: -entry.kind.share * len(entry.members)):
        if not any(_same(candidate, other) for other in kept):
            kept.append(candidate)
    return [entry.kind for entry in kept]


def _same(one: _Candidate, other: _Candidate) -> bool:
    """Whether more than half of one kind's regions are regions of the other."""
    there: dict[int, list[Region]] = {}
    for number, region in other.members:
        there.setdefault(number, []).append(region)
    doubles = [any(overlap(region, twin) > 0.5 for twin in there.get(number, ())) for number, region in one.members]
    return sum(doubles) > len(doubles) / 2


def _steps(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm((one - other) / UNITS))
