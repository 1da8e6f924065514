"""Record folders without a network: pictures in memory, maps by formula, the files that a run leaves."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import yaml

from data_loco import Defect
from ensemble_ad.comparison.contributions import FILE_NAME, write_contributions
from ensemble_ad.evaluation import evaluate_class
from ensemble_ad.metrics import GOOD, ScoredPicture

LOGICAL, STRUCTURAL = "logical_anomalies", "structural_anomalies"
SIZE = (24, 32)


@dataclass(frozen=True)
class Picture:
    """Stands for a `Sample`."""

    kind: str
    id: str
    masks: tuple[Defect, ...] = ()
    size: tuple[int, int] = SIZE

    def shape(self) -> tuple[int, int]:
        return self.size

    def defects(self) -> tuple[Defect, ...]:
        return self.masks


Maps = Callable[[Picture], np.ndarray]


def make_pictures(counts: Mapping[str, int], seed: int = 0, size: tuple[int, int] = SIZE) -> list[Picture]:
    """Anomalous ones with one or two rectangles; the second saturates at half its area."""
    random = np.random.default_rng(seed)
    made = []
    for kind, count in counts.items():
        for number in range(count):
            masks = [] if kind == GOOD else [rectangle(random, size, share) for share in (1.0, 0.5)[: 1 + number % 2]]
            made.append(Picture(kind, f"{number:03d}", tuple(masks), size))
    return made


def rectangle(random: np.random.Generator, size: tuple[int, int], share: float) -> Defect:
    mask = np.zeros(size, bool)
    height, width = (int(random.integers(2, side // 2)) for side in size)
    top, left = int(random.integers(0, size[0] - height)), int(random.integers(0, size[1] - width))
    mask[top : top + height, left : left + width] = True
    return Defect("cut", 255, mask, max(1, int(share * mask.sum())))


def noisy(strength: float, seed: int = 0) -> Maps:
    """Noise that is higher inside defects, by as much as the picture is easy: the same pictures are easy for all."""

    def scores(picture: Picture) -> np.ndarray:
        name = sum(f"{picture.kind}/{picture.id}".encode())
        easy = np.random.default_rng(name).uniform(0.3, 1.7)
        found = np.random.default_rng([seed, name]).standard_normal(picture.size, dtype=np.float32)
        for defect in picture.masks:
            found[defect.mask] += np.float32(strength * easy)
        return found

    return scores


def as_class(pictures: Sequence[Picture]) -> Any:
    return SimpleNamespace(test=tuple(pictures))


def scored(pictures: Sequence[Picture], maps: Maps) -> list[ScoredPicture]:
    return [ScoredPicture(picture.kind, picture.id, maps(picture), picture.masks) for picture in pictures]


def write_record(
    folder: Path,
    pictures: Sequence[Picture],
    maps: Maps,
    class_name: str = "parts",
    detector: str | Mapping[str, Any] = "patchcore",
    seed: int = 0,
) -> Path:
    """The image score is the mean of the map's ten highest scores."""
    folder.mkdir(parents=True)
    method = {"name": detector, "seed": seed} if isinstance(detector, str) else {**detector, "seed": seed}
    experiment = {"preset": "cpu", "size": [64, 64], "seed": seed, "quantile": 0.99}
    experiment["detector"] = {"name": "standalone", "method": method}
    scores = {f"{one.kind}/{one.id}": float(np.sort(maps(one), axis=None)[-10:].mean()) for one in pictures}
    result = evaluate_class(as_class(pictures), maps, scores).to_json()  # type: ignore[arg-type]
    (folder / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    (folder / "result.json").write_text(json.dumps(result | {"class": class_name, "seed": seed}))
    table = pd.DataFrame({"kind": [one.kind for one in pictures], "id": [one.id for one in pictures]})
    table.assign(score=list(scores.values()), anomalous=False, defects="").to_csv(folder / "per_image.csv", index=False)
    write_contributions(folder / FILE_NAME, as_class(pictures), maps)  # type: ignore[arg-type]
    return folder
