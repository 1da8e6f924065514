"""What a study would do, before it does anything."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ensemble_ad.tuning.parameter import Choice, Parameter
from ensemble_ad.tuning.study_file import StudyFile
from ensemble_ad.tuning.trial import Place, opened


def planned(study: StudyFile, place: Place) -> Iterator[str]:
    """Yield lines: the budget, the space with its default, and what trials share and whether it is there already."""
    also = f", and {study.trials} at random" if study.baseline == "random" else ""
    yield f"{study.title}: {study.trials} trials by {study.sampler}{also}, judged by the {study.objective}"
    default = study.space.default()
    for parameter in study.space.parameters:
        at = default.get(parameter.key, "does not apply")
        yield f"  {parameter.key}: {_shown(parameter)}; default {at}{_condition(parameter)}"
    experiment = study.space.experiment(default)
    for root in study.data:
        steps: dict[str, bool] = {}
        with opened(replace(study, objective="oracle"), place, root, experiment) as stages:
            for point in study.space.member_points():
                steps |= dict(stages.plan(study.space.experiment(point).detector))
        for name, there in steps.items():
            if name.startswith(("fit ", "features ")) and "head" not in name:
                yield f"{'reuse' if there else 'run  '}  {Path(root).name}: {name}"


def _shown(parameter: Parameter) -> str:
    if isinstance(parameter, Choice):
        return " | ".join(parameter.values)
    step = "" if parameter.step is None else f" in steps of {parameter.step:g}"
    return f"{parameter.low:g} to {parameter.high:g}{step}{', logarithmic' if parameter.log else ''}"


def _condition(parameter: Parameter) -> str:
    return "".join(f"; where {key} is {' or '.join(labels)}" for key, labels in parameter.when.items())
