"""Logical anomalies: components that are missing, too many, in the wrong place, of the wrong kind, size or side.

An edit is made only where it leads to an arrangement that no normal picture shows (`arrangement.py`); otherwise the
editor answers None and is asked again.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import hypot

import numpy as np

from ensemble_ad.synthesis.arrangement import arrangement
from ensemble_ad.synthesis.draft import Draft, Part, cut, turned
from ensemble_ad.synthesis.edit import Edit, lab_of
from ensemble_ad.synthesis.scene import Scenes
from extractors.regions import Region

Generator = np.random.Generator
Range = tuple[float, float]

TURNS = 6
"""Angles that are tried where a part has no room as it lies."""


@dataclass(frozen=True)
class Logical(ABC):
    """Picks a group of components of a picture, changes it, and looks whether normal pictures show the like.

    A group is picked as often as it has components: a sheet with fourteen holes is not itself every other anomaly.
    """

    scenes: Scenes = field(repr=False)

    def __call__(self, image: np.ndarray, rng: Generator) -> Edit | None:
        """Edit `image` once; None where it has no components, or the draw found no place or no anomaly."""
        scene = self.scenes.of(image)
        owners = [group for group in sorted(scene.groups) for _ in scene.groups[group]]
        if not owners:
            return None
        group = owners[int(rng.integers(len(owners)))]
        normal, draft = self.scenes.normal[group], Draft(scene, group)
        if normal.is_novel(arrangement(draft.regions, lab_of(image))) or not self.change(draft, rng):
            return None
        return draft.edit if normal.is_novel(arrangement(draft.regions, lab_of(draft.image))) else None

    @abstractmethod
    def change(self, draft: Draft, rng: Generator) -> bool:
        """Edit the draft; False where that is not possible."""


class Missing(Logical):
    """A component is gone. Mask: the component."""

    def change(self, draft: Draft, rng: Generator) -> bool:
        """Erase one."""
        return draft.erase(_one(draft.regions, rng), rng)


class Additional(Logical):
    """A component is there twice, the second time on bare ground. Mask: the second one."""

    def change(self, draft: Draft, rng: Generator) -> bool:
        """Paste a copy of one."""
        for part in _turns(cut(draft.scene, _one(draft.regions, rng)), rng):
            for place in draft.room(part, rng, 1):
                return draft.paste(part, place)
        return False


@dataclass(frozen=True)
class Moved(Logical):
    """A component lies elsewhere. Mask: where it is and where it was; one of the two is enough."""

    distance: float = 0.1
    """At least, as a share of the picture's longer side."""

    def change(self, draft: Draft, rng: Generator) -> bool:
        """Erase one and paste it far enough away."""
        region = _one(draft.regions, rng)
        (y, x), far = region.centre, self.distance * max(draft.image.shape)
        for part in _turns(cut(draft.scene, region), rng):
            places = [place for place in draft.room(part, rng, 8) if hypot(place[0] - y, place[1] - x) >= far]
            if places:
                return draft.erase(region, rng) and draft.paste(part, places[0])
        return False


class Swapped(Logical):
    """Two components have changed places. Mask: both places."""

    def change(self, draft: Draft, rng: Generator) -> bool:
        """Erase two and paste each where the other was."""
        if len(draft.regions) < 2:
            return False
        first, second = (draft.regions[place] for place in rng.choice(len(draft.regions), 2, replace=False))
        parts = [(cut(draft.scene, second), first.centre), (cut(draft.scene, first), second.centre)]
        return all(draft.erase(region, rng) for region in (first, second)) and all(draft.paste(*part) for part in parts)


@dataclass(frozen=True)
class Exchanged(Logical):
    """Another picture's component is in a component's place. Mask: both outlines together."""

    comparable: float = 4.0
    """By how many times one may be larger than the other: a hole is no substitute for a bright edge."""

    def change(self, draft: Draft, rng: Generator) -> bool:
        """Replace one by one of the same group of another picture."""
        scene, region = self.scenes.another(rng), _one(draft.regions, rng)
        area = np.count_nonzero(region.mask)
        sizes = [(other, np.count_nonzero(other.mask) / area) for other in scene.groups.get(draft.group, [])]
        others = [other for other, ratio in sizes if 1 / self.comparable <= ratio <= self.comparable]
        return bool(others) and _replace(draft, region, cut(scene, _one(others, rng)), rng)


class Mirrored(Logical):
    """A component is the wrong way round. Mask: both outlines together."""

    def change(self, draft: Draft, rng: Generator) -> bool:
        """Mirror one about its longer or its shorter axis."""
        region = _one(draft.regions, rng)
        axis = _axes(region)[int(rng.integers(2))]
        return _replace(draft, region, turned(cut(draft.scene, region), np.eye(2) - 2 * np.outer(axis, axis)), rng)


@dataclass(frozen=True)
class Scaled(Logical):
    """A component is too small or too large. Mask: both outlines together."""

    smaller: Range = (0.6, 0.8)
    larger: Range = (1.25, 1.5)

    def change(self, draft: Draft, rng: Generator) -> bool:
        """Shrink or enlarge one about its centre."""
        region = _one(draft.regions, rng)
        factor = rng.uniform(*(self.smaller if rng.random() < 0.5 else self.larger))
        return _replace(draft, region, turned(cut(draft.scene, region), factor * np.eye(2)), rng)


LOGICAL_EDITORS: dict[str, type[Logical]] = {
    "missing": Missing,
    "additional": Additional,
    "moved": Moved,
    "swapped": Swapped,
    "exchanged": Exchanged,
    "mirrored": Mirrored,
    "scaled": Scaled,
}


def _one(regions: list[Region], rng: Generator) -> Region:
    return regions[int(rng.integers(len(regions)))]


def _turns(part: Part, rng: Generator) -> Iterator[Part]:
    """A part as it lies, then turned by some angles: what has no room one way may have it another way."""
    yield part
    for angle in rng.uniform(0, 2 * np.pi, TURNS):
        yield turned(part, np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]))


def _replace(draft: Draft, region: Region, part: Part, rng: Generator) -> bool:
    middle = region.centre
    return draft.erase(region, rng, draft.covered(part, middle)) and draft.paste(part, middle)


def _axes(region: Region) -> np.ndarray:
    """The directions (x, y) of a region's longer and shorter axis, as rows."""
    _, vectors = np.linalg.eigh(np.cov(np.argwhere(region.mask).T, bias=True).reshape(2, 2))
    return vectors.T[::-1, ::-1]
