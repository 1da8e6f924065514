"""What a trial is measured by: how well it finds anomalies, how long a picture takes, how much it has to keep."""

import json
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from ensemble_ad import output_stages
from ensemble_ad.batches import Together
from ensemble_ad.errors import ConfigError
from ensemble_ad.evaluation import LOCO_TYPES
from ensemble_ad.latency import milliseconds_per_picture
from ensemble_ad.outcome import evaluate_prediction
from ensemble_ad.persistence import parts_of
from ensemble_ad.prediction import Prediction, joined
from ensemble_ad.stages import Description, Stages

Measure = Literal["quality", "au_spro", "image_auroc", "logical", "structural", "ms_per_picture", "model_mb"]
Limited = Literal["ms_per_picture", "model_mb"]
LOW_IS_GOOD = ("ms_per_picture", "model_mb")

LIMIT = "0.05"
"""False positive rate up to which AU-sPRO is integrated."""


def measure(stages: Stages, description: Description, wanted: tuple[Measure, ...]) -> dict[str, float]:
    """Return the wanted measures of a detector on one class, and always what they are made of.

    `quality` is the mean of AU-sPRO@0.05 and image AUROC, each averaged over the anomaly types; `logical` and
    `structural` are that mean for one type.
    """
    found = quality(stages, description)
    if "ms_per_picture" in wanted:
        found["ms_per_picture"] = milliseconds_per_picture(stages, description) or 0.0
    if "model_mb" in wanted:
        found["model_mb"] = model_mb(stages, description)
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ConfigError(f"{missing[0]}: {stages.folder.name} has no such anomalies to judge by")
    return found


def quality(stages: Stages, description: Description) -> dict[str, float]:
    """Return what a detector reaches on the test split of `stages`, evaluated once, exactly, at original size."""
    depends_on = {
        "detector": stages.identity(description),
        "size": stages.size,
        "class": stages.folder.fingerprint(),
    }

    def evaluate(folder: Path) -> None:
        (folder / "scores.json").write_text(json.dumps(scores_of(stages, judged(stages, description))))

    folder = stages.store.stage("quality", depends_on, evaluate).folder
    scores: dict[str, float] = json.loads((folder / "scores.json").read_text())
    return scores


def judged(stages: Stages, description: Description) -> Prediction:
    """Return what a detector says about the test split; the maps of a trial are not worth keeping."""
    if description["name"] in ("standalone", "map_descriptors"):
        return stages.prediction(description, "test")
    if description["name"] == "output_ensemble":
        return joined(list(output_stages.predict(stages, description, "test")))
    detector: Any = stages.detector(description)
    together = Together([stages.features(entry, "test") for entry in description["extractors"]])
    return joined([detector.judge(features, stages.size) for features in together])


def scores_of(stages: Stages, prediction: Prediction) -> dict[str, float]:
    """Return AU-sPRO, image AUROC and their means, by type and over all types."""
    result = evaluate_prediction(stages, prediction).to_json()
    spro, auroc = result["au_spro"][LIMIT], result["image_auroc"]
    found = {}
    for kind in LOCO_TYPES:
        short = kind.removesuffix("_anomalies")
        if spro[kind] is not None and auroc[kind] is not None:
            found[f"au_spro.{short}"], found[f"image_auroc.{short}"] = spro[kind], auroc[kind]
            found[short] = fmean([spro[kind], auroc[kind]])
    if spro["mean"] is not None and auroc["mean"] is not None:
        found |= {"au_spro": spro["mean"], "image_auroc": auroc["mean"]}
        found["quality"] = fmean([spro["mean"], auroc["mean"]])
    return found


def model_mb(stages: Stages, description: Description) -> float:
    """Return the MiB of everything learned: memory banks, networks, projections; not of shared frozen networks."""
    parts = parts_of(stages.detector(description)).values()
    return sum(tensor.nbytes for part in parts for tensor in part.state().values()) / 2**20


def mean_over(classes: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each measure that every class has.

    >>> mean_over([{"quality": 0.5, "logical": 1.0}, {"quality": 0.7}])
    {'quality': 0.6}
    """
    shared = [name for name in classes[0] if all(name in one for one in classes)]
    return {name: fmean(one[name] for one in classes) for name in shared}
