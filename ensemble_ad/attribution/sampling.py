"""Shapley values from some orders of coming instead of all M!, for games that are too large to play in full.

Castro, Gómez and Tejada, "Polynomial calculation of the Shapley value based on sampling" (2009); each order is also
walked backwards, which cancels much of the chance: Mitchell et al., "Sampling Permutations for Shapley Value
Estimation" (JMLR 2022).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ensemble_ad.attribution.shapley import Coalition, Worth

Order = tuple[int, ...]
"""All players, in the order in which they come."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """Shapley values with what chance may have done to them."""

    values: np.ndarray
    """[M, ...]; they sum to the worth of all players minus that of none, as exact ones do."""
    standard_error: np.ndarray
    """[M, ...] of the mean over the orders drawn; nan for a single one."""


def draw_orders(players: int, count: int, seed: int) -> list[Order]:
    """Draw orders uniformly, with replacement.

    >>> [sorted(order) for order in draw_orders(3, 2, seed=0)]
    [[0, 1, 2], [0, 1, 2]]
    """
    random = np.random.default_rng(seed)
    return [tuple(random.permutation(players).tolist()) for _ in range(count)]


def visited(orders: Sequence[Order]) -> list[Coalition]:
    """Return the coalitions of at least one player that `estimate` needs, small ones first.

    >>> [sorted(coalition) for coalition in visited([(1, 0, 2)])]
    [[1], [2], [0, 1], [0, 2], [0, 1, 2]]
    """
    walks = [walk for order in orders for walk in (order, order[::-1])]
    found = {frozenset(walk[:size]) for walk in walks for size in range(1, len(walk) + 1)}
    return sorted(found, key=lambda coalition: (len(coalition), sorted(coalition)))


def estimate(worth: Worth, orders: Sequence[Order]) -> Estimate:
    """Return the mean gain of each player over `orders`, each walked forwards and backwards."""
    gains = np.stack([(_gains(worth, order) + _gains(worth, order[::-1])) / 2 for order in orders])
    if len(orders) == 1:
        return Estimate(gains[0], np.full_like(gains[0], np.nan))
    return Estimate(gains.mean(axis=0), gains.std(axis=0, ddof=1) / np.sqrt(len(orders)))


def _gains(worth: Worth, order: Order) -> np.ndarray:
    """[M, ...]: what each player adds when it comes."""
    reached = np.stack([worth[frozenset(order[:size])] for size in range(len(order) + 1)])
    gains = np.empty_like(reached[1:], dtype=np.float64)
    gains[list(order)] = np.diff(reached, axis=0)
    return gains
