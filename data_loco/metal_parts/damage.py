"""Structural defects of a plate: what they take away, how they deform its surface, and where they are."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from data_loco.metal_parts.geometry import Array, Patch, disc, half_plane, segment


class Damage(Protocol):
    """Something that happened to a plate. Distances are signed, in mm, negative inside."""

    def carve(self, patch: Patch, metal: Array) -> Array:
        """Distance to the metal that is left of `metal` [h, w]."""

    def relief(self, patch: Patch) -> Array | float:
        """Change of the surface's height in mm, [h, w]."""

    def region(self, patch: Patch, metal: Array) -> Array:
        """Distance to the region an inspector would mark, where `metal` was the plate before."""


@dataclass(frozen=True)
class CutCorner:
    """A corner sawn off along a straight line."""

    normal: tuple[float, float]
    """Outward direction, of unit length."""
    offset: float
    """Distance of the cut from the plate's middle, in mm."""

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        half: tuple[float, float],
        legs: tuple[float, float],
        corners: tuple[tuple[int, int], ...] = ((-1, -1), (-1, 1), (1, -1), (1, 1)),
    ) -> "CutCorner":
        """One of the `corners` of a plate with half sides `half`, with cut lengths in the range `legs`."""
        signs, (p, q) = corners[rng.integers(len(corners))], rng.uniform(*legs, 2)
        return cls.at((signs[0] * half[0], signs[1] * half[1]), float(p), float(q))

    @classmethod
    def at(cls, corner: tuple[float, float], p: float, q: float) -> "CutCorner":
        """The corner at `corner`, cut `p` mm along the first axis and `q` mm along the second."""
        normal = np.array([np.sign(corner[0]) * q, np.sign(corner[1]) * p]) / np.hypot(p, q)
        offset = normal @ np.array([corner[0] - np.sign(corner[0]) * p, corner[1]])
        return cls((float(normal[0]), float(normal[1])), float(offset))

    def carve(self, patch: Patch, metal: Array) -> Array:
        """See `Damage`."""
        return np.maximum(metal, half_plane(patch.u, patch.v, self.normal, self.offset))

    def relief(self, patch: Patch) -> float:  # noqa: ARG002
        """See `Damage`: the surface stays as it was."""
        return 0.0

    def region(self, patch: Patch, metal: Array) -> Array:
        """See `Damage`."""
        return np.maximum(metal, -half_plane(patch.u, patch.v, self.normal, self.offset))


@dataclass(frozen=True)
class DamagedEdge:
    """An edge that was struck: a ragged bite, and crushed metal around it."""

    bites: NDArray[np.float64]
    """[n, 3], centre and radius of the dents in mm."""
    waves: NDArray[np.float64]
    """[n, 4], wave numbers (u, v) per mm, phase and share of the roughness."""

    CRUSHED = 1.5
    """Width in mm of the deformed rim around the bite."""

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        half: tuple[float, float],
        depth: tuple[float, float],
        edges: tuple[tuple[int, int], ...] = ((0, -1), (0, 1), (1, -1), (1, 1), (1, -1), (1, 1)),
    ) -> "DamagedEdge":
        """On one of the `edges` (axis, side) of a plate with half sides `half`, at most `depth` mm deep."""
        side, sign = edges[rng.integers(len(edges))]
        length = half[1 - side]
        middle, bites = rng.uniform(-0.7, 0.7) * length, []
        for _ in range(rng.integers(3, 6)):
            radius = rng.uniform(2.2, 4.5)
            reach = rng.uniform(0.45, 1.0) * rng.uniform(*depth)
            centre = [0.0, 0.0]
            centre[1 - side] = np.clip(middle + rng.normal(0, 2.2), -0.9 * length, 0.9 * length)
            centre[side] = sign * (half[side] + radius - reach)
            bites.append([*centre, radius])
        numbers = rng.normal(0, 3.0, (6, 2))
        waves = np.column_stack([numbers, rng.uniform(0, 2 * np.pi, 6), rng.uniform(0.5, 1, 6) / 6])
        return cls(np.array(bites), waves)

    def carve(self, patch: Patch, metal: Array) -> Array:
        """See `Damage`."""
        return np.maximum(metal, -self._bite(patch))

    def relief(self, patch: Patch) -> Array:
        """See `Damage`."""
        nearness = np.clip(1 - np.maximum(self._bite(patch), 0) / self.CRUSHED, 0, 1)
        return nearness * nearness * (0.7 * self._roughness(patch) - 0.35)

    def region(self, patch: Patch, metal: Array) -> Array:
        """See `Damage`."""
        return np.maximum(metal, self._bite(patch) - np.float32(0.75 * self.CRUSHED))

    def _bite(self, patch: Patch) -> Array:
        discs = [disc(patch.u, patch.v, (u, v), radius) for u, v, radius in self.bites]
        return np.min(discs, axis=0) + np.float32(0.5) * self._roughness(patch)

    def _roughness(self, patch: Patch) -> Array:
        total = np.zeros_like(patch.u)
        for ku, kv, phase, share in self.waves.astype(np.float32):
            total += share * np.sin(ku * patch.u + kv * patch.v + phase)
        return total


@dataclass(frozen=True)
class DeepScratch:
    """A groove with thrown-up borders."""

    points: NDArray[np.float64]
    """[n, 2] in mm."""
    width: float
    """Half width of the groove in mm where it is widest."""
    depth: float
    """In mm."""

    TAPER = (0.5, 0.85, 1.0, 1.0, 0.8, 0.45)
    """Width of the strokes it consists of, relative to the widest."""

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        half: tuple[float, float],
        lengths: tuple[float, float] = (16, 34),
        middle: tuple[float, float] = (0, 0),
    ) -> "DeepScratch":
        """Anywhere in the rectangle of half sides `half` around `middle`, in any direction that leaves it there."""
        length = rng.uniform(*lengths)
        steepest = min(1.2, np.arcsin(min(1.5 * half[1] / length, 1)))
        heading = rng.uniform(-steepest, steepest) + rng.normal(0, 0.06) * np.arange(6)
        steps = np.column_stack([np.cos(heading), np.sin(heading)]) * length / 6
        points = np.vstack([[0, 0], np.cumsum(steps, axis=0)])
        points -= points.mean(axis=0)
        room = np.maximum(np.array(half) - np.abs(points).max(axis=0) - 1, 0)
        points += rng.uniform(-1, 1, 2) * room + np.array(middle)
        return cls(points, rng.uniform(0.36, 0.48), rng.uniform(0.25, 0.36))

    def carve(self, patch: Patch, metal: Array) -> Array:  # noqa: ARG002
        """See `Damage`: nothing is taken away."""
        return metal

    def relief(self, patch: Patch) -> Array:
        """See `Damage`."""
        across = self._across(patch)
        groove, border = np.exp(-across * across), np.exp(-np.square((across - 1.7) / 0.6))
        return np.float32(self.depth) * (np.float32(0.4) * border - groove)

    def region(self, patch: Patch, metal: Array) -> Array:
        """See `Damage`."""
        return np.maximum(metal, (self._across(patch) - np.float32(2.4)) * np.float32(self.width))

    def _across(self, patch: Patch) -> Array:
        """Distance from the groove's middle line in units of its half width there."""
        points = [(float(u), float(v)) for u, v in self.points]
        strokes = zip(points[:-1], points[1:], self.TAPER)
        return np.min(
            [segment(patch.u, patch.v, start, end) / np.float32(self.width * taper) for start, end, taper in strokes],
            axis=0,
        )


@dataclass(frozen=True)
class BentCorner:
    """A corner that was bent up out of the plate's plane."""

    normal: tuple[float, float]
    """Outward direction, of unit length."""
    offset: float
    """Distance of the bend from the plate's middle, in mm."""
    slope: float
    """Of the bent part."""

    FILLET = 0.8
    """Half width of the bend in mm."""

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        half: tuple[float, float],
        legs: tuple[float, float],
        corners: tuple[tuple[int, int], ...],
    ) -> "BentCorner":
        """One of the `corners` of a plate with half sides `half`; `legs` as for `CutCorner`."""
        cut = CutCorner.draw(rng, half, legs, corners)
        return cls(cut.normal, cut.offset, rng.uniform(0.5, 0.8))

    def carve(self, patch: Patch, metal: Array) -> Array:  # noqa: ARG002
        """See `Damage`: nothing is taken away."""
        return metal

    def relief(self, patch: Patch) -> Array:
        """See `Damage`."""
        beyond = half_plane(patch.u, patch.v, self.normal, self.offset)
        smooth = np.square(np.maximum(beyond + self.FILLET, 0)) / np.float32(4 * self.FILLET)
        return np.float32(self.slope) * np.where(beyond < self.FILLET, smooth, beyond)

    def region(self, patch: Patch, metal: Array) -> Array:
        """See `Damage`."""
        beyond = half_plane(patch.u, patch.v, self.normal, self.offset) + np.float32(self.FILLET)
        return np.maximum(metal, -beyond)
