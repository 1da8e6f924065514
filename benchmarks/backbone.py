"""How fast does a frozen network run, and do its engines agree?

Question: what does a picture cost with torch as it is, with torch in channels_last, and with ONNX Runtime?
Command:  python benchmarks/backbone.py [--data CLASS_DIR] [--backbone NAME --layers A B]
Cost:     half a minute on two cores for EfficientNet-Lite0, most of it the export
Expected: ONNX Runtime 2.5 (busy machine) to 4 times (quiet one) as fast as torch eager, there about 14 ms per
          picture; features equal to 1e-5

The engines take turns, batch by batch, so that a busy machine slows all of them; ratios are those of the medians.
Without --data the pictures are random: the speed of a network does not depend on what it sees.
"""

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does

import torch
from torch import Tensor

from data_loco import open_class
from data_loco.loading import Pictures
from extractors.backbone import Backbone, Taps, input_statistics
from extractors.engine import Engine, open_engine
from extractors.weights import create_network

WARM_UP = 2
"""Batches before the clock runs."""


def engines(backbone: Backbone) -> dict[str, Engine]:
    def build() -> Taps:
        network = create_network(backbone.name, backbone.weights)
        return Taps(network, backbone.layers, *input_statistics(backbone.name)).eval()

    plain = build()

    def eager(images: Tensor) -> list[Tensor]:
        with torch.inference_mode():
            return list(plain(images))

    return {
        "torch eager": eager,
        "torch channels_last": open_engine(build, backbone.identity, "torch", "cpu"),
        "ONNX Runtime": open_engine(build, backbone.identity, "onnx", "cpu"),
    }


def batches_of(data: Path | None, size: tuple[int, int], batch: int, count: int) -> list[Tensor]:
    if data is None:
        generator = torch.Generator().manual_seed(0)
        return [torch.rand(batch, 3, *size, generator=generator) for _ in range(count)]
    samples = open_class(data).train[: batch * count]
    return list(Pictures(samples, size, batch))


def milliseconds(engine: Engine, images: Tensor) -> float:
    start = time.perf_counter()
    engine(images)
    return 1000 * (time.perf_counter() - start)


def relative_difference(maps: Sequence[Tensor], reference: Sequence[Tensor]) -> float:
    """Largest difference of any layer, as a share of that layer's largest value."""
    return max(float((one - other).abs().max() / other.abs().max()) for one, other in zip(maps, reference))


def compare(backbone: Backbone, batches: Sequence[Tensor]) -> None:
    ready = engines(backbone)
    for engine in ready.values():
        for images in batches[:WARM_UP]:
            engine(images)
    times: dict[str, list[float]] = {name: [] for name in ready}
    for images in batches:
        for name, engine in ready.items():
            times[name].append(milliseconds(engine, images) / len(images))
    reference = ready["torch eager"](batches[0])
    slowest = statistics.median(times["torch eager"])
    for name, engine in ready.items():
        middle = statistics.median(times[name])
        differs = relative_difference(engine(batches[0]), reference)
        print(
            f"{name:20} {middle:6.1f} ms per picture (best batch {min(times[name]):6.1f}), {slowest / middle:4.1f} x, "
            f"features differ by {differs:.0e}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="class folder whose training pictures are used")
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--layers", nargs="+", default=["blocks.2", "blocks.4"])
    parser.add_argument("--weights", help="weights file, or 'random'")
    parser.add_argument("--size", nargs=2, type=int, default=[256, 256], metavar=("H", "W"))
    parser.add_argument("--batch", type=int, default=8, help="pictures per batch")
    parser.add_argument("--batches", type=int, default=12)
    options = parser.parse_args()
    backbone = Backbone(options.backbone, tuple(options.layers), options.weights)
    print(
        f"{options.backbone}, {', '.join(options.layers)}, {options.size[0]} x {options.size[1]} pixels, "
        f"batches of {options.batch}, {torch.get_num_threads()} threads"
    )
    compare(backbone, batches_of(options.data, tuple(options.size), options.batch, options.batches))
