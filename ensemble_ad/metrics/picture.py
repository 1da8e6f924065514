"""What the pixel metrics look at: one anomaly map together with its annotated regions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

GOOD = "good"
"""The kind of pictures without a defect; every other kind is an anomaly type."""


class Region(Protocol):
    """One annotated defect region; `data_loco.Defect` is one."""

    @property
    def name(self) -> str:
        """Defect kind, such as missing_hole."""

    @property
    def mask(self) -> np.ndarray:
        """Boolean [H, W]."""

    @property
    def saturation_area(self) -> int:
        """Pixels that have to be found until the region counts as found completely, >= 1."""


@dataclass(frozen=True, eq=False)
class ScoredPicture:
    """An anomaly map at its picture's original size, and what is wrong with the picture.

    `scores` becomes float32 where that is exact (float16, float32, up to 16-bit integers) and float64 otherwise.

    Raises:
        ValueError: scores that are not a finite [H, W] map, a mask of another size or without pixels, a good picture
            with regions, or a picture of an anomaly type without one.

    >>> ScoredPicture("good", "000", np.zeros((4, 6), np.uint8)).scores.dtype
    dtype('float32')
    """

    kind: str
    """"good", or the anomaly type."""
    name: str
    """What error messages call the picture."""
    scores: np.ndarray
    """[H, W], higher is more anomalous."""
    regions: Sequence[Region] = ()
    """The annotated regions, which may overlap."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "scores", self._checked_scores())
        if bool(self.regions) == (self.kind == GOOD):
            expected = "no region, it is good" if self.kind == GOOD else "at least one region, its mask is missing"
            raise ValueError(f"{self._title}: expected {expected}; got {len(self.regions)}")
        for region in self.regions:
            self._check_region(region)

    def defective(self) -> np.ndarray:
        """Boolean [H, W]: pixels inside any region. All others are defect-free, and a positive there is false."""
        union = np.zeros(self.scores.shape, bool)
        for region in self.regions:
            union |= region.mask
        return union

    def _checked_scores(self) -> np.ndarray:
        scores = np.asarray(self.scores)
        if scores.ndim != 2 or scores.size == 0 or scores.dtype.kind not in "fiub":
            raise ValueError(f"{self._title}: expected real scores [H, W], got {scores.dtype} {list(scores.shape)}")
        scores = scores.astype(np.promote_types(scores.dtype, np.float32), copy=False)
        finite = np.isfinite(scores)
        if not finite.all():
            raise ValueError(f"{self._title}: expected finite scores, got {np.sum(~finite)} that are NaN or infinite")
        return scores

    def _check_region(self, region: Region) -> None:
        if region.mask.shape != self.scores.shape:
            raise ValueError(
                f"{self._title}: expected a map of the picture's original size {list(region.mask.shape)}, "
                f"got {list(self.scores.shape)}"
            )
        if region.mask.dtype != bool or not region.mask.any():
            raise ValueError(f"{self._title}: the mask of {region.name!r} must be boolean and have at least one pixel")
        if region.saturation_area < 1:
            raise ValueError(f"{self._title}: {region.name!r} has saturation area {region.saturation_area}, not >= 1")

    @property
    def _title(self) -> str:
        return f"picture {self.kind}/{self.name}"
