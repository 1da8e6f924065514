"""Second pass over the pictures: all scores of a type, counted at the thresholds where its curves can rise."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ensemble_ad.metrics.collection import Collection
from ensemble_ad.metrics.picture import GOOD, ScoredPicture
from ensemble_ad.metrics.survival import Survival

CHUNK = 2**25
"""Scores that are sorted and counted at once."""


@dataclass(frozen=True)
class Counts:
    """The scores of one anomaly type at common thresholds."""

    negatives: Survival
    """Defect-free pixels of its pictures and of all good ones."""
    positives: Survival
    """Pixels inside any region of its pictures."""


def count(pictures: Iterable[ScoredPicture], collection: Collection, chunk: int = CHUNK) -> dict[str, Counts]:
    """Counts per anomaly type. Scores wait until there are `chunk` of one sort, are counted, and forgotten.

    Raises:
        ValueError: a type without a defect-free pixel, which has no false positive rate.
    """
    counts = {}
    for kind, found in collection.types.items():
        thresholds = found.thresholds()
        counts[kind] = Counts(*(Survival(thresholds, collection.pixels) for _ in range(2)))
    for kind, defective, scores in _chunks(pictures, chunk):
        for counted in counts if kind == GOOD else [kind]:
            (counts[counted].positives if defective else counts[counted].negatives).add(scores)
    for kind, counted_type in counts.items():
        if counted_type.negatives.total == 0:
            raise ValueError(f"{kind}: expected a defect-free pixel in its pictures or in good ones, got none")
    return counts


def _chunks(pictures: Iterable[ScoredPicture], size: int) -> Iterator[tuple[str, bool, np.ndarray]]:
    """Kind of the pictures, whether the scores are of defective pixels, and the scores, ascending."""
    waiting: dict[tuple[str, bool], list[np.ndarray]] = {}
    for picture in pictures:
        for defective, scores in _split(picture):
            parts = waiting.setdefault((picture.kind, defective), [])
            parts.append(scores)
            if sum(part.size for part in parts) >= size:
                yield picture.kind, defective, _sorted(waiting.pop((picture.kind, defective)))
    for kind, defective in list(waiting):
        yield kind, defective, _sorted(waiting.pop((kind, defective)))


def _split(picture: ScoredPicture) -> Iterator[tuple[bool, np.ndarray]]:
    """The scores of a picture's defect-free pixels and of its defective ones."""
    if picture.kind == GOOD:
        # A copy: the caller may draw the next map into the same memory.
        yield False, picture.scores.flatten()
        return
    defective = picture.defective()
    yield False, picture.scores[~defective]
    yield True, picture.scores[defective]


def _sorted(parts: list[np.ndarray]) -> np.ndarray:
    scores = np.concatenate(parts)
    parts.clear()
    scores.sort()
    return scores
