"""One experiment on one class: fit, predict, evaluate, and a folder that says everything about it."""

import errno
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile
import torch
import yaml

from data_loco import ClassFolder, DataError, check_class
from data_loco.loading import Pictures
from ensemble_ad.environment import environment, peak_memory_mb
from ensemble_ad.errors import StoreError
from ensemble_ad.experiment import Experiment
from ensemble_ad.outcome import at_size, outcome
from ensemble_ad.persistence import Saved, save_detector
from ensemble_ad.prediction import Prediction
from ensemble_ad.report import normal_scale
from ensemble_ad.run_report import report_of
from ensemble_ad.stages import Stages
from ensemble_ad.store import as_store_error, key_of
from ensemble_ad.verdict import threshold_of
from ensemble_ad.whole import adding_to, replacing
from extractors import recall
from extractors.runtime import runtime, using

LATENCY_PICTURES = 24
"""Pictures timed for the milliseconds per picture."""
LATENCY_PASSES = 4
"""How often they are timed; the first pass also warms up."""
MARKER = "experiment.yaml"
"""A folder with this file is a run and may be replaced by another one."""


@dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: Path
    result: dict[str, Any]
    """result.json."""
    reused: bool
    """Whether every stage lay there already."""


def refuse_errors(root: Path) -> tuple[str, ...]:
    """Raise DataError with the first findings when a class folder has errors; return its warnings."""
    report = check_class(root, quick=True)
    if report.errors:
        shown = "\n".join(f"  {finding.path}: {finding.reason}; {finding.cure}" for finding in report.errors[:5])
        more = f"\n  and {len(report.errors) - 5} more" if len(report.errors) > 5 else ""
        raise DataError(
            root, f"has {len(report.errors)} errors:\n{shown}{more}\n", f"see `ensemble-ad data check {root}`"
        )
    return tuple(f"{finding.path.name}: {finding.reason}" for finding in report.warnings) + report.notes


def default_out(experiment: Experiment, folder: ClassFolder, base: Path) -> Path:
    """Return a run folder's name: class, detector, and a hash of the experiment."""
    detector = experiment.detector
    members = [detector["method"]] if "method" in detector else detector["extractors"]
    names = "+".join(member["name"] for member in members)
    block = f"-{detector['combiner']['name']}" if "combiner" in detector else ""
    digest = key_of({"experiment": experiment.to_yaml()})[:8]
    return base / folder.name / f"{names}{block}-{Path(experiment.preset).stem}-seed{experiment.seed}-{digest}"


def run(stages: Stages, experiment: Experiment, out: Path, command: str, notes: tuple[str, ...] = ()) -> Run:
    """Do what is not done yet, and write the run folder `out`, whole or not at all."""
    refuse_foreign(out)
    refuse_unwritable(out)
    description = experiment.detector
    validation = stages.prediction(description, "validation")
    prediction = stages.prediction(description, "test")
    threshold = threshold_of(validation.scores, experiment.quantile)
    reached = outcome(stages, description, prediction)
    result = reached.result | cost_of(stages, experiment) | {"threshold": threshold, "notes": list(notes)}
    report = report_of(stages, experiment, validation, prediction, replace(reached, result=result), command)
    with replacing(out) as folder:
        _write(folder, stages, experiment, prediction, result, normal_scale(validation.maps.numpy()))
        report(folder / "report.html")
        refuse_foreign(out)  # it may have come meanwhile
    return Run(out, result, reused=all(entry.reused for _, entry in stages.store.log))


def refuse_foreign(out: Path) -> None:
    """Raise StoreError when `out` exists and is not a run that may be replaced."""
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / MARKER).exists())):
        raise StoreError(f"{out}: exists and is not a run folder; name another one with --out")


def refuse_unwritable(out: Path) -> None:
    """Raise StoreError before anything is computed when the run folder `out` could not be written in the end."""
    nearest = next(place for place in (out, *out.resolve().parents) if place.exists())
    if not os.access(nearest, os.W_OK):
        raise as_store_error(out, PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(nearest)))


def cost_of(stages: Stages, experiment: Experiment) -> dict[str, Any]:
    """Return class, preset, seed, seconds of every stage (as they were when computed), milliseconds and memory."""
    stages.progress.update("time per picture", 0, 1)
    milliseconds = milliseconds_per_picture(stages, experiment.detector)
    stages.progress.update("time per picture", 1, 1)
    return {
        "class": stages.folder.name,
        "preset": experiment.preset,
        "seed": experiment.seed,
        "size": list(experiment.size),
        "seconds": {name: entry.seconds for name, entry in stages.store.log},
        "ms_per_picture": milliseconds,
        "peak_memory_mb": peak_memory_mb(),
    }


def milliseconds_per_picture(stages: Stages, description: Mapping[str, Any]) -> float | None:
    """Time reading, features and scores of some test pictures in batches, with nothing remembered; None without any.

    The quickest of a few passes: what slows one down is another process, never the method.
    """
    samples = stages.folder.test[:LATENCY_PICTURES]
    if not samples:
        return None
    detector = stages.detector(description)
    seconds = []
    with using(replace(runtime(), cache=None)):
        for _ in range(LATENCY_PASSES):
            recall.forget()
            start = time.perf_counter()
            for images in Pictures(samples, stages.size):
                detector.predict(images)
            seconds.append(time.perf_counter() - start)
    return round(min(seconds) / len(samples) * 1000, 2)


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


def _write(
    folder: Path,
    stages: Stages,
    experiment: Experiment,
    prediction: Prediction,
    result: Mapping[str, Any],
    scale: tuple[float, float],
) -> None:
    (folder / MARKER).write_text(experiment.to_yaml())
    (folder / "environment.yaml").write_text(yaml.safe_dump(environment(), sort_keys=False))
    (folder / "result.json").write_text(json.dumps(result, indent=2))
    per_image(stages, prediction, result["threshold"]).to_csv(folder / "per_image.csv", index=False)
    halves = prediction.maps.to(torch.float16).numpy()
    names = [f"{sample.kind}/{sample.id}" for sample in stages.folder.test]
    np.savez_compressed(folder / "maps.npz", **dict(zip(names, halves)))
    detector = stages.detector(experiment.detector)
    save_detector(folder / "model", Saved(experiment, detector, result["threshold"], scale))


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
