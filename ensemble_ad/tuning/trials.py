"""What became of the trials of a study: plain values, whoever stored them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from ensemble_ad.tuning.space import Point

State = Literal["finished", "pruned", "rejected", "failed", "killed", "running"]
"""`rejected`: could not be built; `failed`: it raised; `killed`: its process ended, it is tried again."""


@dataclass(frozen=True)
class Trial:
    """One trial."""

    number: int
    """In its study."""
    state: State
    point: Point
    measured: Mapping[str, float]
    """Measures by name, empty unless finished."""
    feasible: bool = True
    """Whether it keeps the constraints."""
    seconds: float | None = None
    reason: str = ""
    """Why it is rejected or failed."""

    @property
    def counts(self) -> bool:
        """Whether it used up some of the budget."""
        return self.state not in ("rejected", "killed")


def candidates(trials: Sequence[Trial]) -> list[Trial]:
    """Return the finished trials that keep the constraints."""
    return [trial for trial in trials if trial.state == "finished" and trial.feasible]


def best(trials: Sequence[Trial], name: str, *, low_is_good: bool = False) -> Trial | None:
    """Return the feasible trial with the best measure, the earliest of equals; None without any."""
    sign = 1 if low_is_good else -1
    return min(candidates(trials), key=lambda trial: (sign * trial.measured[name], trial.number), default=None)


def pareto(trials: Sequence[Trial], names: Sequence[str], low_is_good: Sequence[bool]) -> list[Trial]:
    """Return the feasible trials that no other one beats in every measure, best in the first measure first.

    >>> made = [Trial(n, "finished", {}, {"a": a, "b": b}) for n, (a, b) in enumerate([(1, 1), (2, 2), (3, 1), (2, 3)])]
    >>> [trial.number for trial in pareto(made, ["a", "b"], [False, True])]
    [2]
    """
    signs = [1 if low else -1 for low in low_is_good]
    costs = {
        trial.number: tuple(sign * trial.measured[name] for sign, name in zip(signs, names))
        for trial in candidates(trials)
    }
    front = [
        trial for trial in candidates(trials) if not any(_beats(cost, costs[trial.number]) for cost in costs.values())
    ]
    return sorted(front, key=lambda trial: (costs[trial.number], trial.number))


def table(trials: Sequence[Trial]) -> pd.DataFrame:
    """Return one row per trial: number, state, seconds, measures, parameters, reason."""
    rows: list[dict[str, Any]] = [
        {
            "trial": trial.number,
            "state": trial.state,
            "feasible": trial.feasible if trial.state == "finished" else None,
            "seconds": trial.seconds,
            **trial.measured,
            **trial.point,
            "reason": trial.reason,
        }
        for trial in trials
    ]
    return pd.DataFrame(rows)


def _beats(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(left <= right for left, right in zip(one, other)) and tuple(one) != tuple(other)
