"""Predictions -> the numbers of a class, kept in the store."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from torch import Tensor

from data_loco import Sample
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
    depends_on = {
        "detector": stages.identity(description),
        "size": stages.size,
        "class": stages.folder.fingerprint(),
    }

    def evaluate(folder: Path) -> None:
        evaluation = evaluate_prediction(stages, prediction)
        (folder / "result.json").write_text(json.dumps(evaluation.to_json(), indent=2))
        curves: dict[str, Any] = {}
        for kind, level in evaluation.levels.items():
            curves[f"{kind}|fpr"], curves[f"{kind}|spro"] = level.curve.fpr, level.curve.spro
        np.savez_compressed(folder / "curves.npz", **curves)

    folder = stages.store.stage("evaluate", depends_on, evaluate, "test").folder
    with np.load(folder / "curves.npz", allow_pickle=False) as saved:
        kinds = {name.rpartition("|")[0] for name in saved}
        curves = {kind: (saved[f"{kind}|fpr"], saved[f"{kind}|spro"]) for kind in sorted(kinds)}
    return Outcome(json.loads((folder / "result.json").read_text()), curves)


def evaluate_prediction(stages: Stages, prediction: Prediction) -> Evaluation:
    """Every metric of a prediction of the test split."""
    test = stages.folder.test
    place = {(sample.kind, sample.id): index for index, sample in enumerate(test)}
    scores = {f"{sample.kind}/{sample.id}": float(prediction.scores[index]) for index, sample in enumerate(test)}

    def original_map(sample: Sample) -> np.ndarray:
        return at_size(prediction.maps[place[sample.kind, sample.id]], sample.shape())

    return evaluate_class(
        stages.folder, original_map, scores, lambda done, of: stages.progress.update("metrics", done, of)
    )


def at_size(anomaly_map: Tensor, size: tuple[int, int]) -> np.ndarray:
    """`[h, w]` -> float32 `[H, W]`, bilinear."""
    return cv2.resize(anomaly_map.numpy(), (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
