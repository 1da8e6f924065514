"""From a plan to tables: have the subsets measured, solve the game, write what was found."""

from concurrent.futures import Executor
from pathlib import Path

from ensemble_ad.attribution.game import Plan, game_of
from ensemble_ad.attribution.report import PAGE, write_attribution
from ensemble_ad.attribution.solution import Solution, solve
from ensemble_ad.errors import StoreError
from ensemble_ad.store import Store
from ensemble_ad.survey.cell import Place
from ensemble_ad.survey.loop import Watcher
from ensemble_ad.survey.run import Recorded, run_survey

SUBSETS = "subsets"
"""In an attribution's folder: the survey of every subset."""


def attribute_members(
    plan: Plan, out: Path, place: Place, executor: Executor, watcher: Watcher, recorded: Recorded | None = None
) -> Solution:
    """Measure the subsets that are not measured yet, and write tables, page and figures into `out`.

    `place.cells` is the folder `cells` of the survey `out`/subsets. May be killed and called again.

    Raises:
        ConfigError: a subset could not be measured; the others are kept.
        StoreError: `out` is a folder of something else, or cannot be written.
    """
    refuse_foreign(out)
    survey = run_survey(plan.cells, out / SUBSETS, place, executor, watcher, recorded, retry_failed=True)
    solution = solve(game_of(plan, survey.table, Store(Path(place.cache))))
    write_attribution(solution, out)
    return solution


def refuse_foreign(out: Path) -> None:
    """Raise StoreError when `out` exists and is not the folder of an attribution."""
    known = out.is_dir() and (not any(out.iterdir()) or (out / PAGE).exists() or (out / SUBSETS).exists())
    if out.exists() and not known:
        raise StoreError(f"{out}: exists and is not an attribution's folder; name another one with --out")
