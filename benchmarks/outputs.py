"""What does combining the outputs of four detectors cost per picture?

Question: how long do calibration and combination take beside a detector's own milliseconds, and what does evaluating
          a random forest by intervals save against walking every pixel down every tree?
Command:  python benchmarks/outputs.py [--size 256] [--members 4]
Cost:     half a minute on two cores
Expected: fixed rules 1 to 5 ms, calibration by rank 45; the random forest 20 to 35, a twentieth of the walk's time,
          with the same probabilities to 1e-6

Maps are smooth random fields, two pictures at once; every rule sees the same. Medians of processor time count, which
other processes disturb less than time on the clock.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does

import torch
from torch import Tensor
from torch.nn import functional as F

from combiners import CALIBRATIONS, OUTPUT_COMBINERS
from combiners.calibrated import Calibrated
from combiners.forest import Forest
from combiners.protocol import Stacker
from combiners.stacking import RandomForest

PICTURES = 2
ROUNDS = 5
EXAMPLES = 20_000


def smooth_maps(members: int, size: int) -> Tensor:
    """`[M, N, H, W]`."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(members * PICTURES, 1, size // 8, size // 8, generator=generator)
    return F.interpolate(coarse, (size, size), mode="bicubic").view(members, PICTURES, size, size)


def learned(combiner: str, calibration: str, members: int) -> Calibrated:
    """A rule that has learned from random values."""
    generator = torch.Generator().manual_seed(1)
    weights = {"weights": (1.0,) * members} if combiner == "weighted_mean" else {}
    normal = torch.randn(members, EXAMPLES, generator=generator)
    rule = Calibrated(CALIBRATIONS[calibration](), OUTPUT_COMBINERS[combiner](**weights)).fit(normal)
    if isinstance(rule.combiner, Stacker):
        labels = torch.arange(EXAMPLES) % 2 == 0
        rule.learn(normal + labels * torch.linspace(0.5, 2, members)[:, None], labels)
    return rule


def walked(forest: Forest, values: Tensor) -> Tensor:
    """`[M, K]` -> `[K]`: every pixel down every tree, all pixels one step at a time."""
    shares = []
    for left, right, feature, threshold, share in zip(*(tensor for tensor in forest.state().values())):
        node = torch.zeros(values.shape[1], dtype=torch.int64)
        while (inner := left[node] >= 0).any():
            goes_left = values.gather(0, feature[node].clamp(min=0)[None])[0] <= threshold[node]
            node = torch.where(inner, torch.where(goes_left, left[node], right[node]), node)
        shares.append(share[node])
    return torch.stack(shares).mean(0).float()


def milliseconds(act: Callable[[], object]) -> float:
    """Of one picture, on all processors together."""
    start = time.process_time()
    act()
    return (time.process_time() - start) * 1000 / PICTURES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="pixels of a map's side")
    parser.add_argument("--members", type=int, default=4)
    options = parser.parse_args()
    maps = smooth_maps(options.members, options.size)
    print(f"{options.members} members, {options.size} x {options.size} pixels, {torch.get_num_threads()} threads")
    acts: dict[str, Callable[[], object]] = {}
    for name in OUTPUT_COMBINERS:
        acts[f"{name}, robust"] = partial(learned(name, "robust", options.members).transform, maps)
    acts["mean, rank"] = partial(learned("mean", "rank", options.members).transform, maps)
    forest = learned("random_forest", "robust", options.members)
    trees = forest.combiner
    assert isinstance(trees, RandomForest)
    assert trees.forest_ is not None
    calibrated = forest.calibration.transform(maps).flatten(1)
    grown = trees.forest_
    acts["random_forest by walking"] = lambda: walked(grown, calibrated)
    times = {name: [milliseconds(act) for _ in range(ROUNDS)] for name, act in acts.items()}
    for name, spent in times.items():
        print(f"{name:28} {statistics.median(spent):8.1f} ms per picture, quickest {min(spent):.1f}")
    difference = (walked(grown, calibrated) - forest.transform(maps).flatten()).abs().max()
    print(f"largest difference between intervals and walk: {difference:.1e}")


if __name__ == "__main__":
    main()
