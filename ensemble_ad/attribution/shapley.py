"""Shapley values and pairwise synergies of a game whose every coalition has been played.

A game gives each coalition of M players (here: a subset of an ensemble's members) a worth. Worths are arrays of one
shape, so that many games - one per metric, class and seed - are solved in one go.
"""

from collections.abc import Mapping
from itertools import combinations
from math import comb

import numpy as np

Coalition = frozenset[int]
"""Players, counted from 0."""
Worth = Mapping[Coalition, np.ndarray]
"""What each coalition reaches, the empty one included; arrays of one shape."""


def all_coalitions(players: int) -> list[Coalition]:
    """Return the 2^M - 1 coalitions of at least one player, small ones first.

    >>> [sorted(coalition) for coalition in all_coalitions(2)]
    [[0], [1], [0, 1]]
    """
    sizes = range(1, players + 1)
    return [frozenset(chosen) for size in sizes for chosen in combinations(range(players), size)]


def shapley_values(worth: Worth, players: int) -> np.ndarray:
    """Return [M, ...]: what each player adds to those who came before it, the mean over all M! orders of coming.

    They sum to the worth of all players minus that of none. Shapley, "A Value for n-Person Games" (1953).

    >>> unison = {frozenset(): 0.0, frozenset([0]): 0.0, frozenset([1]): 0.0, frozenset([0, 1]): 1.0}
    >>> shapley_values({who: np.array(what) for who, what in unison.items()}, 2).tolist()
    [0.5, 0.5]
    """
    return np.stack([_mean_gain(worth, player, _others(players, player)) for player in range(players)])


def synergies(worth: Worth, players: int) -> np.ndarray:
    """Return [M, M, ...]: by how much two players together add more than each by itself; 0 on the diagonal.

    Positive for players that complete one another, negative for players that can stand in for one another. The Shapley
    interaction index of pairs: Grabisch and Roubens, "An Axiomatic Approach to the Concept of Interaction among Players
    in Cooperative Games" (1999).

    >>> unison = {frozenset(): 0.0, frozenset([0]): 0.0, frozenset([1]): 0.0, frozenset([0, 1]): 1.0}
    >>> synergies({who: np.array(what) for who, what in unison.items()}, 2).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    found = np.zeros((players, players, *worth[frozenset()].shape))
    for first, second in combinations(range(players), 2):
        others = _others(players, first, second)
        together = _mean_gain(worth, first, others, given=frozenset([second]))
        found[first, second] = found[second, first] = together - _mean_gain(worth, first, others)
    return found


def _mean_gain(worth: Worth, player: int, others: Coalition, given: Coalition = frozenset()) -> np.ndarray:
    """What a player adds to `given` and those of `others` who are there: the mean over sizes, then over coalitions."""
    gains = np.zeros_like(worth[frozenset()], dtype=np.float64)
    for before in [frozenset(), *_subsets(others)]:
        weight = 1 / ((len(others) + 1) * comb(len(others), len(before)))
        gains += weight * (worth[before | given | {player}] - worth[before | given])
    return gains


def _subsets(players: Coalition) -> list[Coalition]:
    ordered = sorted(players)
    return [frozenset(ordered[index] for index in chosen) for chosen in all_coalitions(len(ordered))]


def _others(players: int, *without: int) -> Coalition:
    return frozenset(range(players)) - frozenset(without)
