"""What an ensemble without members reaches: every pixel and every picture gets the same score.

Each metric's own code says what that is worth: AUROC 1/2; an area under PRO or sPRO up to a false positive rate L is
L/2, since the curve is the diagonal; AU-PR is the share of defective pixels. See docs/decisions/0016-attribution.md for
why not a map of noise.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from data_loco import ClassFolder
from ensemble_ad.console import headline
from ensemble_ad.outcome import evaluate_prediction
from ensemble_ad.prediction import Prediction
from ensemble_ad.stages import Stages
from ensemble_ad.store import Store

Row = tuple[str, str, str]
"""(metric, anomaly type, defect kind or nothing)."""


def chance_levels(folder: ClassFolder, store: Store) -> dict[Row, float]:
    """Return every metric of a constant map over the test pictures of a class, measured once."""
    stages = Stages(folder, (1, 1), store)

    def measure(into: Path) -> None:
        nothing = Prediction(torch.zeros(len(folder.test)), torch.zeros(len(folder.test), 1, 1))
        (into / "result.json").write_text(json.dumps(evaluate_prediction(stages, nothing).to_json(), indent=2))

    entry = store.stage("chance", {"class": folder.fingerprint()}, measure, folder.name)
    return dict(_rows(json.loads((entry.folder / "result.json").read_text())))


def _rows(result: Mapping[str, Any]) -> Iterator[tuple[Row, float]]:
    for metric, by_type in [*headline(result), ("F1-max", result["f1_max"])]:
        yield from (((metric, kind, ""), value) for kind, value in by_type.items() if value is not None)
    for name, defect in result["per_defect"].items():
        by_metric = {"image AUROC": defect["image_auroc"]}
        by_metric |= {f"AU-sPRO@{limit}": value for limit, value in defect["au_spro"].items()}
        yield from (((metric, defect["type"], name), value) for metric, value in by_metric.items() if value is not None)
