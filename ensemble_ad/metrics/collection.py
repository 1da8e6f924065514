"""First pass over the pictures: the scores of defective pixels, region by region, and each picture's highest score."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from ensemble_ad.metrics.picture import ScoredPicture
from ensemble_ad.metrics.ranked import KEPT_WHEN_THINNED, RankedScores
from ensemble_ad.metrics.regions import component_scores, saturating_scores

EXACT_BYTES = 384 * 2**20
"""Defective scores up to this size are all kept, and every metric is exact."""


@dataclass(frozen=True)
class PictureSummary:
    """What the image level needs of a picture."""

    kind: str
    name: str
    maximum: float
    """Highest score of the map."""
    defects: frozenset[str]
    """Names of the defect kinds in the picture."""


@dataclass(frozen=True)
class RegionScores:
    """The highest scores of one region, as many as saturate it."""

    name: str
    saturation: int
    scores: RankedScores


@dataclass
class TypeScores:
    """The scores of one anomaly type's defective pixels, twice: by annotated region, and by connected component."""

    regions: list[RegionScores] = field(default_factory=list)
    components: list[RankedScores] = field(default_factory=list)

    def thresholds(self) -> np.ndarray:
        """[T] ascending and distinct: every score kept of a region or component."""
        parts = [component.values for component in self.components]
        if not all(component.complete for component in self.components):
            parts += [region.scores.values for region in self.regions]
        scores = np.concatenate(parts)
        scores.sort()
        first = np.ones(scores.size, bool)
        np.not_equal(scores[1:], scores[:-1], out=first[1:])
        return scores[first]

    def thinned(self, kept: int) -> "TypeScores":
        """The same with at most `kept` order statistics in place of the scores of each region and component."""
        regions = [replace(region, scores=region.scores.thinned(kept)) for region in self.regions]
        return TypeScores(regions, [component.thinned(kept) for component in self.components])

    @property
    def nbytes(self) -> int:
        """Memory of the scores."""
        regions = sum(region.scores.values.nbytes for region in self.regions)
        return regions + sum(component.values.nbytes for component in self.components)


@dataclass
class Collection:
    """Everything the first pass keeps."""

    types: dict[str, TypeScores] = field(default_factory=dict)
    pictures: list[PictureSummary] = field(default_factory=list)
    pixels: int = 0
    """Of all pictures together."""


def collect(
    pictures: Iterable[ScoredPicture], exact_bytes: int = EXACT_BYTES, thinned_to: int = KEPT_WHEN_THINNED
) -> Collection:
    """Keep the scores of defective pixels: all of them up to `exact_bytes`, beyond it `thinned_to` of each region."""
    collection = Collection()
    size, thinning = 0, False
    for picture in pictures:
        collection.pixels += picture.scores.size
        names = frozenset(region.name for region in picture.regions)
        maximum = float(picture.scores.max())
        collection.pictures.append(PictureSummary(picture.kind, picture.name, maximum, names))
        if not picture.regions:
            continue
        found = _scores_of(picture)
        size += found.nbytes
        if size > exact_bytes and not thinning:
            thinning = True
            collection.types = {kind: scores.thinned(thinned_to) for kind, scores in collection.types.items()}
        found = found.thinned(thinned_to) if thinning else found
        known = collection.types.setdefault(picture.kind, TypeScores())
        known.regions += found.regions
        known.components += found.components
    return collection


def _scores_of(picture: ScoredPicture) -> TypeScores:
    regions = [
        RegionScores(region.name, region.saturation_area, saturating_scores(picture.scores, region))
        for region in picture.regions
    ]
    return TypeScores(regions, component_scores(picture.scores, picture.defective()))
