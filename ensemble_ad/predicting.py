"""Scores, verdicts and pictures for new photographs, one batch in memory at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from data_loco import DataError
from data_loco.loading import Pictures, read_picture, to_size
from data_loco.picture_files import is_picture, pictures_in
from data_loco.sample import Sample
from ensemble_ad.errors import ConfigError
from ensemble_ad.explaining import explained, explaining
from ensemble_ad.outcome import at_size
from ensemble_ad.persistence import Saved, load_detector
from ensemble_ad.progress import Progress
from ensemble_ad.report import heat_map, overlay
from ensemble_ad.whole import adding_to


def find_pictures(paths: Sequence[Path]) -> list[Path]:
    """Return the pictures among `paths` and in the folders among them; raises DataError where there is none."""
    found: list[Path] = []
    for path in paths:
        inside = list(pictures_in(path)) if path.is_dir() else [path]
        if not inside:
            raise DataError(path, "holds no picture (PNG, JPEG, TIFF, BMP)", "name pictures or a folder of pictures")
        if not path.is_dir() and (not path.is_file() or not is_picture(path)):
            raise DataError(path, "is not a picture file (PNG, JPEG, TIFF, BMP)", "check the path")
        found += inside
    return found


class Judged(NamedTuple):
    """What a detector says about one picture."""

    sample: Sample
    score: float
    """Higher is more anomalous."""
    anomalous: bool
    """Whether the score is above the threshold."""
    scores: np.ndarray
    """Anomaly map, float32 [H, W] at the picture's own size."""
    explanation: tuple[str, ...] = ()
    """Sentences, where they were asked for and a member has any."""


def judge(saved: Saved, samples: Sequence[Sample], *, explain: bool = False) -> Iterator[Judged]:
    """Yield scores, verdicts and maps of pictures in order, one batch in memory at a time."""
    rest = iter(samples)
    for images in Pictures(samples, saved.experiment.size):
        prediction = saved.detector.predict(images)
        said = explained(saved.detector, images) if explain else [[] for _ in images]
        for score, scores, sentences, sample in zip(prediction.scores.tolist(), prediction.maps, said, rest):
            anomalous = score > saved.threshold
            yield Judged(sample, score, anomalous, at_size(scores, sample.shape()), tuple(sentences))


def predict_pictures(
    run: Path, paths: Sequence[Path], out: Path, progress: Progress, *, explain: bool = False
) -> pd.DataFrame:
    """Write `scores.csv`, and a heat map and an overlay per picture, into `out`; return the table.

    Maps are drawn on one scale for all pictures, that of the run's validation pictures. With `explain` the table has a
    column `explanation`; raises ConfigError where no member of the run's detector can explain.
    """
    model = run / "model" if (run / "model").is_dir() else run
    saved = load_detector(model)
    if explain and not explaining(saved.detector):
        raise ConfigError(f"--explain: no member of {run} can say why; metrology can")
    samples = [Sample(path, "test", "unknown", path.stem) for path in paths]
    rows: list[dict[str, str | float | bool]] = []
    with adding_to(out) as folder:
        for picture in judge(saved, samples, explain=explain):
            path = picture.sample.path
            _draw(path, picture.scores, saved.scale, folder / f"{len(rows):05d}_{picture.sample.id}")
            rows.append({"picture": str(path), "score": picture.score, "anomalous": picture.anomalous})
            if explain:
                rows[-1]["explanation"] = "; ".join(picture.explanation)
            progress.update("predict", len(rows), len(samples))
        table = pd.DataFrame(rows)
        table.to_csv(folder / "scores.csv", index=False)
    return table


def _draw(path: Path, scores: np.ndarray, scale: tuple[float, float], stem: Path) -> None:
    image = read_picture(path)
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    _write(stem.with_name(f"{stem.name}_heat.png"), heat_map(scores, *scale))
    _write(stem.with_name(f"{stem.name}_overlay.jpg"), overlay(to_size(image, scores.shape), scores, *scale))


def _write(path: Path, image: np.ndarray) -> None:
    encoded = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
    path.write_bytes(encoded.tobytes())
