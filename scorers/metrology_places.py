"""Where normal pictures have their parts: recurring places, and how a picture's parts are matched with them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from scorers.metrology_bulk import moved, much_larger, points_of
from scorers.metrology_families import STEP, TWO, steps
from scorers.metrology_look import Look
from scorers.metrology_parts import MEASURES, PLACE

STEADY = 0.5
"""Share of the pictures that must have the usual number of parts of a family for it to have places."""
APART = 0.3
"""A place's parts stray by at most this share of the distance to the next place."""
STRAY = 0.1
"""And by this share of the longer side at most."""
ALIGNMENTS = ("none", "shift", "similarity", "affine")
NEAR = 0.03
"""Parts this near to each other, as a share of the longer side, may be at one place."""
RECURRING = 0.7
"""Share of the pictures that must have a part, or something larger, at a place of a family whose number varies."""
COMMON = 0.1
"""Share of the normal pictures from which on what they have is nothing unusual."""
MOST_PAIRED = 16
"""Parts of a family that are compared pair by pair."""
SMALLEST_GATE = 0.02


@dataclass(frozen=True)
class Places:
    """The places of one arrangement of parts."""

    side: np.ndarray
    """int [S]"""
    family: np.ndarray
    """int [S]"""
    typical: np.ndarray
    """float [S, 12]: the median part of each place, directions apart."""
    gate: np.ndarray
    """float [S]: how far from a place a part may be, as a share of the longer side."""
    alignment: str
    """How the picture is brought onto the places: the one of `ALIGNMENTS` that predicts a place best from the rest."""

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """The pairs of places of one family, except of families of very many."""
        few = [family for family in np.unique(self.family) if (self.family == family).sum() <= MOST_PAIRED]
        return [pair for family in few for pair in combinations(np.flatnonzero(self.family == family).tolist(), 2)]

    def match(self, side: np.ndarray, measures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the part at each place, int [S], -1 for none, and where the parts are once aligned, float [R, 2]."""
        found = []
        for start in self._starts(side, measures):
            found.append(self._matched(side, measures, start))
            if (found[-1][0] >= 0).all():
                break
        return max(found, key=lambda one: ((one[0] >= 0).sum(), -self._stray(*one)))

    def located(self, chosen: np.ndarray, measures: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Where `points` [P, 2] of the normal pictures are in a picture, (y, x) as shares of the longer side.

        Args:
            chosen: int [S], the part at each place, as `match` found it.
            measures: [R, 12].
            points: such as the places themselves.
        """
        found = chosen >= 0
        return align(self.typical[found][:, PLACE], measures[chosen[found], PLACE], points, self.alignment)

    def aligned_bulk(self, chosen: np.ndarray, look: Look) -> np.ndarray:
        """Return the bulk of a picture, int8 [G, h, w], as it would be if its parts `chosen` were at their places."""
        return moved(look.bulk, self.located(chosen, look.measures, points_of(look.bulk)))

    def _starts(self, side: np.ndarray, measures: np.ndarray) -> list[np.ndarray]:
        own = [measures[np.isin(side, self.side), PLACE]]
        starts = [measures[:, PLACE]]
        if len(own[0]) and len(self.side) > 1:
            starts.append(measures[:, PLACE] + self.typical[:, PLACE].mean(0) - own[0].mean(0))
        return starts

    def _matched(self, side: np.ndarray, measures: np.ndarray, aligned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        for _ in range(3):
            chosen = self._assigned(side, measures, aligned)
            found = chosen >= 0
            if not found.any():
                return chosen, measures[:, PLACE]
            aligned = align(
                measures[chosen[found], PLACE], self.typical[found][:, PLACE], measures[:, PLACE], self.alignment
            )
        return self._assigned(side, measures, aligned), aligned

    def _assigned(self, side: np.ndarray, measures: np.ndarray, aligned: np.ndarray) -> np.ndarray:
        chosen = np.full(len(self.side), -1)
        if not len(measures):
            return chosen
        off = np.linalg.norm(aligned[None] - self.typical[:, None, PLACE], axis=2) / self.gate[:, None]
        unlike = steps(measures[None], self.typical[:, None]) * STEP / 1.5
        cost = off**2 + 0.5 * unlike.clip(max=2) ** 2
        possible = (off < 1) & (unlike < 1.5) & (side[None] == self.side[:, None])
        cost = np.where(possible, cost, 100.0)
        rows, columns = linear_sum_assignment(cost)
        fits = possible[rows, columns]
        chosen[rows[fits]] = columns[fits]
        return chosen

    def _stray(self, chosen: np.ndarray, aligned: np.ndarray) -> float:
        found = chosen >= 0
        off = aligned[chosen[found]] - self.typical[found][:, PLACE]
        return float(np.linalg.norm(off, axis=1).sum()) if found.any() else np.inf


def align(points: np.ndarray, targets: np.ndarray, moved: np.ndarray, alignment: str) -> np.ndarray:
    """Return `moved` [R, 2] under the transformation that brings `points` [P, 2] onto `targets` [P, 2] best.

    Least squares, a point that stays off counting less and less (Geman and McClure's weights). Where there are too few
    points for an affine map (fewer than 5) or a similarity (3), the next simpler one is used.
    """
    needed = {"none": 0, "shift": 1, "similarity": 3, "affine": 5}
    kinds = [kind for kind in ALIGNMENTS[: ALIGNMENTS.index(alignment) + 1] if len(points) >= needed[kind]]
    if kinds[-1] == "none":
        return moved
    weights = np.ones(len(points))
    for _ in range(3):
        transform = _fitted(points, targets, weights, kinds[-1])
        off = np.square(_applied(transform, points) - targets).sum(axis=1)
        scale = _median(off) + 1e-6
        weights = 1 / (1 + off / (9 * scale)) ** 2
    return _applied(transform, moved)


def _fitted(points: np.ndarray, targets: np.ndarray, weights: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    share = weights / weights.sum()
    centre, target = share @ points, share @ targets
    if kind == "shift":
        return np.eye(2), target - centre
    left, right = (points - centre) * weights[:, None], targets - target
    if kind == "similarity":
        c = (left * right).sum()
        s = (left[:, 0] * right[:, 1] - left[:, 1] * right[:, 0]).sum()
        matrix = np.array([[c, s], [-s, c]]) / max((left * (points - centre)).sum(), 1e-12)
    else:
        matrix = _inverse(left.T @ (points - centre)) @ left.T @ right
    return matrix, target - centre @ matrix


def _inverse(matrix: np.ndarray) -> np.ndarray:
    """Of a symmetric [2, 2]; the pseudo-inverse where it has none, for points on a line."""
    (xx, xy), (_, yy) = matrix
    determinant = xx * yy - xy * xy
    if determinant <= 1e-9 * xx * yy:
        return np.linalg.pinv(matrix, hermitian=True)
    return np.array([[yy, -xy], [-xy, xx]]) / determinant


def _median(values: np.ndarray) -> float:
    """Of a few numbers [n], ten times as fast as NumPy's."""
    ordered, middle = np.sort(values), len(values) // 2
    return float(ordered[middle] if len(values) % 2 else (ordered[middle - 1] + ordered[middle]) / 2)


def _applied(transform: tuple[np.ndarray, np.ndarray], points: np.ndarray) -> np.ndarray:
    return points @ transform[0] + transform[1]


def places_of(looks: Sequence[Look], families: int) -> Places:
    """Return the places that the parts of normal pictures of one arrangement take; none where nothing stays in place.

    Args:
        looks: the pictures.
        families: how many there are.
    """
    found = [place for family in range(families) for place in _places(looks, family)]
    places = _aligned(found, looks)
    more = _recurring(places, looks, families) if found else []
    return _aligned(found + more, looks) if more else places


def _aligned(found: Sequence[tuple], looks: Sequence[Look]) -> Places:
    """The places `found`, each (side, family, typical part), with gates and the alignment that suits them."""
    if not found:
        return Places(np.zeros(0, int), np.zeros(0, int), np.zeros((0, len(MEASURES))), np.zeros(0), "none")
    side, family, typical = (np.array(column) for column in zip(*found, strict=True))
    apart = np.linalg.norm(typical[:, None, PLACE] - typical[None, :, PLACE], axis=2)
    apart[(side[:, None] != side) | (steps(typical[:, None], typical[None]) > 4) | np.eye(len(side), dtype=bool)] = 1
    gate = np.maximum(np.minimum(0.6 * apart.min(axis=1), 0.25), SMALLEST_GATE)
    rough = [Places(side, family, typical, gate, kind) for kind in ALIGNMENTS]
    return min(rough, key=lambda places: _error(places, looks) * 1.1 ** ALIGNMENTS.index(places.alignment))


def _recurring(places: Places, looks: Sequence[Look], families: int) -> list[tuple]:
    """(side, family, typical part) of each further place where most pictures have a part, or something larger.

    There are such places where parts sometimes run into something else, and where others of their family come and go.
    Where they are is told by the `places` that are known. Of what is larger alone no place can be made: more than a few
    pictures must have like parts there.
    """
    matches = [places.match(look.side, look.measures) for look in looks]
    bulks = np.array([places.aligned_bulk(chosen, look) for look, (chosen, _) in zip(looks, matches)])
    aligned = [points for _, points in matches]
    family = [look.family.copy() for look in looks]
    for own, (chosen, _) in zip(family, matches):
        own[chosen[chosen >= 0]] = -1
    return [
        place
        for one in range(families)
        for place in _recurring_of(looks, [own == one for own in family], aligned, bulks)
    ]


def _recurring_of(
    looks: Sequence[Look], rows: Sequence[np.ndarray], aligned: Sequence[np.ndarray], bulks: np.ndarray
) -> Iterator[tuple]:
    """Those of the parts `rows`, bool [R] of each picture; `aligned` [R, 2] and `bulks` [N, G, h, w] are in line."""
    picture = np.repeat(np.arange(len(looks)), [own.sum() for own in rows])
    if not len(picture):
        return
    picked = [
        (look.side[own], look.family[own], look.measures[own], points[own])
        for look, own, points in zip(looks, rows, aligned)
    ]
    side, family, measures, points = (np.concatenate(column) for column in zip(*picked, strict=True))
    near, left = _near(points), np.ones(len(picture), bool)
    member = csr_array((left, (np.arange(len(picture)), picture)), dtype=int)
    while (recurs := np.diff((near[:, left] @ member[left]).indptr) * left).max() >= COMMON * len(looks):
        own = near[[recurs.argmax()]].toarray()[0] * left > 0
        typical = np.median(measures[own], axis=0)
        typical[PLACE] = np.median(points[own], axis=0)
        covered = much_larger(bulks, side[:1], typical[None], typical[None, PLACE], TWO)[:, 0]
        covered[picture[own]] = True
        if covered.mean() >= RECURRING:
            yield int(side[0]), int(family[0]), typical
        left &= ~own


def _near(points: np.ndarray) -> csr_array:
    """[R, R]: 1 where two of `points` [R, 2] are `NEAR` to each other; few are, however many there are."""
    pairs = cKDTree(points).query_pairs(NEAR, output_type="ndarray")
    one, other = np.concatenate([pairs, pairs[:, ::-1], np.arange(len(points))[:, None].repeat(2, axis=1)]).T
    return csr_array((np.ones(len(one), int), (one, other)), shape=(len(points), len(points)))


def _places(looks: Sequence[Look], family: int) -> list[tuple]:
    """(side, family, typical part) of each place of a family, none where its parts stray."""
    chosen = [(look.side[look.family == family], look.measures[look.family == family]) for look in looks]
    counts = np.array([len(side) for side, _ in chosen])
    usual = int(np.bincount(counts).argmax())
    full = [measures for (_, measures), count in zip(chosen, counts) if count == usual]
    if usual == 0 or len(full) < STEADY * len(looks):
        return []
    side = next(int(side[0]) for side, _ in chosen if len(side))
    best = min(full[:24], key=lambda measures: sum(_ordered(measures, other[:, PLACE])[1] for other in full[:24]))
    centres = best[:, PLACE]
    for _ in range(4):
        ordered = np.array([measures[_ordered(measures, centres)[0]] for measures in full])
        centres = np.median(ordered[..., PLACE], axis=0)
    shifted = ordered[..., PLACE] - ordered[..., PLACE].mean(axis=1, keepdims=True)
    spreads = [
        np.median(np.linalg.norm(place - np.median(place, axis=0), axis=2), axis=0)
        for place in (ordered[..., PLACE], shifted)
    ]
    spread = spreads[0] if usual == 1 else np.minimum(*spreads)
    apart = np.linalg.norm(centres[:, None] - centres, axis=2) + np.eye(usual) * 9
    if (spread > np.minimum(APART * apart.min(axis=1), STRAY)).any():
        return []
    return [(side, family, np.median(ordered[:, place], axis=0)) for place in range(usual)]


def _ordered(measures: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, float]:
    """Rows of `measures` in the order of the places they fit, and the cost; all are moved by their mean's offset."""
    places = measures[:, PLACE] - measures[:, PLACE].mean(0) + centres.mean(0)
    cost = np.square(places[None] - centres[:, None]).sum(axis=2)
    rows, columns = linear_sum_assignment(cost)
    return columns, float(cost[rows, columns].sum())


def _error(places: Places, looks: Sequence[Look]) -> float:
    """Median distance between a part's place and where the other parts of the picture say that it is."""
    off = []
    for side, _, measures, _ in looks[:40]:
        chosen, _ = places.match(side, measures)
        found = np.flatnonzero(chosen >= 0)
        points, targets = measures[chosen[found], PLACE], places.typical[found][:, PLACE]
        for left_out in range(len(found)):
            rest = np.arange(len(found)) != left_out
            if not rest.any():
                continue
            predicted = align(points[rest], targets[rest], points[left_out : left_out + 1], places.alignment)
            off.append(float(np.linalg.norm(predicted - targets[left_out])))
    return float(np.median(off)) if off else 1.0
