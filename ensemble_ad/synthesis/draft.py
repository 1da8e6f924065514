"""A picture while its components are edited: erased into the ground, pasted onto it, with borders that do not show."""

from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np

from ensemble_ad.synthesis.edit import Edit, lab_of, window
from ensemble_ad.synthesis.filling import filled
from ensemble_ad.synthesis.room import free_corners
from ensemble_ad.synthesis.scene import Group, Scene, grown
from extractors.regions import Region, Shape, described

GROW, SOFT = 0.004, 0.004
"""What is laid over a component covers so much around it, then fades out over so much; shares of the longer side."""
GAIN = 1.3
"""By which the light may differ between two places."""
DARK = 8.0
"""Levels of 255 of which nobody knows whether they are light or noise."""

Window = tuple[slice, slice]


class Part(NamedTuple):
    """A component cut out of its picture, with some of the ground around it."""

    image: np.ndarray
    """RGB float32 [h, w, 3]."""
    mask: np.ndarray
    """bool [h, w]: the component."""
    ground: np.ndarray
    """float [3]: mean colour of the ground around it."""


@dataclass(eq=False)
class Draft:
    """One picture and the components of one group."""

    scene: Scene
    group: Group
    image: np.ndarray = field(init=False, repr=False)
    """RGB uint8 [H, W, 3]."""
    changed: np.ndarray = field(init=False, repr=False)
    """bool [H, W]"""
    regions: list[Region] = field(init=False, repr=False)
    """The group's components as they now are."""

    def __post_init__(self) -> None:
        self.image, self.changed = self.scene.image.copy(), np.zeros(self.scene.image.shape[:2], bool)
        self.regions = list(self.scene.groups[self.group])
        self._gone: list[Region] = []
        self._pasted = np.zeros_like(self.changed)

    @property
    def bare(self) -> np.ndarray:
        """Where the group's ground is free, bool [H, W]."""
        return self.scene.bare(self.group[0], self._gone) & ~self._pasted

    @property
    def edit(self) -> Edit:
        """What has been done so far."""
        return Edit(self.image, self.changed)

    def erase(self, region: Region, rng: np.random.Generator, covered: np.ndarray | None = None) -> bool:
        """Fill a component with ground, except where something else is going to cover it; False where nothing fits.

        See `filling.filled`.
        """
        place = _around(self.scene, region)
        size = self.changed.shape
        weight = _weight(region.full(size)[place], self.scene)
        weight[(self.scene.occupied(self.group[0]) & ~region.full(size))[place]] = 0
        if covered is not None:
            weight[covered[place]] = 0
        bare = self.bare
        self.regions = [other for other in self.regions if other is not region]
        self._gone.append(region)
        gap = weight > 0
        if not gap.any():
            return True
        ring = grown(gap, 3) & ~gap & self.scene.layout.grounds[self.group[0]][place]
        filling = filled(self.image, bare, place, gap, ring, rng)
        if filling is not None:
            self._lay(place, filling, weight)
        return filling is not None

    def paste(self, part: Part, middle: tuple[float, float]) -> bool:
        """Lay a component with its centre of mass at `middle` (y, x); False where that is not all bare ground."""
        place = self.target(part, middle)
        if place is None:
            return False
        weight, bare = _weight(part.mask, self.scene), self.bare[place]
        if (~bare & (weight > 0)).any():
            return False
        ring = bare & (weight == 0)
        here = self.image[place][ring].mean(axis=0) if ring.any() else part.ground
        self._lay(place, part.image * _gain(part.ground, here), weight)
        self._pasted[place] |= weight > 0
        inside = window(part.mask)
        shape = Shape(place[0].start + inside[0].start, place[1].start + inside[1].start, part.mask[inside])
        self.regions.append(described(shape, lab_of(self.image), ground=self.group[0], protrudes=self.group[1]))
        return True

    def target(self, part: Part, middle: tuple[float, float]) -> Window | None:
        """Return where `paste` would lay a part; None where that is partly outside the picture."""
        y, x = centre(part.mask)
        top, left = round(middle[0] - y), round(middle[1] - x)
        bottom, right = top + part.mask.shape[0], left + part.mask.shape[1]
        inside = top >= 0 and left >= 0 and bottom <= self.changed.shape[0] and right <= self.changed.shape[1]
        return (slice(top, bottom), slice(left, right)) if inside else None

    def covered(self, part: Part, middle: tuple[float, float]) -> np.ndarray:
        """Return what `paste` would hide entirely, bool [H, W]."""
        hidden, place = np.zeros_like(self.changed), self.target(part, middle)
        if place is not None:
            hidden[place] = _weight(part.mask, self.scene) >= 1
        return hidden

    def room(self, part: Part, rng: np.random.Generator, count: int) -> list[tuple[float, float]]:
        """Return up to `count` places (y, x) at random where a part's centre of mass can lie on bare ground."""
        y, x = centre(part.mask)
        corners = free_corners(self.bare, _weight(part.mask, self.scene) > 0, rng, count)
        return [(top + y, left + x) for top, left in corners]

    def _lay(self, place: Window, content: np.ndarray, weight: np.ndarray) -> None:
        share = weight[..., None]
        mixed = np.rint(share * content + (1 - share) * self.image[place]).clip(0, 255).astype(np.uint8)
        self.image[place] = np.where(share > 0, mixed, self.image[place])
        self.changed[place] |= weight > 0


def cut(scene: Scene, region: Region) -> Part:
    """Return a component of a picture."""
    place = _around(scene, region)
    mask, image = region.full(scene.image.shape[:2])[place], scene.image[place].astype(np.float32)
    ring = ~grown(mask, scene.pixels(GROW)) & scene.layout.grounds[region.ground][place]
    return Part(image, mask, image[ring if ring.any() else ~mask].mean(axis=0))


def turned(part: Part, matrix: np.ndarray) -> Part:
    """Apply a linear map [2, 2] of (x, y) about the component's centre of mass: a mirror, a scale, a rotation."""
    y, x = centre(part.mask)
    height, width = part.mask.shape
    corners = np.array([[-x, -y], [width - x, -y], [-x, height - y], [width - x, height - y]]) @ matrix.T
    low, high = corners.min(axis=0), corners.max(axis=0)
    size = tuple(int(length) for length in np.ceil(high - low))
    affine = np.column_stack([matrix, -low - matrix @ np.array([x, y])])
    image = cv2.warpAffine(part.image, affine, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpAffine(part.mask.astype(np.float32), affine, size) > 0.5
    return Part(image, mask, part.ground)


def centre(mask: np.ndarray) -> tuple[float, float]:
    """(y, x) of the centre of mass of bool [h, w].

    >>> centre(np.array([[True, False, True]]))
    (0.0, 1.0)
    """
    y, x = np.nonzero(mask)
    return float(y.mean()), float(x.mean())


def _around(scene: Scene, region: Region) -> Window:
    """A window with room for what is laid over a component, as far as the picture goes."""
    margin = 2 * (scene.pixels(GROW) + scene.pixels(SOFT)) + 3
    rows, columns = (
        slice(max(0, part.start - margin), min(limit, part.stop + margin))
        for part, limit in zip(region.window, scene.image.shape)
    )
    return rows, columns


def _weight(mask: np.ndarray, scene: Scene) -> np.ndarray:
    """Float32 [h, w]: 1 on a component and close to it, then falling to 0."""
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    reach, soft = scene.pixels(GROW) + scene.pixels(SOFT) + 1, scene.pixels(SOFT) + 1
    return np.asarray(((reach - away) / soft).clip(0, 1))


def _gain(there: np.ndarray, here: np.ndarray) -> np.ndarray:
    """What a part's colours are multiplied by when its ground is float [3] `there` and the ground around it `here`."""
    return ((here + DARK) / (there + DARK)).clip(1 / GAIN, GAIN)
