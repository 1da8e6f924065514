"""Is this arrangement of components one that normal pictures show? An edit that leads to such a one is no anomaly.

A screw may lie anywhere in its compartment, two finishes of a bolt may take turns: without labels only the normal
pictures can say so. An arrangement is compared with each of theirs component by component.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from extractors.regions import Region

PLACE = 0.1
"""Share of the picture's longer side that counts as one step between two places."""
AREA = 0.15
"""Difference of log area that does."""
COLOUR = 15.0
"""Levels of 255, in Lab, that do."""
HEAVY = 0.03
"""Distance from the middle of a component's rectangle to its centre of mass, as a share of the longer side, that does:
which end is the thick one."""
LOOKS = 10.0
"""Root mean square levels of 255 between two thumbnails that do."""
THUMBNAIL = 8
"""Pixels along each side of a component's thumbnail."""
NEIGHBOURS = 0.05
"""The distance to the normal pictures is that to the nearest but so many of them: a few were taken in wrongly."""
NORMAL = 0.95
"""Share of the normal pictures that are nearer to the others than what counts as an anomaly."""

SELDOM = 0.1
"""Share of the normal pictures below which a number of components counts as a slip of the finder."""
CLEARLY = 1.5
"""How many times as far away an anomaly must be: an editor is asked until it succeeds, and would find flukes."""

Arrangement = np.ndarray
"""float [components, D]: place, area, colour, heavier side and looks of each, in steps."""
PLAIN = 8
"""Columns of all but the looks."""
VIEWS = (slice(PLAIN), slice(None))
"""Columns that are compared: without and with the looks, which hide the rest where parts lie any way round."""


def arrangement(regions: Sequence[Region], lab: np.ndarray) -> Arrangement:
    """Describe some regions of one picture, Lab uint8 [H, W, 3]."""
    rows = [_row(region, lab) for region in regions]
    return np.stack(rows) if rows else np.zeros((0, PLAIN + THUMBNAIL**2))


def _row(region: Region, lab: np.ndarray) -> np.ndarray:
    place = np.array(region.centre) / max(lab.shape[:2]) / PLACE
    looks = cv2.resize(lab[region.window][..., 0], (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    area, colour = region.signature[:1] / AREA, region.signature[2:] / COLOUR
    return np.concatenate([place, area, colour, _heavier_side(region) / HEAVY, looks.ravel() / (LOOKS * THUMBNAIL)])


def _heavier_side(region: Region) -> np.ndarray:
    """(y, x) from the middle of the rectangle to the centre of mass, as a share of the longer side."""
    middle = [(part.start + part.stop - 1) / 2 for part in region.window]
    return (np.array(region.centre) - middle) / max(region.mask.shape)


def distance(one: Arrangement, other: Arrangement) -> float:
    """Steps between the two components that differ most when all are matched; infinite where their numbers differ.

    >>> distance(np.array([[0.0], [5.0]]), np.array([[6.0], [0.0]]))
    1.0
    """
    if len(one) != len(other):
        return np.inf
    if not len(one):
        return 0.0
    squares = np.square(one[:, None] - other).sum(axis=2)
    return float(np.sqrt(squares[linear_sum_assignment(squares)].max()))


@dataclass(frozen=True, eq=False)
class Arrangements:
    """Those of the normal pictures."""

    normal: Sequence[Arrangement] = field(repr=False)

    def is_novel(self, edited: Arrangement) -> bool:
        """Whether `edited` is clearly farther from the normal pictures than they are from one another, in any view."""
        apart = (_distance_to(edited[:, view], [own[:, view] for own in self.usual]) for view in VIEWS)
        return any(steps > CLEARLY * limit for steps, limit in zip(apart, self.thresholds))

    @cached_property
    def usual(self) -> list[Arrangement]:
        """The normal pictures with as many components as at least a tenth of them has."""
        counts = Counter(len(own) for own in self.normal)
        return [own for own in self.normal if counts[len(own)] >= SELDOM * len(self.normal)]

    @cached_property
    def thresholds(self) -> list[float]:
        """By view, what 95 % of the usual pictures with a finite distance to the others stay below; 0 without any."""
        return [_threshold([own[:, view] for own in self.usual]) for view in VIEWS]


def _threshold(normal: Sequence[Arrangement]) -> float:
    others = [[*normal[:place], *normal[place + 1 :]] for place in range(len(normal))]
    apart = [_distance_to(own, rest) for own, rest in zip(normal, others)]
    finite = [steps for steps in apart if np.isfinite(steps)]
    return float(np.quantile(finite, NORMAL)) if finite else 0.0


def _distance_to(own: Arrangement, others: Sequence[Arrangement]) -> float:
    """Steps to the nearest of the others but a few; infinite where hardly any has as many components."""
    place = round(NEIGHBOURS * len(others))
    apart = sorted(distance(own, other) for other in others)
    return apart[min(place, len(apart) - 1)] if apart else np.inf
