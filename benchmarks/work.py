"""How much work is it to fit each method?

Question: how many floating-point operations does a fit cost, and so, about how long will a GPU or a CPU take?
Command:  python benchmarks/work.py [--preset paper|cpu] [--rate 10]
Cost:     20 s and 1 GB of memory: the networks are run without numbers (torch's meta device)
Expected: at published settings DRAEM is most of it (85 %), CS-Flow next; PatchCore is next to nothing

Counted, for a class as large as MVTec LOCO AD's are on average (356 training, 375 other pictures): the frozen network
once per picture, each trained network three times per step and picture (forward, and twice that backward), distances to
the coreset. Not counted: reading pictures, drawing synthetic anomalies, moving data, smoothing. The hours are the
operations divided by --rate, which is what a device would have to sustain: they are an estimate, not a measurement.
"""

import argparse
import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from data_loco.mvtec_loco import COUNTS
from ensemble_ad.build import make
from ensemble_ad.experiment import load_experiment
from extractors import EXTRACTORS
from extractors.ast_networks import teacher_flow, untrained_student
from extractors.backbone import Backbone, create_network_shape
from extractors.cs_flow import SCALES, cross_scale_flow
from extractors.draem_networks import Networks
from extractors.reverse_student import Student

TRAIN = sum(counts["train/good"] for counts in COUNTS.values()) / len(COUNTS)
OTHERS = sum(sum(counts.values()) for counts in COUNTS.values()) / len(COUNTS) - TRAIN
STEP = 3
"""Passes that a training step is worth: one forward, and a backward pass of twice its work."""


class _SeenEnoughError(Exception):
    pass


def passes(network: Callable[..., Any], *inputs: Any) -> float:
    """Operations of one pass; an addition and a multiplication are two."""
    with FlopCounterMode(display=False) as counter, torch.no_grad(), contextlib.suppress(_SeenEnoughError):
        network(*inputs)
    return float(counter.get_total_flops())


def empty(*shape: int) -> Tensor:
    return torch.empty(shape, device="meta")


def frozen(backbone: Backbone, size: int) -> float:
    """Operations of a frozen network for one square picture, up to the last layer that is read."""
    network: nn.Module = create_network_shape(backbone.name).to("meta").eval()

    def stop(*_: Any) -> None:
        raise _SeenEnoughError

    network.get_submodule(backbone.layers[-1]).register_forward_hook(stop)
    return passes(network, empty(1, 3, size, size))


def patchcore(method: Any, size: int) -> float:
    patches = (size // method.stride) ** 2
    distances = 2 * method.channels * patches * TRAIN * method.coreset_ratio
    return (TRAIN + OTHERS) * (frozen(method._backbone, size) + patches * distances)


def simplenet(method: Any, size: int) -> float:
    patches, channels = (size // method.stride) ** 2, method.channels
    one_row = 2 * channels**2 + 2 * 2 * (channels + 1) * method.hidden
    return (TRAIN + OTHERS) * frozen(method._backbone, size) + STEP * TRAIN * method.epochs * patches * one_row


def draem(method: Any, size: int) -> float:
    side = size // method.downscale
    networks = Networks(method.width, method.discriminative_width).to("meta")
    return (STEP * TRAIN * method.epochs + OTHERS) * passes(networks, empty(1, 3, side, side))


def cs_flow(method: Any, size: int) -> float:
    backbone, channels = Backbone(method.backbone, method.layers), method.channels // SCALES
    sides = [size * method.image_scale // 2**scale for scale in range(SCALES)]
    grids = [side // backbone.strides[0] for side in sides]
    flow = cross_scale_flow(channels, method.hidden, 0).to("meta")
    trained = passes(flow, [empty(1, channels, grid, grid) for grid in grids])
    seen = sum(frozen(backbone, side) for side in sides)
    return (TRAIN + OTHERS) * seen + (STEP * TRAIN * method.epochs + OTHERS) * trained


def ast(method: Any, size: int) -> float:
    backbone, side = Backbone(method.backbone, method.layers), size * method.image_scale
    grid, channels = side // backbone.strides[0], backbone.channels[0]
    teacher = passes(teacher_flow(channels, method.teacher_hidden, 0).to("meta"), [empty(1, channels, grid, grid)])
    student = passes(untrained_student(channels, method.hidden, 0).to("meta"), empty(1, channels, grid, grid))
    return (TRAIN + OTHERS) * frozen(backbone, side) + (STEP * TRAIN * method.epochs + OTHERS) * (teacher + student)


def reverse_distillation(method: Any, size: int) -> float:
    teacher = Backbone(method.backbone, method.layers)
    maps = [empty(1, count, size // stride, size // stride) for count, stride in zip(teacher.channels, teacher.strides)]
    student = Student(teacher.channels, method.blocks, method.width).to("meta")
    return (TRAIN + OTHERS) * frozen(teacher, size) + (STEP * TRAIN * method.epochs + OTHERS) * passes(student, maps)


WORK = {function.__name__: function for function in (patchcore, simplenet, draem, cs_flow, reverse_distillation, ast)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="paper", help="paper, cpu, or a YAML file")
    parser.add_argument("--rate", type=float, default=10.0, help="TFLOP/s that the device sustains")
    options = parser.parse_args()
    print(f"one class, one seed, preset {options.preset}; hours at {options.rate:g} TFLOP/s\n")
    print("| method | TFLOP | hours |\n|---|---:|---:|")
    total = 0.0
    for name, count in WORK.items():
        content = {"preset": options.preset, "detector": {"name": "standalone", "method": name}}
        experiment = load_experiment(content)
        total += (work := count(make(EXTRACTORS, experiment.detector["method"]), experiment.size[0]))
        print(row(name, work / 1e12, options.rate), flush=True)
    print(row("all six", total / 1e12, options.rate))


def row(name: str, work: float, rate: float) -> str:
    return f"| {name} | {work:,.0f} | {work / rate / 3600:.2f} |"


if __name__ == "__main__":
    main()
