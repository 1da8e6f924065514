"""The pixel metrics as they are defined, threshold by threshold. Only for testing and understanding.

Every function takes a list of pictures, all of them pooled: to look at one anomaly type, give its pictures and the good
ones. The time is the number of distinct scores times the number of pixels.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

from ensemble_ad.metrics.areas import trapezoid
from ensemble_ad.metrics.picture import Region, ScoredPicture


def spro(positive: np.ndarray, region: Region) -> float:
    """Saturated per-region overlap of boolean positives [H, W] with one region: min(found / saturation area, 1)."""
    return min(np.sum(positive & region.mask) / region.saturation_area, 1.0)


def mean_spro(pictures: Sequence[ScoredPicture], threshold: float) -> float:
    """Mean over all regions of all pictures; a pixel is positive when its score exceeds the threshold."""
    return float(np.mean([spro(p.scores > threshold, region) for p in pictures for region in p.regions]))


def mean_pro(pictures: Sequence[ScoredPicture], threshold: float) -> float:
    """Mean over all 8-connected components of all pictures of the share that is found."""
    found = []
    for picture in pictures:
        labels, components = ndimage.label(picture.defective(), np.ones((3, 3)))
        found += [np.mean((picture.scores > threshold)[labels == k]) for k in range(1, components + 1)]
    return float(np.mean(found))


def recall(pictures: Sequence[ScoredPicture], threshold: float) -> float:
    """Share of all defective pixels that is found."""
    return float(np.mean(np.concatenate([p.scores[p.defective()] > threshold for p in pictures])))


def false_positive_rate(pictures: Sequence[ScoredPicture], threshold: float) -> float:
    """Share of positives among the pixels outside every region of their picture, over all pictures together."""
    return float(np.mean(np.concatenate([p.scores[~p.defective()] > threshold for p in pictures])))


def curve(
    pictures: Sequence[ScoredPicture], height: Callable[[Sequence[ScoredPicture], float], float]
) -> tuple[np.ndarray, np.ndarray]:
    """False positive rates, ascending, and the `height` there, at every threshold that tells two scores apart."""
    distinct = np.unique(np.concatenate([picture.scores.ravel() for picture in pictures]))[::-1]
    thresholds = [*distinct.tolist(), -np.inf]
    rates = np.array([false_positive_rate(pictures, threshold) for threshold in thresholds])
    return rates, np.array([height(pictures, threshold) for threshold in thresholds])


def au_spro(pictures: Sequence[ScoredPicture], limit: float) -> float:
    """Area under mean sPRO over the false positive rate up to `limit`, divided by it."""
    return trapezoid(*curve(pictures, mean_spro), limit)


def au_pro(pictures: Sequence[ScoredPicture], limit: float) -> float:
    """Area under mean PRO over the false positive rate up to `limit`, divided by it."""
    return trapezoid(*curve(pictures, mean_pro), limit)


def pixel_auroc(pictures: Sequence[ScoredPicture]) -> float:
    """Area under the recall of defective pixels over the false positive rate."""
    return trapezoid(*curve(pictures, recall), 1.0)
