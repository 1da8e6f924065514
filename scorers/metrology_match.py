"""Which of a picture's parts is at which place, what ran into something larger there, and what is in pieces."""

from typing import NamedTuple

import numpy as np

from scorers.metrology_bulk import axes_of, filled, much_larger
from scorers.metrology_families import TWO
from scorers.metrology_look import A_PIECE, Look
from scorers.metrology_parts import AREA, PLACE
from scorers.metrology_places import COMMON, Places

PIECE = 1.4
"""Log of how much larger than a part that is at no place must be what lies there in other pictures, for it to be a
piece of that: four times as large."""


class Match(NamedTuple):
    """Which parts of a picture are at which places."""

    chosen: np.ndarray
    """int [S]: the part at each place, -1 for none."""
    aligned: np.ndarray
    """[R, 2]: places of the parts once the picture is aligned."""
    covered: np.ndarray
    """bool [S]: what belongs there is part of something larger, such as two parts that touch, or in pieces."""

    @property
    def empty(self) -> np.ndarray:
        """Bool [S]: nothing is at the place."""
        return (self.chosen < 0) & ~self.covered

    @property
    def loose(self) -> np.ndarray:
        """Bool [R]: the part is at no place."""
        return ~np.isin(np.arange(len(self.aligned)), self.chosen)


def matched(look: Look, places: Places) -> Match:
    """Return which of a picture's parts are at which of the places."""
    chosen, aligned = places.match(look.side, look.measures)
    in_pieces = _in_pieces(look, chosen, places)
    chosen = np.where(in_pieces, -1, chosen)
    gone, covered = np.flatnonzero(chosen < 0), in_pieces.copy()
    where = located(look, chosen, places, gone)
    covered[gone] |= much_larger(look.bulk[None], places.side[gone], places.typical[gone], where, TWO)[0]
    return Match(chosen, aligned, covered)


def _in_pieces(look: Look, chosen: np.ndarray, places: Places) -> np.ndarray:
    """Bool [S]: no part or a small one is at the place, but all that belongs there is covered by parts."""
    found = chosen >= 0
    small = ~found
    small[found] = look.measures[chosen[found], AREA] < places.typical[found, AREA] - TWO
    axes = axes_of(places.typical)
    points = places.located(chosen, look.measures, axes.reshape(-1, 2)).reshape(axes.shape)
    return small & filled(look.bulk, places.side, points)


def located(look: Look, chosen: np.ndarray, places: Places, some: np.ndarray) -> np.ndarray:
    """Where `some` of the places, int [P], are in a picture: [P, 2], (y, x) as shares of the longer side."""
    return places.located(chosen, look.measures, places.typical[some][:, PLACE])


def wholes_of(look: Look, match: Match, bulk: np.ndarray, without: int) -> np.ndarray:
    """[R]: share of the normal pictures but `without` where a loose part would be a piece of something much larger.

    Where nothing has a place, no picture tells what belongs where in another, and nothing is a piece.

    Args:
        look: the picture.
        match: its parts and places.
        bulk: int8 [N, G, h, w] of the normal pictures, aligned.
        without: the normal picture that is left out, -1 for none.
    """
    loose, share = np.flatnonzero(match.loose & (len(match.chosen) > 0)), np.zeros(len(look.side))
    larger = much_larger(bulk, look.side[loose], look.measures[loose], match.aligned[loose], PIECE)
    if without >= 0:
        larger = np.delete(larger, without, axis=0)
    share[loose] = larger.sum(axis=0) / max(len(larger), 1)
    return share


def without_pieces(look: Look, wholes: np.ndarray) -> Look:
    """Return the picture with the parts marked that `wholes_of` takes for pieces."""
    return look._replace(family=np.where(wholes > COMMON, A_PIECE, look.family))
