"""The game whose players are the members of an ensemble: a subset's worth is what the same ensemble of it reaches.

Every subset is a cell of a survey, so that extractors and features are shared, finished subsets are kept, and any
number of workers can do them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_loco import open_class
from ensemble_ad.attribution.chance import chance_levels
from ensemble_ad.attribution.members import member_names, members_of, restricted
from ensemble_ad.attribution.sampling import Order, draw_orders, visited
from ensemble_ad.attribution.shapley import Coalition, Worth, all_coalitions
from ensemble_ad.errors import ConfigError
from ensemble_ad.experiment import Experiment
from ensemble_ad.store import Store
from ensemble_ad.survey.classes import SurveyedClass
from ensemble_ad.survey.grid import Cell, Setting

EXACT_UP_TO = 6
"""Members up to which all 2^M - 1 subsets are measured."""
ROW = ["class", "seed", "metric", "type", "defect_kind", "oracle"]
"""What makes one game: a metric of one class, one seed, one anomaly type and one defect kind (or none)."""


@dataclass(frozen=True)
class Plan:
    """Which subsets of which ensemble are measured."""

    members: tuple[str, ...]
    coalitions: tuple[Coalition, ...]
    orders: tuple[Order, ...]
    """Drawn for an estimate; empty where all subsets are measured."""
    cells: tuple[Cell, ...]
    """Each subset on each class with each seed."""

    def summary(self) -> str:
        """What is measured, in a sentence."""
        kind = f"those met by {len(self.orders)} orders, there and back" if self.orders else "all there are"
        return f"{len(self.members)} members ({', '.join(self.members)}), {len(self.coalitions)} subsets: {kind}"


@dataclass(frozen=True, eq=False)
class Game:
    """Every measured subset's worth, for many metrics at once."""

    members: tuple[str, ...]
    orders: tuple[Order, ...]
    """Drawn for an estimate; empty where all subsets were measured."""
    rows: pd.DataFrame
    """[K] what each entry of a worth belongs to: class, seed, metric, type, defect_kind, oracle."""
    worth: Worth
    """[K] by coalition, the empty one included."""


def plan_game(experiments: Sequence[Experiment], classes: Sequence[SurveyedClass], permutations: int) -> Plan:
    """Return the subsets of an ensemble's members, as cells of a survey.

    Args:
        experiments: the same ensemble with different seeds.
        classes: on which it is measured.
        permutations: orders drawn where there are more than `EXACT_UP_TO` members.

    Raises:
        ConfigError: fewer than two members, two of them equal, or two equal seeds.
    """
    seeds = [experiment.seed for experiment in experiments]
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"attribute: expected different seeds, got {', '.join(map(str, seeds))}")
    detector = experiments[0].detector
    players = len(members_of(detector))
    orders = draw_orders(players, permutations, seed=0) if players > EXACT_UP_TO else []
    coalitions = visited(orders) if orders else all_coalitions(players)
    names = member_names(detector)
    cells = [
        Cell(surveyed, Setting(subset_name(names, coalition), _of_some(experiment, coalition), oracle=False))
        for surveyed in classes
        for experiment in experiments
        for coalition in coalitions
    ]
    return Plan(names, tuple(coalitions), tuple(orders), tuple(cells))


def subset_name(members: Sequence[str], coalition: Coalition) -> str:
    """Return what a subset is called in tables.

    >>> subset_name(["a", "b", "c"], frozenset([2, 0]))
    'a + c'
    """
    return " + ".join(members[index] for index in sorted(coalition)) or "(chance)"


def game_of(plan: Plan, table: pd.DataFrame, store: Store) -> Game:
    """Return the game from the tidy table of the survey of all its subsets.

    Raises ConfigError with the first reasons where a subset could not be measured.
    """
    if len(failed := table[table["failure"] != ""]):
        reasons = [f"{row['class']}, {row['detector']}, seed {row['seed']}: {row['failure']}" for row in _first(failed)]
        raise ConfigError(f"{len(failed)} subsets could not be measured: {'; '.join(reasons)}")
    wide = table.pivot(index=ROW, columns="detector", values="value")
    wide = wide.loc[pd.MultiIndex.from_frame(table[ROW].drop_duplicates())]  # the table's order: a pivot sorts
    worth = {coalition: wide[subset_name(plan.members, coalition)].to_numpy() for coalition in plan.coalitions}
    rows = wide.index.to_frame(index=False)
    roots = {cell.surveyed.name: cell.surveyed.root for cell in plan.cells}
    return Game(plan.members, plan.orders, rows, {frozenset(): _chance(rows, roots, store), **worth})


def _of_some(experiment: Experiment, coalition: Coalition) -> Experiment:
    return replace(experiment, detector=restricted(experiment.detector, coalition))


def _chance(rows: pd.DataFrame, roots: Mapping[str, Path], store: Store) -> np.ndarray:
    levels = {name: chance_levels(open_class(root), store) for name, root in roots.items()}
    keys = zip(rows["class"], rows["metric"], rows["type"], rows["defect_kind"])
    return np.array([levels[name][metric, kind, defect] for name, metric, kind, defect in keys])


def _first(table: pd.DataFrame, count: int = 3) -> list[dict[str, Any]]:
    return table.head(count).to_dict("records")  # type: ignore[return-value]
