"""How far a number lies from what it is in normal pictures, where several ranges may be normal."""

from dataclasses import dataclass

import numpy as np

MOST_RANGES = 3
LEAST_SHARE = 0.08
"""Of the normal pictures, that a range of its own must hold."""
LEAST_SEEN = 8
"""Normal pictures that must have a number for it to be judged."""
OFTEN = 0.7
"""Share of the normal pictures that must have a number for it to count without limit;"""
DOUBTFUL = 10.0
"""standard deviations that any other number counts at most: what is seldom measured is seldom measured well."""
GAIN = 12.0
"""By how much one more range must better the Bayesian information criterion."""


@dataclass(frozen=True)
class Usual:
    """For each of F numbers, up to three normal ranges."""

    centre: np.ndarray
    """[F, 3], NaN where there is no such range."""
    spread: np.ndarray
    """[F, 3], one standard deviation."""
    most: np.ndarray
    """[F], standard deviations that a number counts at most."""

    def deviation(self, numbers: np.ndarray) -> np.ndarray:
        """`numbers` [..., F] -> standard deviations to the nearest range, 0 for what is not a number or not judged."""
        off = np.abs(numbers[..., None] - self.centre) / self.spread
        nearest = np.where(np.isnan(off), np.inf, off).min(axis=-1)
        return np.minimum(np.where(np.isfinite(nearest), nearest, 0.0), self.most)

    def nearest(self, number: float, place: int) -> tuple[float, float]:
        """The range (low, high), two standard deviations around its centre, that is nearest to a number."""
        off = np.abs(number - self.centre[place]) / self.spread[place]
        own = int(np.nanargmin(off))
        centre, spread = float(self.centre[place, own]), float(self.spread[place, own])
        return centre - 2 * spread, centre + 2 * spread


def usual(numbers: np.ndarray, least: np.ndarray) -> Usual:
    """Learn from `numbers` [N, F] of normal pictures, NaN where a picture has none.

    One dimensional k-means for one to three ranges, each with its robust spread; the number of ranges by the Bayesian
    information criterion.

    Args:
        numbers: [N, F].
        least: [F], what a standard deviation is at least: how exactly the number can be measured.
    """
    values = np.sort(numbers, axis=0).T
    best = _ranges(values, 1, least)
    chosen = _criterion(values, *best)
    centre, spread = (np.pad(part, ((0, 0), (0, MOST_RANGES - 1)), constant_values=np.nan) for part in best)
    for count in range(2, MOST_RANGES + 1):
        centres, spreads = _ranges(values, count, least)
        criterion = _criterion(values, centres, spreads)
        better = criterion < chosen - GAIN
        rest = ((0, 0), (0, MOST_RANGES - count))
        centre[better] = np.pad(centres, rest, constant_values=np.nan)[better]
        spread[better] = np.pad(spreads, rest, constant_values=np.nan)[better]
        chosen = np.where(better, criterion, chosen)
    seen = (~np.isnan(values)).sum(axis=1)
    centre[seen < LEAST_SEEN] = np.nan
    return Usual(centre, spread, np.where(seen < OFTEN * len(numbers), DOUBTFUL, np.inf))


def _ranges(values: np.ndarray, count: int, least: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres and spreads [F, count] of sorted `values` [F, N]."""
    seen = (~np.isnan(values)).sum(axis=1)
    quantiles = (np.arange(count) + 0.5) / count
    start = (quantiles * np.maximum(seen - 1, 0)[:, None]).round().astype(int)
    centres = np.take_along_axis(values, start, axis=1)
    for _ in range(12):
        own = _member(values, centres)
        centres = np.stack([_median(np.where(own == place, values, np.nan)) for place in range(count)], axis=1)
    own = _member(values, centres)
    off = np.abs(values - np.take_along_axis(np.nan_to_num(centres), own, axis=1))
    inside = [np.where((own == place) & ~np.isnan(values), off, np.nan) for place in range(count)]
    spread = np.stack([1.4826 * _median(part) for part in inside], axis=1)
    wide = np.stack([_quantile(part, 0.9) / 1.645 for part in inside], axis=1)
    share = np.stack([(~np.isnan(part)).sum(axis=1) for part in inside], axis=1) / np.maximum(seen, 1)[:, None]
    centres = np.where(share >= LEAST_SHARE, centres, np.nan)
    return centres, np.maximum(np.fmax(spread, wide), least[:, None])


def _member(values: np.ndarray, centres: np.ndarray) -> np.ndarray:
    off = np.abs(values[..., None] - centres[:, None])
    return np.where(np.isnan(off), np.inf, off).argmin(axis=-1)


def _median(values: np.ndarray) -> np.ndarray:
    return _quantile(values, 0.5)


def _quantile(values: np.ndarray, share: float) -> np.ndarray:
    """Along the last axis, without NaN; NaN where there is nothing else."""
    ordered = np.sort(values, axis=-1)
    seen = (~np.isnan(values)).sum(axis=-1)
    place = (share * np.maximum(seen - 1, 0)).round().astype(int)
    return np.take_along_axis(ordered, place[..., None], axis=-1)[..., 0]


def _criterion(values: np.ndarray, centres: np.ndarray, spreads: np.ndarray) -> np.ndarray:
    """[F]: Bayesian information criterion; infinite where a range holds too few."""
    own = _member(values, centres)
    centre, spread = (np.take_along_axis(part, own, axis=1) for part in (centres, spreads))
    seen = (~np.isnan(values)).sum(axis=1)
    share = np.stack([((own == place) & ~np.isnan(values)).sum(axis=1) for place in range(centres.shape[1])], axis=1)
    weight = np.take_along_axis(share / np.maximum(seen, 1)[:, None], own, axis=1)
    off = np.square((values - centre) / spread).clip(max=9.0)
    likelihood = np.nansum(np.log(np.maximum(weight, 1e-9)) - np.log(spread) - off / 2, axis=1)
    criterion = -2 * likelihood + (3 * centres.shape[1] - 1) * np.log(np.maximum(seen, 2))
    return np.where(np.isnan(centres).any(axis=1), np.inf, criterion)
