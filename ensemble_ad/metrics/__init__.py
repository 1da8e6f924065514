"""Image and pixel metrics of anomaly detection, exact at every distinct score. Higher scores are more anomalous."""

from ensemble_ad.metrics.curves import Curve
from ensemble_ad.metrics.picture import GOOD, Region, ScoredPicture
from ensemble_ad.metrics.pixel_level import (
    LIMITS,
    PRO_LIMITS,
    DefectLevel,
    PixelLevel,
    au_pro,
    au_spro,
    evaluate_pixels,
)
from ensemble_ad.metrics.ranking import auroc, average_precision, f1_max

__all__ = [
    "GOOD",
    "LIMITS",
    "PRO_LIMITS",
    "Curve",
    "DefectLevel",
    "PixelLevel",
    "Region",
    "ScoredPicture",
    "au_pro",
    "au_spro",
    "auroc",
    "average_precision",
    "evaluate_pixels",
    "f1_max",
]
