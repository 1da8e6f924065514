"""Every pixel metric of a test set, per anomaly type, in two passes over the pictures and with bounded memory.

First pass: keep the scores of the defective pixels, which are the thresholds where a curve can rise. Second pass: count
the defect-free scores above and at each of them, and forget those. What is kept depends neither on how many defect-free
pixels there are nor, once regions are thinned, on the size of the maps.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ensemble_ad.metrics.areas import step_area
from ensemble_ad.metrics.collection import EXACT_BYTES, Collection, RegionScores, TypeScores, collect
from ensemble_ad.metrics.counting import Counts, count
from ensemble_ad.metrics.curves import Curve, spro_curve
from ensemble_ad.metrics.picture import GOOD, ScoredPicture
from ensemble_ad.metrics.ranked import KEPT_WHEN_THINNED, RankedScores
from ensemble_ad.metrics.ranking import average_precision_from, f1_max_from
from ensemble_ad.metrics.survival import Survival

LIMITS = (0.01, 0.05, 0.1, 0.3, 1.0)
"""False positive rates up to which MVTec LOCO integrates sPRO; 0.05 is its headline."""
PRO_LIMITS = (0.3,)
"""The same for PRO on MVTec AD."""


@dataclass(frozen=True)
class DefectLevel:
    """One defect kind of an anomaly type."""

    regions: int
    au_spro: Mapping[float, float]
    """By false positive limit: the mean over the regions of this kind, against the defect-free pixels of its type."""


@dataclass(frozen=True)
class PixelLevel:
    """The pixel metrics of one anomaly type: its pictures together with all good ones. All in [0, 1]."""

    pixel_auroc: float
    au_pr: float
    """Average precision."""
    f1_max: float
    au_pro: Mapping[float, float]
    """By false positive limit."""
    au_spro: Mapping[float, float]
    """By false positive limit: the mean over all regions, so also that of `per_defect` weighted by region counts."""
    per_defect: Mapping[str, DefectLevel]
    curve: Curve
    """Mean sPRO over the false positive rate."""
    error_bound: float
    """No value is further from the exact one; 0 when all defective scores fitted in memory."""


def evaluate_pixels(
    pictures: Callable[[], Iterable[ScoredPicture]],
    limits: Sequence[float] = LIMITS,
    pro_limits: Sequence[float] = PRO_LIMITS,
    exact_bytes: int = EXACT_BYTES,
    thinned_to: int = KEPT_WHEN_THINNED,
) -> tuple[dict[str, PixelLevel], Collection]:
    """All pixel metrics per anomaly type, and what the first pass saw of each picture.

    Conventions of MVTec's evaluators: regions weigh equally whatever their picture; a false positive is a positive
    outside every region of its picture; false positives are pooled over the type's pictures and all good ones. Unlike
    theirs, every distinct score is a threshold: nothing is sampled, ties and constant maps are exact.

    Args:
        pictures: called twice, gives the same pictures each time; they may be read lazily.
        limits: false positive rates for AU-sPRO, in (0, 1].
        pro_limits: the same for AU-PRO.
        exact_bytes: up to which size all defective scores are kept, which makes every metric exact.
        thinned_to: order statistics >= 2 kept of each region beyond that size (see `RankedScores` for the error).

    Raises:
        ValueError: a picture that `ScoredPicture` refuses, a limit outside (0, 1], a type without a defect-free pixel.
    """
    for limit in (*limits, *pro_limits):
        if not 0 < limit <= 1:
            raise ValueError(f"expected false positive limits in (0, 1], got {limit}")
    collection = collect(pictures(), exact_bytes, thinned_to)
    counts = count(pictures(), collection)
    levels = {kind: _level(collection.types[kind], counts.pop(kind), limits, pro_limits) for kind in sorted(counts)}
    return levels, collection


def au_spro(pictures: Sequence[ScoredPicture], limit: float = 0.05) -> float:
    """Area under mean sPRO over the false positive rate, up to `limit` and divided by it, all pictures pooled.

    Bergmann et al., "Beyond Dents and Scratches: Logical Constraints in Unsupervised Anomaly Detection and
    Localization" (IJCV 2022).
    """
    return _pooled(pictures, limit).au_spro[limit]


def au_pro(pictures: Sequence[ScoredPicture], limit: float = 0.3) -> float:
    """Area under mean overlap with connected components (PRO), up to `limit` and divided by it, all pictures pooled.

    Bergmann et al., "The MVTec Anomaly Detection Dataset" (IJCV 2021).
    """
    return _pooled(pictures, limit).au_pro[limit]


def _pooled(pictures: Sequence[ScoredPicture], limit: float) -> PixelLevel:
    pooled = [picture if picture.kind == GOOD else replace(picture, kind="anomalous") for picture in pictures]
    levels, _ = evaluate_pixels(lambda: pooled, [limit], [limit])
    if not levels:
        raise ValueError("expected at least one picture with a region, got none")
    return levels["anomalous"]


def _level(found: TypeScores, counts: Counts, limits: Sequence[float], pro_limits: Sequence[float]) -> PixelLevel:
    au_pr, au_pr_bound = average_precision_from(counts.negatives, counts.positives)
    f1_max, f1_bound = f1_max_from(counts.negatives, counts.positives)
    components, component_bounds = _areas(found.components, counts.negatives, [*pro_limits, 1.0])
    regions, region_bounds = _areas([region.scores for region in found.regions], counts.negatives, limits)
    regions *= np.array([[region.scores.count / region.saturation] for region in found.regions])
    sizes = np.array([component.count for component in found.components])
    return PixelLevel(
        # The ROC curve is the components' mean curve weighted by size.
        pixel_auroc=float(np.average(components[:, -1], weights=sizes)),
        au_pr=au_pr,
        f1_max=f1_max,
        au_pro=dict(zip(pro_limits, components.mean(axis=0).tolist())),
        au_spro=dict(zip(limits, regions.mean(axis=0).tolist())),
        per_defect=_per_defect(found.regions, regions, limits),
        curve=spro_curve([(region.scores, region.saturation) for region in found.regions], counts.negatives),
        error_bound=float(max(au_pr_bound, f1_bound, component_bounds.max(), region_bounds.max())),
    )


def _areas(regions: Sequence[RankedScores], negatives: Survival, limits: Sequence[float]) -> np.ndarray:
    """[2, regions, limits]: the mean area under a step at each score of a region, and the bound of its error."""
    areas = np.empty((2, len(regions), len(limits)))
    for row, region in enumerate(regions):
        above, at_least = negatives.rates(np.searchsorted(negatives.thresholds, region.values))
        for column, limit in enumerate(limits):
            areas[:, row, column] = region.mean(step_area(above, at_least, limit))
    return areas


def _per_defect(regions: Sequence[RegionScores], areas: np.ndarray, limits: Sequence[float]) -> dict[str, DefectLevel]:
    names = np.array([region.name for region in regions])
    levels = {}
    for name in sorted(set(names.tolist())):
        of_kind = areas[names == name]
        levels[name] = DefectLevel(len(of_kind), dict(zip(limits, of_kind.mean(axis=0).tolist())))
    return levels
