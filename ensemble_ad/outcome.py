"""Predictions -> the numbers of a class, kept in the store."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from torch import Tensor

from data_loco import Sample
from ensemble_ad.comparison.contributions import FILE_NAME, FORMAT, write_contributions
from ensemble_ad.evaluation import Evaluation, evaluate_class
from ensemble_ad.prediction import Prediction
from ensemble_ad.stages import Stages

Curve = tuple[np.ndarray, np.ndarray]
"""False positive rates and mean sPRO, both rising."""


@dataclass(frozen=True)
class Outcome:
    """What one detector reached on one class."""

    result: dict[str, Any]
    """The JSON schema of `ensemble-ad evaluate --json`."""
    curves: Mapping[str, Curve]
    """By anomaly type."""


def outcome(stages: Stages, description: Mapping[str, Any], prediction: Prediction) -> Outcome:
    """Evaluate the prediction of the test split, once: at the original picture size, as saturation areas demand."""

    def evaluate(folder: Path) -> None:
        evaluation = evaluate_prediction(stages, prediction)
        (folder / "result.json").write_text(json.dumps(evaluation.to_json(), indent=2))
        curves: dict[str, Any] = {}
        for kind, level in evaluation.levels.items():
            curves[f"{kind}|fpr"], curves[f"{kind}|spro"] = level.curve.fpr, level.curve.spro
        np.savez_compressed(folder / "curves.npz", **curves)

    folder = stages.store.stage("evaluate", _depends_on(stages, description), evaluate, "test").folder
    with np.load(folder / "curves.npz", allow_pickle=False) as saved:
        kinds = {name.rpartition("|")[0] for name in saved}
        curves = {kind: (saved[f"{kind}|fpr"], saved[f"{kind}|spro"]) for kind in sorted(kinds)}
    return Outcome(json.loads((folder / "result.json").read_text()), curves)


def contributions(stages: Stages, description: Mapping[str, Any], prediction: Prediction) -> Path:
    """Return the file with what each test picture contributes to the pixel metrics, written once."""

    def write(folder: Path) -> None:
        write_contributions(
            folder / FILE_NAME,
            stages.folder,
            _original_maps(stages, prediction),
            lambda done, of: stages.progress.update("contributions", done, of),
        )

    depends_on = _depends_on(stages, description) | {"format": FORMAT}
    return stages.store.stage("contributions", depends_on, write, "test").folder / FILE_NAME


def evaluate_prediction(stages: Stages, prediction: Prediction) -> Evaluation:
    """Every metric of a prediction of the test split."""
    names = [f"{sample.kind}/{sample.id}" for sample in stages.folder.test]
    return evaluate_class(
        stages.folder,
        _original_maps(stages, prediction),
        dict(zip(names, prediction.scores.tolist())),
        lambda done, of: stages.progress.update("metrics", done, of),
    )


def _depends_on(stages: Stages, description: Mapping[str, Any]) -> dict[str, Any]:
    return {"detector": stages.identity(description), "size": stages.size, "class": stages.folder.fingerprint()}


def _original_maps(stages: Stages, prediction: Prediction) -> Callable[[Sample], np.ndarray]:
    """What gives a test picture's map [H, W] at its original size."""
    place = {(sample.kind, sample.id): index for index, sample in enumerate(stages.folder.test)}
    return lambda sample: at_size(prediction.maps[place[sample.kind, sample.id]], sample.shape())


def at_size(anomaly_map: Tensor, size: tuple[int, int]) -> np.ndarray:
    """`[h, w]` -> float32 `[H, W]`, bilinear."""
    return cv2.resize(anomaly_map.numpy(), (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
