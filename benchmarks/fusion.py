"""What does fusing four methods cost beside running their networks?

Question: how much do resizing, PCA, discriminator and bookkeeping add, and what does sharing the frozen network save?
Command:  python benchmarks/fusion.py [--data CLASS_DIR]
Cost:     a minute on two cores, most of it four quick fits (1 epoch on few pictures: speed, not accuracy)
Expected: the fused four about 0.75 times the sum of their bare network passes (goal: at most 1.3 times), because
          sharing saves more than fusion costs; extraction about 1.5 times as fast with sharing

The four are patchcore, draem, cs_flow and simplenet with the `cpu` preset. A bare pass is what a method's networks do
to a batch up to its cut, each method for itself: the frozen backbone at each of its picture scales, and what was
trained on top of it (PatchCore trains nothing). Measurements take turns; medians count. Nothing is remembered between
two of them.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does

import torch
from torch import Tensor
from torch.nn import functional as F

from data_loco import open_class
from data_loco.loading import Pictures
from ensemble_ad.detectors import FeatureEnsemble
from ensemble_ad.experiment import load_experiment
from ensemble_ad.schema import build_detector
from extractors import recall
from extractors.backbone import Backbone, Taps, backbone_of, input_statistics
from extractors.engine import Engine, open_engine
from extractors.rows import as_rows
from extractors.weights import create_network

Act = Callable[[], object]

QUICK = [
    {"name": "patchcore"},
    {"name": "draem", "epochs": 1},
    {"name": "cs_flow", "epochs": 1},
    {"name": "simplenet", "epochs": 1},
]
GOAL = 1.3
"""Most that the fused four may take, in sums of bare passes."""


def quick_ensemble(batches: Sequence[Tensor]) -> FeatureEnsemble:
    """The `cpu` preset's four, trained for one epoch each: as fast as well trained ones, and good for nothing else."""
    detector = {"name": "feature_ensemble", "extractors": QUICK, "discriminator": {"epochs": 1}}
    ensemble: FeatureEnsemble = build_detector(load_experiment({"detector": detector}).detector)
    return ensemble.fit(batches, [])


def engine_of(backbone: Backbone | None) -> Engine:
    """The frozen network as it is run, without the memory in front of it."""
    if backbone is None:
        raise ValueError("expected a method that reads a frozen network")

    def build() -> Taps:
        network = create_network(backbone.name, backbone.weights)
        return Taps(network, backbone.layers, *input_statistics(backbone.name)).eval()

    return open_engine(build, backbone.identity, "auto", "cpu")


def bare_passes(ensemble: FeatureEnsemble, images: Tensor) -> dict[str, Act]:
    """By method, its networks alone; what they read is made ready here."""
    members: Any = ensemble.extractors
    patchcore, draem, cs_flow, simplenet = members
    reading = {method: engine_of(backbone_of(vars(method))) for method in (patchcore, cs_flow, simplenet)}
    scales = [images[..., ::step, ::step].contiguous() for step in (1, 2, 4)]
    deep = [reading[cs_flow](scale)[0] for scale in scales]
    rows = as_rows(simplenet.features(images))
    averaged = F.avg_pool2d(images, draem.downscale).to(memory_format=torch.channels_last)

    def repair_and_find() -> Tensor:
        net = draem.net_
        return net.discriminative.decode(net.encode(averaged), steps=2)  # up to db1

    return {
        "patchcore": lambda: reading[patchcore](images),
        "draem": repair_and_find,
        "cs_flow": lambda: ([reading[cs_flow](scale) for scale in scales], cs_flow.flow_(deep)),
        "simplenet": lambda: (reading[simplenet](images), simplenet.net_.adaptor(rows)),
    }


def extraction(ensemble: FeatureEnsemble, images: Tensor, *, shared: bool) -> list[Tensor]:
    """Every member's features; unshared, each one comes to pictures that nobody has seen."""
    if shared:
        return ensemble.features(images)
    features = []
    for extractor in ensemble.extractors:
        recall.forget()
        features.append(extractor.features(images))
    return features


def medians(acts: Mapping[str, Act], rounds: int) -> dict[str, float]:
    """Milliseconds of each; all take turns, and the first round does not count."""
    times: dict[str, list[float]] = {name: [] for name in acts}
    for _ in range(rounds + 1):
        for name, act in acts.items():
            recall.forget()
            start = time.perf_counter()
            with torch.no_grad():
                act()
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(kept[1:]) for name, kept in times.items()}


def compare(ensemble: FeatureEnsemble, images: Tensor, rounds: int) -> None:
    bare = bare_passes(ensemble, images)
    whole: dict[str, Act] = {
        "fused four": lambda: ensemble.predict(images),
        "extraction, shared": lambda: extraction(ensemble, images, shared=True),
        "extraction, unshared": lambda: extraction(ensemble, images, shared=False),
    }
    taken = {name: each / len(images) for name, each in medians({**bare, **whole}, rounds).items()}
    for name, each in taken.items():
        print(f"{f'bare {name}' if name in bare else name:21} {each:6.1f} ms per picture")
    passes = sum(taken[name] for name in bare)
    ratio, saved = taken["fused four"] / passes, taken["extraction, unshared"] / taken["extraction, shared"]
    print(f"sum of bare passes    {passes:6.1f} ms per picture; the fused four take {ratio:.2f} x that (goal {GOAL} x)")
    print(f"sharing one pass makes the extraction {saved:.2f} x as fast")


def pictures(data: Path | None, count: int) -> list[Tensor]:
    """Two batches, so that the fits see more than what is timed."""
    if data is None:
        generator = torch.Generator().manual_seed(0)
        return [torch.rand(count, 3, 256, 256, generator=generator) for _ in range(2)]
    return list(Pictures(open_class(data).train[: 2 * count], (256, 256), count))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="class folder whose training pictures are used; else random ones")
    parser.add_argument("--batch", type=int, default=8, help="pictures per batch")
    parser.add_argument("--rounds", type=int, default=7, help="times that everything is measured")
    options = parser.parse_args()
    batches = pictures(options.data, options.batch)
    print(f"cpu preset, 256 x 256 pixels, batches of {options.batch}, {torch.get_num_threads()} threads")
    compare(quick_ensemble(batches), batches[0], options.rounds)
