"""A game solved: the tidy tables of Shapley values, synergies and subsets, and what they are over seeds."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from ensemble_ad.attribution.game import ROW, Game, subset_name
from ensemble_ad.attribution.sampling import estimate
from ensemble_ad.attribution.shapley import Coalition, shapley_values, synergies

LEVEL = 0.95
"""Of the intervals over seeds."""


@dataclass(frozen=True, eq=False)
class Solution:
    """Tidy tables, one line per entry."""

    members: tuple[str, ...]
    sampled: int
    """Orders drawn for an estimate; 0 where every subset was measured."""
    shapley: pd.DataFrame
    """A line per row of the game and member: `value`, its `standard_error` (0 where exact), and what the member adds
    to nothing (`alone`) and to all others (`last`)."""
    synergy: pd.DataFrame
    """A line per row and pair of members; empty for an estimate."""
    subsets: pd.DataFrame
    """A line per row and measured subset: `value`, and how many `members` it has."""


def solve(game: Game) -> Solution:
    """Return Shapley values and, where every subset was measured, pairwise synergies."""
    return Solution(game.members, len(game.orders), _shapley(game), _synergy(game), _subsets(game))


def over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Return one line per group of lines that differ in seed and `value` only: mean, interval and count of seeds.

    `low` and `high` bound the mean at `LEVEL` by Student's t over seeds; nan for a single seed. A mean over seeds has
    the largest `standard_error` of them: all seeds share the orders that were drawn.

    >>> values = pd.DataFrame({"member": "a", "seed": [0, 1, 2], "value": [0.0, 0.1, 0.2]})
    >>> over_seeds(values)[["mean", "low", "high"]].round(3).values.tolist()
    [[0.1, -0.148, 0.348]]
    """
    measured = ("seed", "value", "standard_error", "alone", "last")
    keys = [column for column in table.columns if column not in measured]
    others = {column: (column, "mean") for column in ("alone", "last") if column in table}
    others |= {"standard_error": ("standard_error", "max")} if "standard_error" in table else {}
    found = table.groupby(keys, sort=False).agg(
        mean=("value", "mean"), sd=("value", "std"), seeds=("value", "count"), **others
    )
    reach = stats.t.ppf((1 + LEVEL) / 2, found["seeds"] - 1) * found["sd"] / np.sqrt(found["seeds"])
    found.insert(1, "low", found["mean"] - reach)
    found.insert(2, "high", found["mean"] + reach)
    return found.reset_index()


def _shapley(game: Game) -> pd.DataFrame:
    players = len(game.members)
    if game.orders:
        found = estimate(game.worth, game.orders)
        values, errors = found.values, found.standard_error
    else:
        values = shapley_values(game.worth, players)
        errors = np.zeros_like(values)
    everyone = frozenset(range(players))
    parts = [
        game.rows.assign(
            member=name,
            value=values[player],
            standard_error=errors[player],
            alone=_gain(game, player, frozenset()),
            last=_gain(game, player, everyone - {player}),
        )
        for player, name in enumerate(game.members)
    ]
    return pd.concat(parts, ignore_index=True)


def _gain(game: Game, player: int, others: Coalition) -> np.ndarray:
    """What a player adds to others; nan where an estimate did not need to know."""
    if others not in game.worth or others | {player} not in game.worth:
        return np.full(len(game.rows), np.nan)
    return game.worth[others | {player}] - game.worth[others]


def _synergy(game: Game) -> pd.DataFrame:
    columns = [*ROW, "first", "second", "value"]
    if game.orders:
        return pd.DataFrame(columns=columns)
    found = synergies(game.worth, len(game.members))
    parts = [
        game.rows.assign(first=game.members[first], second=game.members[second], value=found[first, second])
        for first, second in combinations(range(len(game.members)), 2)
    ]
    return pd.concat(parts, ignore_index=True)


def _subsets(game: Game) -> pd.DataFrame:
    return pd.concat(list(_subset_parts(game)), ignore_index=True)


def _subset_parts(game: Game) -> Iterator[pd.DataFrame]:
    for coalition, worth in game.worth.items():
        yield game.rows.assign(subset=subset_name(game.members, coalition), members=len(coalition), value=worth)
