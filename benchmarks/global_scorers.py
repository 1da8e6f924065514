"""What do the global scorers add to a picture that PatchCore has seen already?

Question: how many milliseconds does each add, once the frozen network's layers are there, and all seven together?
Command:  python benchmarks/global_scorers.py [--data CLASS_DIR]
Cost:     two minutes on two cores, most of it rendering pictures (without --data) and fitting
Expected: about twice what PatchCore takes, 25 to 42 ms of a picture on two cores, half of it metrology, and half a
          minute of fitting on 160 pictures

Preset `cpu`, 256 x 256 pixels. Each is fitted and asked by itself, in turns; medians count. The shared pass of
the frozen network belongs to PatchCore here: it has read the pictures before.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does

import torch
from torch import Tensor

from data_loco import open_class
from data_loco.loading import Pictures
from data_loco.metal_parts import Counts, render_class
from ensemble_ad.detectors import extractors_in, sharing_of
from ensemble_ad.experiment import load_experiment
from ensemble_ad.schema import build_detector
from extractors import recall
from scorers import SCORERS

RENDERED = 80
"""Training pictures of the flat connector that stands in for a class."""
BATCH = 8


def detector_of(name: str) -> Any:
    alone = {"name": "standalone", "method": name}
    described = {"name": name, "detector": {"name": "standalone", "method": "patchcore"}}
    chosen = described if name == "map_descriptors" else alone
    return build_detector(load_experiment({"preset": "cpu", "detector": chosen}).detector)


@contextmanager
def pictures(data: Path | None, batch: int) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """Batches of normal training pictures, and of normal pictures that nobody learned from."""
    with tempfile.TemporaryDirectory() as folder:
        counts = Counts(train=RENDERED, validation=3 * batch, good=0, logical=0, structural=0)
        part = open_class(data or render_class("flat_connector", Path(folder), counts=counts))
        yield (
            list(Pictures(part.train, (256, 256), batch)),
            list(Pictures(part.validation[: 3 * batch], (256, 256), batch)),
        )


def milliseconds(act: Callable[[Tensor], object], images: Tensor) -> tuple[float, float]:
    """Of one picture: on the clock, and of all processors together."""
    clock, processors = time.perf_counter(), time.process_time()
    act(images)
    return (
        1000 * (time.perf_counter() - clock) / len(images),
        1000 * (time.process_time() - processors) / len(images),
    )


def measure(train: list[Tensor], unseen: list[Tensor]) -> None:
    detectors = {name: detector_of(name) for name in ("patchcore", "map_descriptors", *SCORERS)}
    fits, taken = {}, {name: list[tuple[float, float]]() for name in detectors}
    with sharing_of([found for detector in detectors.values() for found in extractors_in(detector)]):
        for name, detector in detectors.items():
            start = time.perf_counter()
            detector.fit(train, unseen)
            fits[name] = time.perf_counter() - start
        patchcore, described = detectors["patchcore"], detectors["map_descriptors"]
        for images in unseen:
            recall.forget()
            taken["patchcore"].append(milliseconds(patchcore.predict, images))
            seen = patchcore.predict(images)
            taken["map_descriptors"].append(milliseconds(lambda _, seen=seen: described.judge(seen), images))
            for name in SCORERS:
                taken[name].append(milliseconds(detectors[name].predict, images))
    rows = {name: [statistics.median(times) for times in zip(*spent)] for name, spent in taken.items()}
    scorers = [name for name in rows if name != "patchcore"]
    print(f"{'':22}{'fit [s]':>10}{'picture [ms]':>15}{'of processors [ms]':>21}")
    for name, (clock, processors) in rows.items():
        print(f"{name:22}{fits[name]:10.1f}{clock:15.1f}{processors:21.1f}")
    together = [sum(rows[name][place] for name in scorers) for place in (0, 1)]
    fit = sum(fits[name] for name in scorers)
    print(f"{'all seven scorers':22}{fit:10.1f}{together[0]:15.1f}{together[1]:21.1f}")
    print(f"they add {together[0] / rows['patchcore'][0]:.1f} times what PatchCore takes, the frozen network included")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="class folder; else flat connectors are rendered")
    parser.add_argument("--batch", type=int, default=BATCH, help="pictures per batch")
    options = parser.parse_args()
    with pictures(options.data, options.batch) as (train, unseen):
        count = sum(map(len, train))
        print(f"{count} training pictures, batches of {options.batch}, {torch.get_num_threads()} threads")
        measure(train, unseen)


if __name__ == "__main__":
    main()
