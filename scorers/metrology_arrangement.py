"""One arrangement of parts that normal pictures show: what is measured of it, and how far a picture is from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from scorers.metrology_look import A_PIECE, Look
from scorers.metrology_match import Match, located, matched, wholes_of, without_pieces
from scorers.metrology_parts import AREA, COLOUR, LENGTH, MEASURES, PLACE, WIDTH
from scorers.metrology_places import COMMON, STEADY, Places, places_of
from scorers.usual import Usual, usual

EXACT = np.array([0.03, 0.012, 0.02, 0.03, 0.03, 0.03, 0.03, 1.5, 1.0, 1.0, 0.004, 0.004])
"""How exactly each of `MEASURES` can be measured at best: what a standard deviation is at least."""
COMPARED = (AREA, LENGTH, *range(COLOUR.start, COLOUR.stop))
"""Measures in which two parts are compared."""
SORTED = (AREA, LENGTH, WIDTH)
"""Measures that are put in order."""
MOST_SORTED = 24
"""Parts of a family whose measures are put in order."""
CERTAIN = 10.0
"""What something that no normal picture has counts as, in standard deviations."""
LEAST_FAMILY = 3
"""Places of a family from which on a part is compared with the rest."""
WORTH = 2.0
"""Standard deviations from which on a number is remarked; of each group, the largest one always is."""
GROUPS = ("place", "like", "pair", "order", "missing", "extra", "count", "part")


class Remark(NamedTuple):
    """One number of a picture that lies off its normal ranges, or something that is missing or too much."""

    group: str
    deviation: float
    """Standard deviations, or what stands for them."""
    parts: tuple[int, ...] = ()
    """Of the picture's parts."""
    place: int = -1
    """At which there is no part."""
    where: tuple[float, float] = (0.0, 0.0)
    """(y, x) of that place in the picture, shares of the longer side."""
    number: int = -1
    """Column in the group's numbers; for what is missing 1 where something else lies there, else 0."""
    value: float = 0.0


@dataclass(frozen=True)
class Arrangement:
    """What the normal pictures of one arrangement have in common."""

    places: Places
    usual_counts: tuple[int, ...]
    """Parts of each family in most pictures; 0 where the number varies."""
    counts: np.ndarray
    """int [N, families + 1] of the normal pictures, see `_counts`."""
    empty: np.ndarray
    """[S]: share of the normal pictures with nothing at a place."""
    overlap: float
    """Share of the normal pictures, of all arrangements, with a place that is covered."""
    ranges: dict[str, Usual]
    seen: tuple[np.ndarray, np.ndarray, np.ndarray]
    """Side [R], picture [R] and description [R, 7] of every part of the normal pictures."""
    loose: np.ndarray
    """bool [R]: those that are at no place."""
    bulk: np.ndarray
    """int8 [N, G, h, w] of the normal pictures, aligned."""
    unit: float
    """Distance from the parts of other normal pictures that 95 of 100 normal parts keep."""

    @cached_property
    def normal_counts(self) -> np.ndarray:
        """[families + 1]: medians."""
        return np.median(self.counts, axis=0)

    @classmethod
    def of(cls, looks: Sequence[Look], families: int) -> "Arrangement":
        """Learn from normal pictures."""
        places = places_of(looks, families)
        matches = [matched(look, places) for look in looks]
        bulk = np.array([places.aligned_bulk(match.chosen, look) for look, match in zip(looks, matches)])
        wholes = [wholes_of(look, match, bulk, own) for own, (look, match) in enumerate(zip(looks, matches))]
        looks = [without_pieces(look, own) for look, own in zip(looks, wholes)]
        overlap = float(np.mean([match.covered.any() for match in matches]))
        counts = np.array([_counts(look, match, places, families) for look, match in zip(looks, matches)])
        steady = [int(np.bincount(column).argmax()) for column in counts[:, :-1].T]
        usual_counts = tuple(
            number if (counts[:, family] == number).mean() >= STEADY else 0 for family, number in enumerate(steady)
        )
        found = [_numbers(look, match, places, usual_counts) for look, match in zip(looks, matches)]
        ranges = {
            group: usual(np.array([groups[group] for groups in found]), exact)
            for group, exact in _exactness(places, usual_counts).items()
            if len(exact)
        }
        empty = np.mean([match.empty for match in matches], axis=0)
        picture = np.concatenate([np.full(len(look.side), place) for place, look in enumerate(looks)])
        side = np.concatenate([look.side for look in looks])
        described = np.concatenate([_described(look, match.aligned) for look, match in zip(looks, matches)])
        loose = np.concatenate([match.loose for match in matches])
        own = np.concatenate(
            [
                _nearest(side[rows], described[rows], side[~rows], described[~rows])
                for rows in (picture == place for place in range(len(looks)))
            ]
        )
        unit = max(float(np.quantile(own[np.isfinite(own)], 0.95)), 0.25) if np.isfinite(own).any() else 1.0
        return cls(places, usual_counts, counts, empty, overlap, ranges, (side, picture, described), loose, bulk, unit)

    def remarks(self, look: Look, without: int = -1) -> list[Remark]:
        """Everything that was measured of a picture and how far each number is off, largest first in each group.

        `without` leaves one normal picture out of what single parts are compared with.
        """
        match = matched(look, self.places)
        wholes = wholes_of(look, match, self.bulk, without)
        look = without_pieces(look, wholes)
        numbers = _numbers(look, match, self.places, self.usual_counts)
        found = [
            Remark(
                group,
                float(off[column]),
                _owners(group, int(column), self, look, match),
                number=int(column),
                value=float(numbers[group][column]),
            )
            for group, ranges in self.ranges.items()
            for off in (ranges.deviation(numbers[group]),)
            for column in np.flatnonzero(off >= min(WORTH, off.max()))
            if off[column] > 0
        ]
        found += self._missing(look, match) + self._extra(look, match, wholes, without)
        found += self._miscounted(look, match) + self._strange(look, match, without)
        return sorted(found, key=lambda remark: (GROUPS.index(remark.group), -remark.deviation))

    def _missing(self, look: Look, match: Match) -> list[Remark]:
        gone = np.flatnonzero(match.chosen < 0)
        where = located(look, match.chosen, self.places, gone).tolist()
        share = np.where(match.covered, np.maximum(self.empty, self.overlap), self.empty)
        return [
            Remark("missing", _rarity(share[place]), place=place, where=(y, x), number=int(match.covered[place]))
            for place, (y, x) in zip(gone.tolist(), where)
        ]

    def _extra(self, look: Look, match: Match, wholes: np.ndarray, without: int) -> list[Remark]:
        """Parts at no place, although their family has places, by how many normal pictures have a like one there.

        Normal parts that are at a place do not count: close to a row of holes, one more hole is no normal hole.
        """
        loose = np.flatnonzero(match.loose & np.isin(look.family, self.places.family))
        side, picture, described = self.seen
        rest = (picture != without) & self.loose
        finer = np.r_[np.ones(described.shape[1] - 2), 2, 2]
        own = _described(look, match.aligned)[loose] * finer
        near = _squares(look.side[loose], own, side[rest], described[rest] * finer) <= 1
        pictures = len(self.counts) - (without >= 0)
        share = [len(np.unique(picture[rest][row])) / pictures for row in near]
        return [
            Remark("extra", _rarity(max(seen, wholes[part])), (int(part),), number=int(look.family[part]))
            for part, seen in zip(loose, share)
        ]

    def _miscounted(self, look: Look, match: Match) -> list[Remark]:
        found = []
        for family, count in enumerate(_counts(look, match, self.places, len(self.usual_counts))):
            normal = self.normal_counts[family]
            off = _rarity((np.abs(self.counts[:, family] - normal) >= abs(count - normal)).mean())
            if count != normal and off > 0:
                parts = self._surplus(look, match, family) if count > normal else ()
                found.append(Remark("count", off, parts, number=family, value=float(count)))
        return found

    def _surplus(self, look: Look, match: Match, family: int) -> tuple[int, ...]:
        """A family's parts at no place of it, or all where there are none; the last family is parts of none."""
        own = np.flatnonzero(look.family == (family if family < len(self.usual_counts) else -1))
        elsewhere = np.setdiff1d(own, match.chosen[self.places.family == family])
        return tuple((elsewhere if len(elsewhere) else own).tolist())

    def _strange(self, look: Look, match: Match, without: int) -> list[Remark]:
        side, picture, described = self.seen
        rest = picture != without
        off = _nearest(look.side, _described(look, match.aligned), side[rest], described[rest])
        return [Remark("part", min(2 * value / self.unit, CERTAIN), (part,)) for part, value in enumerate(off.tolist())]


def _numbers(look: Look, match: Match, places: Places, usual_counts: Sequence[int]) -> dict[str, np.ndarray]:
    """What a picture's parts come to, by group, NaN where a part is missing."""
    found = match.chosen >= 0
    table = np.full((len(found), len(MEASURES)), np.nan)
    table[found] = look.measures[match.chosen[found]]
    table[found, PLACE] = match.aligned[match.chosen[found]] - places.typical[found, PLACE]
    one, other = np.array(places.pairs, int).reshape(-1, 2).T
    return {
        "order": _ordered(look, usual_counts),
        "place": table.ravel(),
        "like": _against_rest(table[:, : PLACE.start], places.family).ravel(),
        "pair": (table[:, COMPARED][one] - table[:, COMPARED][other]).ravel(),
    }


def _against_rest(table: np.ndarray, family: np.ndarray) -> np.ndarray:
    """[S, A]: each part less the median of the others of its family; NaN for families of less than three."""
    found = np.full_like(table, np.nan)
    present = ~np.isnan(table).any(axis=1)
    for own in np.unique(family):
        rows = np.flatnonzero((family == own) & present)
        large = (family == own).sum() >= LEAST_FAMILY and len(rows) > 1
        if large:
            rest = np.stack([np.delete(rows, place) for place in range(len(rows))])
            found[rows] = table[rows] - np.median(table[rest], axis=1)
    return found


def _ordered(look: Look, usual_counts: Sequence[int]) -> np.ndarray:
    """Measures of each family in ascending order, and the steps between them; NaN where the count is not the usual."""
    found = [np.zeros(0)]
    for family, count in enumerate(usual_counts):
        own = look.measures[look.family == family]
        for measure in SORTED if 1 <= count <= MOST_SORTED else ():
            ascending = np.sort(own[:, measure])
            whole = len(own) == count
            found.append(np.append(ascending, np.diff(ascending)) if whole else np.full(2 * count - 1, np.nan))
    return np.concatenate(found)


def _exactness(places: Places, usual_counts: Sequence[int]) -> dict[str, np.ndarray]:
    """How exactly each number of each group can be measured."""
    rows = [EXACT[m].repeat(2 * n - 1) for n in usual_counts for m in SORTED if 1 <= n <= MOST_SORTED]
    found = {"order": np.concatenate([np.zeros(0), *rows])}
    if len(places.side):
        found["place"] = np.tile(EXACT, len(places.side))
        found["like"] = np.tile(EXACT[: PLACE.start], len(places.side))
        found["pair"] = np.tile(EXACT[list(COMPARED)], len(places.pairs))
    return found


def _owners(group: str, column: int, own: Arrangement, look: Look, match: Match) -> tuple[int, ...]:
    """The parts that a number is of."""
    if group == "order":
        return _ordered_owners(column, own.usual_counts, look)
    if group == "pair":
        pair = own.places.pairs[column // len(COMPARED)]
        return tuple(int(match.chosen[place]) for place in pair)
    width = len(MEASURES) if group == "place" else PLACE.start
    return (int(match.chosen[column // width]),)


def order_number(column: int, usual_counts: Sequence[int]) -> tuple[int, int, int]:
    """The family, the measure and the rank that a number of the group `order` is of; ranks from the count are steps."""
    for family, count in enumerate(usual_counts):
        for measure in SORTED if 1 <= count <= MOST_SORTED else ():
            if column < 2 * count - 1:
                return family, measure, column
            column -= 2 * count - 1
    raise ValueError(f"expected a number of the group order, got one {column} beyond the last")


def _ordered_owners(column: int, usual_counts: Sequence[int], look: Look) -> tuple[int, ...]:
    family, measure, rank = order_number(column, usual_counts)
    rows = np.flatnonzero(look.family == family)
    ascending = rows[np.argsort(look.measures[rows, measure], kind="stable")]
    count = usual_counts[family]
    return (int(ascending[rank]),) if rank < count else tuple(int(row) for row in ascending[rank - count :][:2])


def _counts(look: Look, match: Match, places: Places, families: int) -> np.ndarray:
    """Int [families + 1]: parts of each family with those at covered places, then of none."""
    own = np.where(look.family == -1, families, look.family)[look.family != A_PIECE]
    return np.bincount(np.append(own, places.family[match.covered]), minlength=families + 1)


def _rarity(share: float) -> float:
    """What something that this share of the normal pictures has counts as."""
    return CERTAIN * max(0.0, 1 - float(share) / COMMON)


def _described(look: Look, aligned: np.ndarray) -> np.ndarray:
    """[R, 7]: size, shape, colour and place of each part, one step apart where they look different."""
    elongation = look.measures[:, LENGTH] - look.measures[:, WIDTH]
    columns = (look.measures[:, AREA] / 0.5, elongation / 0.5, look.measures[:, COLOUR] / 15, aligned / 0.1)
    return np.column_stack(columns)


def _nearest(side: np.ndarray, described: np.ndarray, sides: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """[R]: distance of each part to the third nearest of `rows` of the same side; infinite where there are fewer."""
    if not len(side) or len(rows) < 3:
        return np.full(len(side), np.inf)
    return np.sqrt(np.partition(_squares(side, described, sides, rows), 2, axis=1)[:, 2])


def _squares(side: np.ndarray, described: np.ndarray, sides: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """[R, n]: squared distances to `rows` [n, 7], infinite to those of another side."""
    squares = np.square(described).sum(1)[:, None] + np.square(rows).sum(1) - 2 * described @ rows.T
    return np.where(side[:, None] == sides, squares.clip(min=0), np.inf)
