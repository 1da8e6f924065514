"""What a survey would do: its cells, what is there already, how long the rest takes and how much memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_loco import open_class
from ensemble_ad.errors import is_expected
from ensemble_ad.planning import predicted_memory_mb
from ensemble_ad.stages import Stages
from ensemble_ad.store import Store
from ensemble_ad.survey.cell import finished, read_failure
from ensemble_ad.survey.forecast import Forecast
from ensemble_ad.survey.grid import Cell
from ensemble_ad.survey.run import CELLS
from ensemble_ad.survey.units import Unit, plan_of


@dataclass(frozen=True)
class Planned:
    """One cell."""

    cell: Cell
    state: str
    """`done`, `failed: reason`, or the share of its stages that is there."""
    seconds: float | None
    """What it takes beyond the cells above it; None when nothing like it was ever done."""
    memory_mb: float | None
    """The largest stage's need; None for a cell with nothing to do."""


def planned(cells: Sequence[Cell], out: Path, cache: Path, forecast: Forecast) -> Iterator[Planned]:
    """Yield what would become of each cell."""
    store, told = Store(cache), set[str]()
    for cell in cells:
        folder = out / CELLS / cell.key
        failure = cell.surveyed.fault or getattr(read_failure(folder), "reason", "")
        if finished(folder) or failure:
            yield Planned(cell, f"failed: {failure}" if failure else "done", 0.0, None)
            continue
        try:
            yield _missing(cell, cells, store, forecast, told)
        except Exception as error:
            if not is_expected(error):
                raise
            yield Planned(cell, f"will fail: {error}", None, None)


def _missing(cell: Cell, among: Sequence[Cell], store: Store, forecast: Forecast, told: set[str]) -> Planned:
    experiment = cell.setting.experiment
    stages = Stages(open_class(cell.surveyed.root), experiment.size, store)
    steps = [there for _, there in stages.plan(experiment.detector)]
    units = plan_of([cell], among).units
    left = [unit for key, unit in units.items() if key not in told and not is_there(unit, stages)]
    if all(steps):
        left = [unit for unit in left if unit.kind == "record"]
    seconds = [forecast.of(unit) for unit in left]
    told.update(units)
    known = [value for value in seconds if value is not None]
    return Planned(
        cell,
        f"{sum(steps)} of {len(steps)} stages there",
        sum(known) if known or not seconds else None,
        predicted_memory_mb(stages, experiment.detector),
    )


def is_there(unit: Unit, stages: Stages) -> bool:
    """Whether the store has all that a unit would make, as far as that can be told without doing it."""
    if unit.kind == "fit":
        return stages.plan({"name": "standalone", "method": unit.content})[0][1]
    if unit.kind == "features":
        alone = {"extractors": [unit.content], "combiner": {"name": "any"}, "discriminator": {}}
        steps = stages.plan({"name": "feature_ensemble", **alone})
        return any(there for label, there in steps if label.startswith("features"))
    return unit.kind == "predict" and stages.plan(unit.content)[-1][1]
