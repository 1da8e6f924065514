"""What do intervals for AU-sPRO cost?

Question: what does resampling by matrix products save against computing the exact metrics of every resampled test set?
Command:  python benchmarks/bootstrap.py
Cost:     30 s on one core
Expected: 2000 resamples of 200 pictures and two detectors in about a second, some thousand times faster than the exact
          metrics again and again; areas equal to 1e-4; writing the pieces costs about as much as evaluating once
"""

import argparse
import time
from functools import partial

import numpy as np
from spro import pictures, timed

from ensemble_ad.comparison.bootstrap import draw, pixel_metrics
from ensemble_ad.comparison.contributions import Pieces, pieces_of
from ensemble_ad.metrics import GOOD, ScoredPicture, evaluate_pixels

DETECTORS = 2
SHOWN = "AU-sPRO@0.05"


def made(count: int, side: int, seed: int) -> list[ScoredPicture]:
    return pictures(count, (side, side), seed)


def by_products(pieces: list[dict[str, Pieces]], weights: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """AU-sPRO@0.05 of each detector in each resample, by type; every other pixel metric is computed along."""
    return [{kind: pixel_metrics(weights, of[kind], kind)[SHOWN] for kind in of} for of in pieces]


def again_and_again(maps: list[list[ScoredPicture]], weights: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """The same by evaluating the drawn pictures."""
    found = []
    for of_detector in maps:
        areas: dict[str, list[float]] = {}
        for row in range(len(weights[GOOD])):
            drawn = drawn_again(of_detector, {kind: drawn[row] for kind, drawn in weights.items()})
            for kind, level in evaluate_pixels(partial(iter, drawn))[0].items():
                areas.setdefault(kind, []).append(level.au_spro[0.05])
        found.append({kind: np.array(values) for kind, values in areas.items()})
    return found


def drawn_again(maps: list[ScoredPicture], times: dict[str, np.ndarray]) -> list[ScoredPicture]:
    counts = {kind: iter(of_kind) for kind, of_kind in times.items()}
    return [picture for picture in maps for _ in range(int(next(counts[picture.kind])))]


def main(count: int, side: int, resamples: int, exact: int) -> None:
    maps = [made(count, side, seed) for seed in range(DETECTORS)]
    kinds = [picture.kind for picture in maps[0]]
    weights = draw({kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}, resamples, [0])
    few = {kind: drawn[:exact] for kind, drawn in weights.items()}
    once = timed(lambda: evaluate_pixels(partial(iter, maps[0])))[2]
    pieces, _, writing = timed(lambda: [pieces_of(partial(iter, of)) for of in maps])
    start = time.process_time()
    expected = again_and_again(maps, few)
    slow = (time.process_time() - start) * resamples / exact
    start = time.process_time()
    found = by_products(pieces, weights)
    fast = time.process_time() - start
    errors = [np.abs(a[kind][:exact] - b[kind]).max() for a, b in zip(found, expected) for kind in b]
    print(f"{count} pictures of {side} x {side}, {DETECTORS} detectors, {resamples} resamples, CPU time")
    print(f"  exact metrics once, one detector: {once}; pieces of {DETECTORS}: {writing}")
    print(f"  all pixel metrics by products {fast:.2f} s; exact again and again {slow:.0f} s (from {exact} resamples)")
    print(f"  {slow / fast:.0f} x faster; largest difference of {SHOWN}: {max(errors):.0e}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--side", type=int, default=256, help="of a map, in pixels")
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--exact", type=int, default=3, help="resamples evaluated exactly, then extrapolated")
    given = parser.parse_args()
    main(given.pictures, given.side, given.resamples, given.exact)
