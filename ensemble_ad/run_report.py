"""A run's numbers and pictures, arranged for the HTML report."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_loco import GOOD, Sample
from data_loco.loading import Pictures, to_size
from ensemble_ad.detectors import Detector
from ensemble_ad.environment import environment
from ensemble_ad.experiment import Experiment
from ensemble_ad.explaining import can_explain, explained
from ensemble_ad.labels import label_of, title_of
from ensemble_ad.outcome import Outcome
from ensemble_ad.prediction import Prediction
from ensemble_ad.report import PictureRow, RunReport, choose_pictures, normal_scale, write_report
from ensemble_ad.stages import Stages, members_in

FUSED = "fused"
PAGE_SIZE = 512
"""Pixels of the longer side to which pictures are reduced before they go into the page."""
SENTENCES = 2
"""That the page says of a picture at most; `predict --explain` says all."""


def report_of(
    stages: Stages,
    experiment: Experiment,
    validation: Prediction,
    prediction: Prediction,
    reached: Outcome,
    command: str,
) -> Callable[[Path], Path]:
    """Return what writes the report to a path."""
    members = _member_predictions(stages, experiment.detector)
    columns = {name: test for name, (_, test) in members.items()} | {FUSED: prediction}
    scales = {name: normal_scale(normal.maps.numpy()) for name, (normal, _) in members.items()}
    scales[FUSED] = normal_scale(validation.maps.numpy())
    result = reached.result
    report = RunReport(
        title=f"{stages.folder.name}: {title_of(experiment.detector)}",
        class_name=stages.folder.name,
        result=result,
        curves=reached.curves,
        scores=_scores_by_kind(stages, prediction),
        validation_scores=validation.scores.tolist(),
        threshold=result["threshold"],
        scales=scales,
        rows=lambda: _rows(stages, experiment, prediction, columns),
        experiment_yaml=experiment.to_yaml(),
        environment=environment(),
        cost=_cost(result),
        notes=[f"Preset {experiment.preset}.", *result["notes"]],
        command=command,
    )
    return lambda path: write_report(report, path)


def _member_predictions(stages: Stages, description: Mapping[str, Any]) -> dict[str, tuple[Prediction, Prediction]]:
    """Each member's own maps of validation and test, by name; nothing for a method alone."""
    alone = [{"name": "standalone", "method": entry} for entry in description.get("extractors", ())]
    members: dict[str, tuple[Prediction, Prediction]] = {}
    for number, member in enumerate(members_in(description) or alone):
        label = label_of(member)
        name = label if label not in members else f"{label} {number + 1}"
        members[name] = (stages.prediction(member, "validation"), stages.prediction(member, "test"))
    return members


def _scores_by_kind(stages: Stages, prediction: Prediction) -> dict[str, list[float]]:
    scores: dict[str, list[float]] = {}
    for sample, score in zip(stages.folder.test, prediction.scores.tolist()):
        scores.setdefault(sample.kind, []).append(score)
    return scores


def _rows(
    stages: Stages, experiment: Experiment, prediction: Prediction, columns: Mapping[str, Prediction]
) -> Iterator[PictureRow]:
    test = stages.folder.test
    explainer = stages.detector(experiment.detector) if can_explain(experiment.detector) else None
    table = pd.DataFrame(
        {
            "kind": [sample.kind for sample in test],
            "score": prediction.scores.tolist(),
            "defects": [tuple(defect.name for defect in sample.defects()) for sample in test],
        }
    )
    for position in choose_pictures(table):
        sample = test[position]
        size = _page_size(sample.shape())
        masks = [defect.mask for defect in sample.defects()] if sample.kind != GOOD else []
        truth = np.logical_or.reduce(masks) if masks else np.zeros(sample.shape(), bool)
        yield PictureRow(
            id=sample.id,
            kind=sample.kind,
            defects=table["defects"][position],
            score=float(prediction.scores[position]),
            image=_eight_bit(to_size(sample.image(), size)),
            truth=to_size(truth.astype(np.uint8) * 255, size) > 0,
            maps={name: column.maps[position].numpy() for name, column in columns.items()},
            explanation=_explanation(explainer, sample, stages.size),
        )


def _explanation(explainer: Detector | None, sample: Sample, size: tuple[int, int]) -> tuple[str, ...]:
    if explainer is None:
        return ()
    return tuple(explained(explainer, next(iter(Pictures([sample], size))))[0][:SENTENCES])


def _page_size(shape: tuple[int, int]) -> tuple[int, int]:
    shrink = min(1.0, PAGE_SIZE / max(shape))
    return max(1, round(shape[0] * shrink)), max(1, round(shape[1] * shrink))


def _eight_bit(image: np.ndarray) -> np.ndarray:
    return (image >> 8).astype(np.uint8) if image.dtype == np.uint16 else image


def _cost(result: Mapping[str, Any]) -> dict[str, float]:
    cost = {f"{name} [s]": seconds for name, seconds in result["seconds"].items()}
    if result["ms_per_picture"] is not None:
        cost["picture to verdict, in batches of 8 [ms]"] = result["ms_per_picture"]
    return cost | {"peak memory [MiB]": result["peak_memory_mb"]}
