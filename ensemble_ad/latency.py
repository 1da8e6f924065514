"""Milliseconds per picture: how long a fitted detector takes on this machine, measured once."""

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from data_loco.loading import Pictures
from ensemble_ad.environment import processor
from ensemble_ad.labels import label_of
from ensemble_ad.progress import tracked
from ensemble_ad.stages import Stages
from extractors import recall
from extractors.runtime import runtime, using

PICTURES = 24
"""How many are timed."""
PASSES = 4
"""How often they are timed; the first pass also warms up."""


def milliseconds_per_picture(stages: Stages, description: Mapping[str, Any]) -> float | None:
    """Return what reading, features and scores of a test picture take, in batches; None where there are none.

    What was measured before is taken, if detector, pictures, processor, number of threads, device and engine are equal.
    """
    if not stages.folder.test:
        return None
    depends_on = {
        "detector": stages.identity(description),
        "pictures": stages.fingerprint("test"),
        "size": stages.size,
        "machine": {"processor": processor(), "threads": torch.get_num_threads()},
        "runtime": {"device": runtime().device, "engine": runtime().engine},
    }

    def write(folder: Path) -> None:
        (folder / "latency.json").write_text(json.dumps({"ms_per_picture": measured_now(stages, description)}))

    entry = stages.store.stage("latency", depends_on, write, label_of(description))
    return float(json.loads((entry.folder / "latency.json").read_text())["ms_per_picture"])


def measured_now(stages: Stages, description: Mapping[str, Any]) -> float:
    """Time some test pictures with nothing remembered.

    The quickest of a few passes: what slows one down is another process, never the method.
    """
    samples = stages.folder.test[:PICTURES]
    detector = stages.detector(description)
    seconds = []
    with using(replace(runtime(), cache=None)):
        for _ in tracked(range(PASSES), "time per picture", stages.progress, PASSES):
            recall.forget()
            start = time.perf_counter()
            for images in Pictures(samples, stages.size):
                detector.predict(images)
            seconds.append(time.perf_counter() - start)
    return round(min(seconds) / len(samples) * 1000, 2)
