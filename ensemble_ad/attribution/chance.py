"""What an ensemble without members reaches: every pixel and every picture gets the same score.

Each metric's own code says what that is worth: AUROC 1/2; an area under PRO or sPRO up to a false positive rate L is
L/2, since the curve is the diagonal; AU-PR is the share of defective pixels. See docs/decisions/0016-attribution.md for
why not a map of noise.
"""

import json
from pathlib import Path

import torch

from data_loco import ClassFolder
from ensemble_ad.outcome import evaluate_prediction
from ensemble_ad.prediction import Prediction
from ensemble_ad.stages import Stages
from ensemble_ad.store import Store
from ensemble_ad.survey.table import Row, metrics_of


def chance_levels(folder: ClassFolder, store: Store) -> dict[Row, float]:
    """Return every metric of a constant map over the test pictures of a class, measured once."""
    stages = Stages(folder, (1, 1), store)

    def measure(into: Path) -> None:
        nothing = Prediction(torch.zeros(len(folder.test)), torch.zeros(len(folder.test), 1, 1))
        (into / "result.json").write_text(json.dumps(evaluate_prediction(stages, nothing).to_json(), indent=2))

    entry = store.stage("chance", {"class": folder.fingerprint()}, measure, folder.name)
    return dict(metrics_of(json.loads((entry.folder / "result.json").read_text())))
