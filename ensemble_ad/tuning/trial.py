"""One trial: a point of the space on every class of the study, with everything costly taken from the store."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from data_loco import open_class
from ensemble_ad.errors import ConfigError
from ensemble_ad.experiment import Experiment
from ensemble_ad.stages import Description, Stages, members_in
from ensemble_ad.store import Store
from ensemble_ad.tuning.measures import mean_over, measure, quality
from ensemble_ad.tuning.space import Point
from ensemble_ad.tuning.study_file import StudyFile
from extractors import EXTRACTORS
from extractors.runtime import Runtime, using

RUNGS = (1, 3, 9)
"""Ninths of the head's epochs after which a trial on a single class may be stopped."""

_verified: set[Path] = set()
"""Stages whose checksums this process has seen to be right."""

Report = Callable[[float, int], None]
"""Told the objective so far and a step; raises where the trial is not worth going on with."""


class RejectedError(Exception):
    """A point whose parts do not go together; found before anything was computed."""


@dataclass(frozen=True)
class Place:
    """Where trials work, on a file system that all workers share."""

    cache: str
    """Folder of the store."""
    device: str = "cpu"
    engine: str = "auto"


def evaluate(study: StudyFile, place: Place, point: Point, report: Report) -> dict[str, float]:
    """Return the measures of a point, means over the classes; `report` hears of the first one on the way.

    Raises RejectedError for a point that cannot be built, and whatever a training raises.
    """
    experiment = built(study, point)
    found = []
    for number, root in enumerate(study.data):
        with opened(study, place, root, experiment) as stages:
            if study.pruner != "none" and len(study.data) == 1:
                _climb(study, stages, experiment.detector, report)
            found.append(measure(stages, experiment.detector, study.measures))
        if len(study.data) > 1:
            latest = found[-1] if study.pruner == "wilcoxon" else mean_over(found)
            report(latest[study.optimise[0]], number + 1)
    return mean_over(found)


def shared_parts(description: Description) -> list[Description]:
    """Return what trials with this detector share: extractors whose features are fused, methods whose maps are."""
    if members := members_in(description):
        return [part for member in members for part in shared_parts(member)]
    return list(description["extractors"]) if description["name"] == "feature_ensemble" else [description]


def prepare(study: StudyFile, place: Place, root: str, part: Description) -> None:
    """Make one shared part ready on one class, so that trials only read it; what a worker is given."""
    with opened(study, place, root, study.space.experiment(study.space.default())) as stages:
        if part["name"] in EXTRACTORS:
            for split in ("train", "test"):
                stages.features(part, split)
        else:
            for split in ("validation", "test"):
                stages.prediction(part, split)


def judged_on(study: StudyFile, place: Place, root: str) -> dict[str, int]:
    """Return how many pictures of each kind trials are judged on in one class."""
    with opened(study, place, root, study.space.experiment(study.space.default())) as stages:
        return dict(Counter(sample.kind for sample in stages.folder.test))


def quality_on_test(study: StudyFile, place: Place, point: Point) -> dict[str, float]:
    """Return what a finished trial reaches on the test split; called when the study is over."""
    experiment = study.space.experiment(point)
    found = []
    for root in study.data:
        with opened(replace(study, objective="oracle"), place, root, experiment) as stages:
            found.append(quality(stages, experiment.detector))
    return mean_over(found)


@contextmanager
def opened(study: StudyFile, place: Place, root: str, experiment: Experiment) -> Iterator[Stages]:
    """Yield the stages of a class whose test split is what the study judges by."""
    with using(Runtime(place.device, place.engine, Path(place.cache) / "backbone")):
        stages = Stages(open_class(Path(root)), experiment.size, Store(Path(place.cache), verified=_verified))
        if study.objective == "proxy":
            stages = replace(stages, folder=stages.synthetic(**vars(study.proxy)))
        yield stages


def built(study: StudyFile, point: Point) -> Experiment:
    """Return the experiment at a point; raises RejectedError where its parts do not go together."""
    try:
        return study.space.experiment(point)
    except ConfigError as error:
        raise RejectedError(str(error)) from error


def _climb(study: StudyFile, stages: Stages, detector: Description, report: Report) -> None:
    """Report what heads reach that train for a part of the epochs only."""
    if "discriminator" not in detector:
        return
    head = detector["discriminator"]
    for ninths in RUNGS[:-1]:
        epochs = math.ceil(head["epochs"] * ninths / RUNGS[-1])
        short = {**detector, "discriminator": {**head, "epochs": epochs}}
        report(measure(stages, short, study.optimise[:1])[study.optimise[0]], ninths)
