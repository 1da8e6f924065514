"""How fast is the exact coreset?

Question: what does block-lazy greedy save against the plain loop, and are its picks the same?
Command:  python benchmarks/coreset.py [--data CLASS_DIR]
Cost:     about a minute on two cores, 1 GB of memory
Expected: 163,840 x 152 to 1 % in about 2 s and to 10 % in about 10 s on two cores; about 100 times as fast as the
          loop by differences, 10 to 30 times as fast as the loop by products; the same set of picks

The loop at full size is timed over a slice of its picks, which all cost the same, and extrapolated; at a smaller size
it runs to its end, and its picks are compared. Without --data the points are random with a falling spectrum, as
features have.
"""

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does

import torch
from torch import Tensor

from data_loco import open_class
from data_loco.loading import Pictures
from extractors.backbone import Backbone
from extractors.coreset import greedy_coreset
from extractors.patches import embed
from extractors.rows import gather_rows

BACKBONE = Backbone("tf_efficientnet_lite0", ("blocks.2", "blocks.4"))

Distance = Callable[[Tensor, Tensor, int], Tensor]
"""Points `[n, C]`, their squared lengths `[n]` and one index -> squared distances `[n]` to that point."""


def by_differences(points: Tensor, _squares: Tensor, pick: int) -> Tensor:
    """As most implementations have it: every difference is written out before it is squared."""
    return (points - points[pick]).square().sum(1)


def by_product(points: Tensor, squares: Tensor, pick: int) -> Tensor:
    """One matrix-vector product per pick: the fastest that a loop over single picks can be."""
    return torch.addmv(squares + squares[pick], points, points[pick], alpha=-2)


def plain_greedy(points: Tensor, count: int, first: int, distance: Distance) -> Tensor:
    """The k-centre greedy loop as it is defined: pick the farthest point, update the distance of every point."""
    points = points - points.mean(0)
    squares = points.square().sum(1)
    nearest = distance(points, squares, first)
    picks = [first]
    while len(picks) < count:
        picks.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, distance(points, squares, picks[-1]))
    return torch.tensor(picks)


def seconds(act: Callable[[], Tensor]) -> tuple[Tensor, float]:
    start = time.perf_counter()
    return act(), time.perf_counter() - start


def covering_radius(points: Tensor, picks: Tensor) -> float:
    """Largest distance of a point to its nearest pick."""
    return max(float(torch.cdist(block, points[picks]).amin(1).max()) for block in points.split(4096))


def random_points(count: int, channels: int) -> Tensor:
    """Gaussian, the k-th direction with variance 1 / k, in random directions."""
    generator = torch.Generator().manual_seed(0)
    spectrum = torch.arange(1.0, channels + 1).rsqrt()
    directions = torch.linalg.qr(torch.randn(channels, channels, generator=generator)).Q
    return (torch.randn(count, channels, generator=generator) * spectrum) @ directions


def points_of(data: Path | None, count: int, channels: int) -> tuple[Tensor, str]:
    """Patch features of a class's training pictures, or random points; and what they are, in words."""
    if data is None:
        return random_points(count, channels), "random points"
    folder = open_class(data)
    pictures = Pictures(folder.train, (256, 256))
    rows = gather_rows(pictures, lambda images: embed(BACKBONE.maps(images), "concatenation", 0)).rows[:count]
    return rows, f"patch features of {folder.name}"


def at_full_size(points: Tensor, ratio: float, slice_: int) -> None:
    count = round(len(points) * ratio)
    picks, ours = seconds(lambda: greedy_coreset(points, count))
    print(f"{len(points):,} x {points.shape[1]} to {ratio:.0%} ({count:,} picks): block-lazy greedy {ours:.2f} s")
    for name, distance in (("differences", by_differences), ("one product", by_product)):
        loop = seconds(partial(plain_greedy, points, slice_, int(picks[0]), distance))[1] / slice_
        print(
            f"  plain loop by {name:11}: {1000 * loop:6.1f} ms per pick over {slice_} picks, "
            f"extrapolated to {loop * count:6.0f} s: {loop * count / ours:4.0f} x"
        )


def to_the_end(points: Tensor, ratio: float) -> None:
    count = round(len(points) * ratio)
    ours, fast = seconds(lambda: greedy_coreset(points, count))
    loop, slow = seconds(lambda: plain_greedy(points, count, int(ours[0]), by_product))
    common = len(set(ours.tolist()) & set(loop.tolist())) / count
    print(f"{len(points):,} x {points.shape[1]} to {ratio:.0%}, both to the end: {fast:.2f} s against {slow:.2f} s")
    print(f"  the same picks: {common:.2%} as a set, {(ours == loop).float().mean():.2%} in the same place")
    print(f"  covering radius: {covering_radius(points, ours):.6g} against {covering_radius(points, loop):.6g}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="class folder: patch features of its training pictures")
    parser.add_argument("--points", type=int, default=163_840)
    parser.add_argument("--channels", type=int, default=152, help="of random points")
    parser.add_argument("--slice", type=int, default=40, help="picks over which the loop is timed at full size")
    parser.add_argument("--small", type=int, default=20_000, help="points of the run to the end")
    options = parser.parse_args()
    points, what = points_of(options.data, options.points, options.channels)
    print(f"{what}, {torch.get_num_threads()} threads")
    for ratio in (0.01, 0.1):
        at_full_size(points, ratio, options.slice)
    generator = torch.Generator().manual_seed(0)
    to_the_end(points[torch.randperm(len(points), generator=generator)[: options.small]], 0.1)
