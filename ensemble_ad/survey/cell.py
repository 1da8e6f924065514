"""What a worker does: one unit of a survey, from plain values, leaving its result in the store or the cells' folder."""

import json
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from data_loco import DataError, open_class
from data_loco.loading import Pictures
from ensemble_ad.environment import forget_peak_memory
from ensemble_ad.errors import StoreError, is_expected, naming
from ensemble_ad.experiment import Experiment
from ensemble_ad.methods import METHODS
from ensemble_ad.running import RECORD, measure, write_record
from ensemble_ad.stages import Stages
from ensemble_ad.store import Store
from ensemble_ad.survey.units import Kind, Unit, parts_of
from ensemble_ad.whole import replacing
from extractors.backbone import backbone_of, sharing
from extractors.frozen_features import FrozenFeatures
from extractors.runtime import Runtime, using

SPLITS = ("train", "validation", "test")
FAILURE = "failed.json"
"""In the folder of a cell that has no record."""

_verified: set[Path] = set()
"""Stages whose checksums this process has seen to be right."""


@dataclass(frozen=True)
class Place:
    """Where a unit works, on a file system that all workers share."""

    cells: str
    """Folder of the record folders."""
    cache: str
    """Folder of the store."""
    device: str = "cpu"
    engine: str = "auto"


@dataclass(frozen=True)
class Failure:
    """Why a unit has no result."""

    reason: str
    """A sentence."""
    trace: str = ""
    """Where it happened, for a fault of the program."""


def work(unit: Unit, place: Place) -> Failure | None:
    """Do one unit; what already lies in the store is not done again.

    A fault of this unit comes back as a value. StoreError is raised: a full disk would fail every other unit, too.
    """
    runtime = Runtime(place.device, place.engine, Path(place.cache) / "backbone")
    forget_peak_memory()
    try:
        with using(runtime):
            _WORK[unit.kind](unit, _stages(unit, place), place)
    except StoreError:
        raise
    except MemoryError:
        return Failure("out of memory: try a smaller size, or fewer workers")
    except Exception as error:  # whatever it is, the other cells go on
        if is_expected(error):
            return Failure(str(error))
        return Failure(f"{type(error).__name__}: {error}", traceback.format_exc())
    return None


def finished(folder: Path) -> bool:
    """Whether the folder of a cell holds its whole record."""
    return all((folder / name).exists() for name in RECORD)


def write_failure(folder: Path, failure: Failure) -> None:
    """Say in the folder of a cell why it has no record, unless another survey got it meanwhile."""
    with _filling(folder) as partial:
        if partial is not None:
            content = {"reason": failure.reason} | ({"trace": failure.trace} if failure.trace else {})
            (partial / FAILURE).write_text(json.dumps(content, indent=2))


def read_failure(folder: Path) -> Failure | None:
    """Return why a cell failed; None for one that did not."""
    try:
        content = json.loads((folder / FAILURE).read_text())
    except (OSError, ValueError):
        return None
    return Failure(content["reason"], content.get("trace", ""))


def _frozen(unit: Unit, stages: Stages, _place: Place) -> None:
    """Let the network that some extractors share see every picture once: its maps are remembered on disk."""
    readers = list(dict.fromkeys(_frozen_features(extractor) for extractor in unit.content))
    backbones = [reader.backbone for reader in readers]
    depends_on = {"readers": unit.content, "weights": [backbone.identity for backbone in backbones]}

    def see(_folder: Path) -> None:
        with naming(backbones[0].name), sharing(backbones):
            for images in Pictures(stages.folder.samples, unit.size):
                for reader in readers:
                    reader(images)

    stages.store.stage("frozen", depends_on | {"pictures": unit.fingerprint, "size": unit.size}, see)


def _frozen_features(extractor: dict[str, Any]) -> FrozenFeatures:
    backbone = backbone_of(extractor)
    if backbone is None:
        raise ValueError(f"{extractor['name']} reads no frozen network")
    scales = getattr(METHODS[extractor["name"]], "PICTURE_SCALES", 1)
    return FrozenFeatures(backbone, extractor.get("image_scale", 1), scales)


def _fit(unit: Unit, stages: Stages, _place: Place) -> None:
    stages.method(unit.content)


def _features(unit: Unit, stages: Stages, _place: Place) -> None:
    for split in SPLITS:
        stages.features(unit.content, split)


def _predict(unit: Unit, stages: Stages, _place: Place) -> None:
    for split in ("validation", "test"):
        stages.prediction(unit.content, split)


def _record(unit: Unit, stages: Stages, place: Place) -> None:
    content = yaml.safe_load(unit.content)
    experiment = Experiment(**content | {"size": unit.size})  # resolved: needs no preset
    folder = Path(place.cells) / unit.cell
    if finished(folder):
        return
    _ask_for_all(stages, experiment.detector)
    done = measure(stages, experiment, unit.notes, timed=False)
    with _filling(folder) as partial:
        if partial is not None:
            write_record(partial, stages, experiment, done)


def _ask_for_all(stages: Stages, detector: Mapping[str, Any]) -> None:
    """Ask for every stage of a detector, so that the record names what each cost, wherever it was computed."""
    for part in parts_of(detector):
        if part["name"] == "feature_ensemble":
            for extractor, split in product(part["extractors"], SPLITS):
                stages.features(extractor, split)
        for split in SPLITS[1:]:
            stages.prediction(part, split)
        stages.detector(part)


_WORK: dict[Kind, Callable[[Unit, Stages, Place], None]] = {
    "frozen": _frozen,
    "fit": _fit,
    "features": _features,
    "predict": _predict,
    "record": _record,
}


def _stages(unit: Unit, place: Place) -> Stages:
    root = Path(unit.root)
    folder = open_class(root)
    if folder.fingerprint() != unit.fingerprint:
        raise DataError(root, "its files changed while the survey ran", "start the survey again")
    return Stages(folder, unit.size, Store(Path(place.cache), verified=_verified))


@contextmanager
def _filling(folder: Path) -> Iterator[Path | None]:
    """Yield an empty folder that takes the place of `folder`; None when another process has finished it."""
    try:
        with replacing(folder) as partial:
            if finished(folder):
                raise _FinishedError
            yield partial
    except _FinishedError:
        yield None


class _FinishedError(Exception):
    """Leaves a finished folder as it is."""
