"""Metrics of resampled test sets, thousands at once: weights of pictures times what each picture contributes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, stdtrit

from ensemble_ad.comparison.contributions import Pieces
from ensemble_ad.metrics import GOOD, LIMITS, PRO_LIMITS

ROWS = 256
"""Resamples worked on at once, which bounds the memory: a curve of them takes 1 to 2 MB."""
ENDLESS = 1e300
"""Stands for infinity where it would have to be divided by itself."""

Weights = Mapping[str, np.ndarray]
"""How often each picture of a kind was drawn, [B, n], by kind; each row sums to n."""


def draw(counts: Mapping[str, int], resamples: int, seed: Sequence[int]) -> dict[str, np.ndarray]:
    """Draw as many pictures of each kind as there are, with replacement: [B, n] whole numbers by kind.

    >>> draw({"good": 3}, 2, [0])["good"].sum(axis=1).tolist()
    [3.0, 3.0]
    """
    random = np.random.default_rng(seed)
    return {
        kind: random.multinomial(count, np.full(count, 1 / count), resamples).astype(np.float64)
        for kind, count in counts.items()
    }


def image_auroc(weights: Weights, scores: Mapping[str, np.ndarray], kind: str) -> np.ndarray:
    """Image AUROC of an anomaly type in each resample [B], exact: pairs counted by how often both were drawn."""
    good, anomalous = scores[GOOD], scores[kind]
    beats = (anomalous[:, None] > good) + 0.5 * (anomalous[:, None] == good)
    return np.einsum("bn,bn->b", weights[kind] @ beats, weights[GOOD]) / (good.size * anomalous.size)


def pixel_metrics(weights: Weights, pieces: Pieces, kind: str) -> dict[str, np.ndarray]:
    """Every pixel metric of an anomaly type in each resample, [B] by its heading in our tables."""
    curves = _Curves.of(pieces)
    blocks = [_block(*rows, curves) for rows in _in_rows(weights, pieces, kind)]
    return {heading: np.concatenate([block[heading] for block in blocks]) for heading in blocks[0]}


def interval(values: np.ndarray, level: float, pictures: int) -> tuple[float, float]:
    """Expanded percentile interval of resampled values [B].

    Plain percentiles are too narrow for few pictures: they miss a factor sqrt(n / (n - 1)) and take a normal quantile
    for one of Student's t. Both are put right by percentiles further out (Hesterberg, "What Teachers Should Know About
    the Bootstrap", The American Statistician 2015). `pictures` is the size n of the smallest kind; below 2 there is no
    interval, and both ends are nan.
    """
    if pictures < 2:
        return float("nan"), float("nan")
    quantile = stdtrit(pictures - 1, (1 - level) / 2) * np.sqrt(pictures / (pictures - 1))
    tail = float(ndtr(quantile))
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def areas(x: np.ndarray, heights: np.ndarray, limits: Sequence[float]) -> np.ndarray:
    """Areas under piecewise straight curves up to limits, each divided by its limit.

    Args:
        x: [B, T] rising from 0 to 1.
        heights: [B, T].
        limits: in (0, 1].

    Returns:
        [limits, B].

    >>> areas(np.array([[0.0, 0.25, 1.0]]), np.array([[0.0, 0.5, 1.0]]), [0.125, 1.0]).tolist()
    [[0.125], [0.625]]
    """
    until = np.zeros_like(x)
    np.cumsum(np.diff(x) * (heights[:, 1:] + heights[:, :-1]) / 2, axis=1, out=until[:, 1:])
    rows = np.arange(len(x))
    found = np.empty((len(limits), len(x)))
    for place, limit in enumerate(limits):
        left = np.minimum(np.count_nonzero(x <= limit, axis=1), x.shape[1] - 1) - 1
        start, width = x[rows, left], x[rows, left + 1] - x[rows, left]
        inside = limit - start
        share = np.divide(inside, width, out=np.zeros_like(inside), where=width > 0)
        rise = share * (heights[rows, left + 1] - heights[rows, left])
        found[place] = (until[rows, left] + inside * (heights[rows, left] + rise / 2)) / limit
    return found


def _in_rows(weights: Weights, pieces: Pieces, kind: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Weights of all pictures and of the anomalous ones, a few resamples at a time."""
    anomalous = weights[kind]
    everything = np.hstack([weights[GOOD], anomalous]) if pieces.good else anomalous
    for start in range(0, len(anomalous), ROWS):
        yield everything[start : start + ROWS], anomalous[start : start + ROWS]


@dataclass(frozen=True, eq=False)
class _Curves:
    """The arrays of `Pieces` as float64: a matrix product converts them each time otherwise."""

    false: np.ndarray
    spro: np.ndarray
    pro: np.ndarray
    found: np.ndarray
    regions: np.ndarray
    tied: np.ndarray

    @classmethod
    def of(cls, pieces: Pieces) -> "_Curves":
        return cls(
            false=pieces.false.astype(np.float64),
            spro=pieces.spro.astype(np.float64),
            pro=pieces.pro.astype(np.float64),
            found=pieces.found.astype(np.float64),
            regions=pieces.regions.astype(np.float64),
            tied=pieces.tied,
        )


def _block(everything: np.ndarray, anomalous: np.ndarray, curves: _Curves) -> dict[str, np.ndarray]:
    false, found, pro = everything @ curves.false, anomalous @ curves.found, anomalous @ curves.pro
    rate, recall = false / false[:, -1:], found / found[:, -1:]
    spro = anomalous @ curves.spro / (anomalous @ curves.regions)[:, None]
    pros, spros = areas(rate, pro / pro[:, -1:], PRO_LIMITS), areas(rate, spro, LIMITS)
    return {
        "pixel AUROC": areas(rate, recall, [1.0])[0],
        "AU-PR": _average_precision(false, found, curves.tied),
        **{f"AU-PRO@{limit}": area for limit, area in zip(PRO_LIMITS, pros)},
        **{f"AU-sPRO@{limit}": area for limit, area in zip(LIMITS, spros)},
    }


def _average_precision(false: np.ndarray, found: np.ndarray, tied: np.ndarray) -> np.ndarray:
    """Mean precision over the defective pixels [B], from counts [B, T] above each threshold.

    In a cell, found and false pixels are taken to come evenly: with z = (flagged in the cell) / (flagged before), the
    mean precision is that before with weight log(1 + z) / z, and that of the cell alone with the rest. The pixels of a
    tied score come at once, at the precision after it.
    """
    flagged = false + found
    rise, growth = np.diff(found), np.diff(flagged)
    before, alone = _share(found[:, :-1], flagged[:, :-1]), _share(rise, growth)
    z = _share(growth, flagged[:, :-1], otherwise=ENDLESS)
    weight = _share(np.log1p(z), z, otherwise=1.0)
    mean = np.where(tied, _share(found[:, 1:], flagged[:, 1:]), weight * before + (1 - weight) * alone)
    return np.einsum("bt,bt->b", rise, mean) / found[:, -1]


def _share(part: np.ndarray, whole: np.ndarray, otherwise: float = 0.0) -> np.ndarray:
    """`part / whole`, and `otherwise` where `whole` is 0."""
    return np.divide(part, whole, out=np.full_like(part, otherwise), where=whole > 0)
