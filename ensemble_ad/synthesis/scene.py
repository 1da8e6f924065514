"""Normal pictures taken apart: components, bare ground, and what arrangements are normal."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np
import xxhash

from data_loco import Sample
from data_loco.loading import to_tensor
from ensemble_ad.synthesis.arrangement import Arrangements
from ensemble_ad.synthesis.edit import in_8_bits
from extractors.components import Components, Layout
from extractors.regions import Region

Group = tuple[int, bool]
"""What components lie on the same ground, and whether they stick out of something."""
KEPT = 16
"""Pictures whose layouts are kept in memory."""
MARGIN = 0.01
"""Share of the longer side by which bare ground keeps away from everything."""


@dataclass(frozen=True, eq=False)
class Scene:
    """One normal picture."""

    image: np.ndarray
    """RGB uint8 [H, W, 3]."""
    layout: Layout

    @cached_property
    def groups(self) -> dict[Group, list[Region]]:
        """The components that are of a kind."""
        found: dict[Group, list[Region]] = {}
        for region, kind in self.layout.components:
            if kind >= 0:
                found.setdefault((region.ground, region.protrudes), []).append(region)
        return found

    def bare(self, ground: int, without: Sequence[Region] = ()) -> np.ndarray:
        """Where nothing lies on a ground, bool [H, W], once some components are gone."""
        taken = ~self.layout.grounds[ground] | self.occupied(ground)
        for region in without:
            taken &= ~grown(region.full(taken.shape), self.pixels(MARGIN))
        return ~grown(taken, self.pixels(MARGIN))

    def occupied(self, ground: int) -> np.ndarray:
        """Where anything lies on a ground, of a kind or not, bool [H, W]."""
        taken = np.zeros(self.image.shape[:2], bool)
        for region, _ in self.layout.components:
            if region.ground == ground:
                taken[region.window] |= region.mask
        return taken

    def pixels(self, share: float) -> int:
        """A share of the longer side, at least 1 pixel."""
        return max(1, round(share * max(self.image.shape)))


@dataclass(eq=False)
class Scenes:
    """The pictures of a class, taken apart when they are asked for."""

    finder: Components
    normal: Mapping[Group, Arrangements]
    """Of training pictures."""
    samples: Sequence[Sample]
    """Where components of other pictures come from."""
    kept: OrderedDict[bytes, Scene] = field(default_factory=OrderedDict, repr=False)

    def of(self, image: np.ndarray) -> Scene:
        """Return the scene of a normal picture, RGB uint8 [H, W, 3]."""
        name = xxhash.xxh3_128_digest(image.tobytes())
        if name not in self.kept:
            self.kept[name] = Scene(image, self.finder.find(to_tensor(image)[None])[0])
            while len(self.kept) > KEPT:
                self.kept.popitem(last=False)
        self.kept.move_to_end(name)
        return self.kept[name]

    def another(self, rng: np.random.Generator) -> Scene:
        """Return one of the pictures at random."""
        return self.of(in_8_bits(self.samples[int(rng.integers(len(self.samples)))].image()))


def grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Bool [H, W], by a square of 2 * pixels + 1.

    >>> grown(np.array([[True, False, False]]), 1).tolist()
    [[True, True, False]]
    """
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * pixels + 1,) * 2, np.uint8)).astype(bool)
