"""One experiment on one class: fit, predict, evaluate, and a folder that says everything about it."""

import errno
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile
import torch
import yaml
from torch import Tensor

from data_loco import ClassFolder, DataError, check_class
from ensemble_ad.detectors import Detector
from ensemble_ad.environment import environment, peak_memory_mb
from ensemble_ad.errors import StoreError
from ensemble_ad.experiment import Experiment
from ensemble_ad.labels import slug_of
from ensemble_ad.latency import milliseconds_per_picture
from ensemble_ad.outcome import Outcome, at_size, contributions, outcome
from ensemble_ad.persistence import Saved, save_detector
from ensemble_ad.prediction import Prediction
from ensemble_ad.stages import Stages
from ensemble_ad.store import Entry, as_store_error, key_of
from ensemble_ad.verdict import rests_on, threshold_of
from ensemble_ad.whole import adding_to, replacing

MARKER = "experiment.yaml"
"""A folder with this file is a run and may be replaced by another one."""
RECORD = (MARKER, "environment.yaml", "result.json", "per_image.csv", "contributions.npz")
"""Files that a run and a cell of a survey leave alike."""


@dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: Path
    result: dict[str, Any]
    """result.json."""
    reused: bool
    """Whether every stage lay there already."""
    doubts: tuple[str, ...] = ()
    """What came to light against its numbers."""


@dataclass(frozen=True)
class Measured:
    """What a detector says about a class's pictures, and how good that is."""

    validation: Prediction
    prediction: Prediction
    """Of the test split."""
    outcome: Outcome

    @property
    def result(self) -> dict[str, Any]:
        """result.json: every metric, cost, threshold and notes."""
        return self.outcome.result


def refuse_errors(root: Path, unused: Sequence[str] = ()) -> tuple[str, ...]:
    """Raise DataError with the first findings when a class folder has errors; return its warnings.

    Errors in the folders `unused`, which the caller will not read, do not matter.
    """
    report = check_class(root, quick=True)
    errors = [
        finding for finding in report.errors if not any(finding.path.is_relative_to(root / name) for name in unused)
    ]
    if errors:
        shown = "\n".join(f"  {finding.path}: {finding.reason}; {finding.cure}" for finding in errors[:5])
        more = f"\n  and {len(errors) - 5} more" if len(errors) > 5 else ""
        raise DataError(root, f"has {len(errors)} errors:\n{shown}{more}\n", f"see `ensemble-ad data check {root}`")
    return tuple(f"{finding.path.name}: {finding.reason}" for finding in report.warnings) + report.notes


def default_out(experiment: Experiment, folder: ClassFolder, base: Path) -> Path:
    """Return a run folder's name: class, detector, and a hash of the experiment."""
    digest = key_of({"experiment": experiment.to_yaml()})[:8]
    name = f"{slug_of(experiment.detector)}-{Path(experiment.preset).stem}-seed{experiment.seed}-{digest}"
    return base / folder.name / name


def run(stages: Stages, experiment: Experiment, out: Path, command: str, notes: tuple[str, ...] = ()) -> Run:
    """Do what is not done yet, and write the run folder `out`, whole or not at all."""
    from ensemble_ad.run_report import report_of  # draws with matplotlib, which cells of a survey need not wait for

    refuse_foreign(out)
    refuse_unwritable(out)
    detector = stages.detector(experiment.detector)  # first: the cost is that of every stage asked for
    done = measure(stages, experiment, notes)
    report = report_of(stages, experiment, done.validation, done.prediction, done.outcome, command)
    with replacing(out) as folder:
        write_record(folder, stages, experiment, done)
        _write_run(folder, stages, experiment, detector, done)
        report(folder / "report.html")
        refuse_foreign(out)  # it may have come meanwhile
    doubts = tuple(done.result["notes"][len(notes) :])
    return Run(out, done.result, reused=all(entry.reused for _, entry in stages.store.log), doubts=doubts)


def measure(stages: Stages, experiment: Experiment, notes: Sequence[str] = (), *, timed: bool = True) -> Measured:
    """Predict and evaluate, doing what is not done yet; `timed` also measures the time per picture."""
    validation = stages.prediction(experiment.detector, "validation")
    prediction = stages.prediction(experiment.detector, "test")
    threshold = threshold_of(validation.scores, experiment.quantile)
    reached = outcome(stages, experiment.detector, prediction)
    cost = cost_of(stages, experiment, timed=timed)
    doubts = _doubts(stages, validation.scores, experiment.quantile)
    result = reached.result | cost | {"threshold": threshold, "notes": [*notes, *doubts]}
    return Measured(validation, prediction, replace(reached, result=result))


def _doubts(stages: Stages, scores: Tensor, quantile: float) -> list[str]:
    """What there is to say against the threshold."""
    odd = rests_on(scores, quantile)
    if odd is None:
        return []
    sample, lower = stages.folder.validation[odd], int(100 * (len(scores) - 2) / len(scores)) / 100
    return [
        f"the threshold rests on one normal validation picture, {sample.kind}/{sample.id}: its score is "
        f"{scores[odd]:.3g}, the next one's {scores.topk(2).values[1]:.3g}, and anomalies in between pass. Look at it; "
        f"with --set quantile={lower} it has no say"
    ]


def write_record(folder: Path, stages: Stages, experiment: Experiment, done: Measured) -> None:
    """Write what a run and a cell of a survey leave alike, and what comparisons and tracking read."""
    (folder / MARKER).write_text(experiment.to_yaml())
    (folder / "environment.yaml").write_text(yaml.safe_dump(environment(), sort_keys=False))
    (folder / "result.json").write_text(json.dumps(done.result, indent=2))
    per_image(stages, done.prediction, done.result["threshold"]).to_csv(folder / "per_image.csv", index=False)
    pieces = contributions(stages, experiment.detector, done.prediction)
    shutil.copyfile(pieces, folder / pieces.name)


def refuse_foreign(out: Path) -> None:
    """Raise StoreError when `out` exists and is not a run that may be replaced."""
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / MARKER).exists())):
        raise StoreError(f"{out}: exists and is not a run folder; name another one with --out")


def refuse_unwritable(out: Path) -> None:
    """Raise StoreError before anything is computed when the run folder `out` could not be written in the end."""
    nearest = next(place for place in (out, *out.resolve().parents) if place.exists())
    if not os.access(nearest, os.W_OK):
        raise as_store_error(out, PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(nearest)))


def cost_of(stages: Stages, experiment: Experiment, *, timed: bool = True) -> dict[str, Any]:
    """Return class, preset, seed, seconds and memory of the stages (as they were when computed), milliseconds."""
    entries = {entry.key: (name, entry) for name, entry in stages.store.log}
    return {
        "class": stages.folder.name,
        "preset": experiment.preset,
        "seed": experiment.seed,
        "size": list(experiment.size),
        "seconds": _seconds_by_stage(entries.values()),
        "ms_per_picture": milliseconds_per_picture(stages, experiment.detector) if timed else None,
        "peak_memory_mb": max([peak_memory_mb(), *(entry.memory_mb for _, entry in entries.values())]),
    }


def _seconds_by_stage(stages: Iterable[tuple[str, Entry]]) -> dict[str, float]:
    """Different stages of one name, such as two settings of a method, are numbered."""
    seconds: dict[str, float] = {}
    for name, entry in stages:
        same = sum(known == name or known.startswith(f"{name} #") for known in seconds)
        seconds[f"{name} #{same + 1}" if same else name] = entry.seconds
    return seconds


def export_maps(stages: Stages, prediction: Prediction, folder: Path) -> None:
    """Write the maps in MVTec's submission layout: `test/<type>/<id>.tiff`, float32, original picture size."""
    if folder.resolve() == stages.folder.root.resolve():
        raise StoreError(f"{folder}: is the class folder; its pictures could be overwritten, name another one")
    with adding_to(folder) as partial:
        for index, sample in enumerate(stages.folder.test):
            path = partial / "test" / sample.kind / f"{sample.id}.tiff"
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, at_size(prediction.maps[index], sample.shape()), compression="zlib")
            stages.progress.update("export maps", index + 1, len(stages.folder.test))


def _write_run(folder: Path, stages: Stages, experiment: Experiment, detector: Detector, done: Measured) -> None:
    from ensemble_ad.report import normal_scale

    halves = done.prediction.maps.to(torch.float16).numpy()
    names = [f"{sample.kind}/{sample.id}" for sample in stages.folder.test]
    np.savez_compressed(folder / "maps.npz", **dict(zip(names, halves)))
    scale = normal_scale(done.validation.maps.numpy())
    save_detector(folder / "model", Saved(experiment, detector, done.result["threshold"], scale))


def per_image(stages: Stages, prediction: Prediction, threshold: float) -> pd.DataFrame:
    """Return one row per test picture: type, id, score, verdict, defect kinds."""
    return pd.DataFrame(
        {
            "kind": sample.kind,
            "id": sample.id,
            "score": float(score),
            "anomalous": bool(score > threshold),
            "defects": ";".join(sorted({defect.name for defect in sample.defects()})),
        }
        for sample, score in zip(stages.folder.test, prediction.scores)
    )
