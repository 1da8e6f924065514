"""Which scores of a picture count: those that saturate a region (sPRO), and those of connected components (PRO)."""

import cv2
import numpy as np

from ensemble_ad.metrics.picture import Region
from ensemble_ad.metrics.ranked import RankedScores


def saturating_scores(scores: np.ndarray, region: Region) -> RankedScores:
    """The region's s highest scores, s its saturation area: sPRO = min(found / s, 1) rises at each of them, only there.

    Exact with ties at the cut too: of n equal scores of which k still fit, k count, as min() would have it.

    Args:
        scores: [H, W].
        region: any number of components; s may exceed its area, the region then never counts as found completely.
    """
    inside = np.sort(scores[region.mask])
    highest = inside[-region.saturation_area :]
    return RankedScores(highest.copy(), highest.size)


def component_scores(scores: np.ndarray, defective: np.ndarray) -> list[RankedScores]:
    """The scores of every 8-connected component, as MVTec AD's PRO has it: diagonal neighbours belong together.

    Args:
        scores: [H, W].
        defective: boolean [H, W], all regions of the picture pasted together.
    """
    components, labels = cv2.connectedComponents(defective.astype(np.uint8), connectivity=8)
    # Small unsigned integers are sorted by radix, in linear time.
    inside = labels[defective].astype(np.min_scalar_type(components))
    order = np.argsort(inside, kind="stable")
    cuts = np.cumsum(np.bincount(inside, minlength=components)[1:])[:-1]
    return [RankedScores.of(part) for part in np.split(scores[defective][order], cuts)]
