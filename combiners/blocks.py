"""Transformation blocks: many extractors' feature maps -> one (after Heller et al., 2023).

- `GlobalBlock`: resize all maps to one grid -> concatenate the channels -> one PCA.
- `IndividualBlocks`: one PCA per extractor -> resize -> concatenate.
- `Concatenation`: resize -> concatenate, nothing learned but the scales.

Resizing and a given PCA commute (one acts on cells, the other on channels); the blocks differ in what the PCA learns
from.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from combiners.align import common_grid, resize
from combiners.pca import Moments, Projection, check_components, principal_components

Grid = tuple[int, int]


@dataclass(eq=False)
class Concatenation:
    """Resize to one grid and concatenate the channels."""

    grid: Grid | None = None
    """(h, w) of the result; None is the finest member's, up to 32 cells along the shorter side."""
    standardise: bool = True
    """Centre the channels and scale each extractor to a total variance of one."""
    projections_: tuple[Projection, ...] | None = field(default=None, init=False, repr=False)
    """One per extractor, set by fit."""

    def check(self) -> None:
        """Raise ValueError for parameters out of range."""
        _check_grid(self.grid)

    def fit(self, features: Iterable[Sequence[Tensor]]) -> Self:
        """Learn each extractor's mean and scale."""
        self.check()
        fitted = []
        for moments in _moments_each(features):
            scale = _block_scale(moments.covariance, [len(moments.mean)]) if self.standardise else None
            mean = moments.mean.float() if self.standardise else torch.zeros(len(moments.mean))
            matrix = torch.eye(len(mean)) if scale is None else scale.float().diag()
            fitted.append(Projection(mean, matrix))
        self.projections_ = tuple(fitted)
        return self

    def transform(self, features: Sequence[Tensor]) -> Tensor:
        """M tensors `[N, C_i, h_i, w_i]` -> `[N, sum of C_i, h, w]`."""
        return _each_then_concatenate(self, features)

    def state(self) -> dict[str, Tensor]:
        """Each extractor's mean and scale."""
        return _state(self)

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Take back what `state` gave."""
        self.projections_ = _restored(state)
        return self


@dataclass(eq=False)
class GlobalBlock:
    """Resize to one grid, concatenate, one PCA over all channels.

    Without `standardise` the extractor with the largest variance rules the components.
    """

    components: int | float = 0.99
    """Maps to keep: a count (all, where there are fewer channels), or a share of the variance in (0, 1]."""
    grid: Grid | None = None
    """(h, w) of the result; None is the finest member's, up to 32 cells along the shorter side."""
    standardise: bool = True
    """Scale each extractor to a total variance of one before the PCA: many channels have no more say."""
    whiten: bool = False
    """Give each component unit variance. Noise of one size then hides the small components, see docs/decisions."""
    projections_: tuple[Projection, ...] | None = field(default=None, init=False, repr=False)
    """One, set by fit."""

    def check(self) -> None:
        """Raise ValueError for parameters out of range."""
        check_components(self.components)
        _check_grid(self.grid)

    def fit(self, features: Iterable[Sequence[Tensor]]) -> Self:
        """Learn the components on the concatenated maps, that is on what is going to be transformed."""
        self.check()
        moments, channels = Moments(), []
        for members in _batches(features):
            channels = [maps.shape[1] for maps in members]
            moments.add(_concatenate(members, self.grid))
        covariance = moments.covariance
        scale = _block_scale(covariance, channels) if self.standardise else None
        count = _at_most(self.components, sum(channels))
        fitted = principal_components(moments.mean, covariance, count, whiten=self.whiten, scale=scale)
        self.projections_ = (fitted,)
        return self

    def transform(self, features: Sequence[Tensor]) -> Tensor:
        """M tensors `[N, C_i, h_i, w_i]` -> `[N, components, h, w]`."""
        (projection,) = _fitted(self)
        grid = self.grid or common_grid([maps.shape[2:] for maps in features])
        parts, start = [], 0
        for maps in features:  # the PCA on each member's own grid, where that is coarser, then the sum: it is linear
            rows = slice(start, start := start + maps.shape[1])
            parts.append(Projection(projection.mean[rows], projection.matrix[rows]))
        if start != len(projection.mean):
            raise ValueError(f"expected {len(projection.mean)} channels in all, got {start}")
        return torch.stack([resize(part(maps), grid) for part, maps in zip(parts, features)]).sum(0)

    def state(self) -> dict[str, Tensor]:
        """The projection."""
        return _state(self)

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Take back what `state` gave."""
        self.projections_ = _restored(state)
        return self


@dataclass(eq=False)
class IndividualBlocks:
    """One PCA per extractor on its own grid, resize, concatenate."""

    components: int | float = 0.99
    """Maps to keep of each extractor: a count (all of an extractor with fewer channels), or a share of its variance."""
    grid: Grid | None = None
    """(h, w) of the result; None is the finest member's, up to 32 cells along the shorter side."""
    standardise: bool = True
    """Scale each extractor to a total variance of one; without effect where `whiten` is on."""
    whiten: bool = False
    """Give each component unit variance. Noise of one size then hides the small components, see docs/decisions."""
    projections_: tuple[Projection, ...] | None = field(default=None, init=False, repr=False)
    """One per extractor, set by fit."""

    def check(self) -> None:
        """Raise ValueError for parameters out of range."""
        check_components(self.components)
        _check_grid(self.grid)

    def fit(self, features: Iterable[Sequence[Tensor]]) -> Self:
        """Learn each extractor's components."""
        self.check()
        fitted = []
        for moments in _moments_each(features):
            channels = len(moments.mean)
            scale = _block_scale(moments.covariance, [channels]) if self.standardise else None
            count = _at_most(self.components, channels)
            fitted.append(
                principal_components(moments.mean, moments.covariance, count, whiten=self.whiten, scale=scale)
            )
        self.projections_ = tuple(fitted)
        return self

    def transform(self, features: Sequence[Tensor]) -> Tensor:
        """M tensors `[N, C_i, h_i, w_i]` -> `[N, sum of components, h, w]`."""
        return _each_then_concatenate(self, features)

    def state(self) -> dict[str, Tensor]:
        """One projection per extractor."""
        return _state(self)

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Take back what `state` gave."""
        self.projections_ = _restored(state)
        return self


def _check_grid(grid: Grid | None) -> None:
    if grid is not None and min(grid) < 1:
        raise ValueError(f"expected a grid of at least 1 x 1 cells, got {grid[0]} x {grid[1]}")


def _batches(features: Iterable[Sequence[Tensor]]) -> Iterable[Sequence[Tensor]]:
    """The batches, and ValueError when there is none or when a batch has no member."""
    empty = True
    for members in features:
        empty = False
        if not members:
            raise ValueError("expected the features of at least one extractor, got none")
        yield members
    if empty:
        raise ValueError("expected features of normal images to fit on, got none")


def _moments_each(features: Iterable[Sequence[Tensor]]) -> list[Moments]:
    each: list[Moments] = []
    for members in _batches(features):
        each = each or [Moments() for _ in members]
        for moments, maps in zip(each, members, strict=True):
            moments.add(maps)
    return each


def _at_most(components: int | float, channels: int) -> int | float:
    """A count no larger than `channels`; a share as it is."""
    return min(components, channels) if isinstance(components, int) else components


def _block_scale(covariance: Tensor, channels: Sequence[int]) -> Tensor:
    """`[C]`: per extractor, one over the root of its total variance (block scaling, as in multi-block PCA)."""
    totals = [block.sum() for block in covariance.diagonal().split(list(channels))]
    tiny = torch.finfo(torch.float32).tiny
    return torch.cat([total.clamp(min=tiny).rsqrt().expand(count) for total, count in zip(totals, channels)])


def _concatenate(maps: Sequence[Tensor], grid: Grid | None) -> Tensor:
    grid = grid or common_grid([member.shape[2:] for member in maps])
    return torch.cat([resize(member, grid) for member in maps], dim=1)


Block = Concatenation | GlobalBlock | IndividualBlocks


def _fitted(block: Block) -> tuple[Projection, ...]:
    if block.projections_ is None:
        raise RuntimeError(f"{type(block).__name__} is not fitted: call fit(features) or restore(state) first")
    return block.projections_


def _each_then_concatenate(block: Block, features: Sequence[Tensor]) -> Tensor:
    projections = _fitted(block)
    if len(features) != len(projections):
        raise ValueError(f"expected the features of {len(projections)} extractors, got {len(features)}")
    return _concatenate([project(maps) for project, maps in zip(projections, features)], block.grid)


def _state(block: Block) -> dict[str, Tensor]:
    named = [projection.state(str(index)) for index, projection in enumerate(_fitted(block))]
    return {key: tensor for part in named for key, tensor in part.items()}


def _restored(state: Mapping[str, Tensor]) -> tuple[Projection, ...]:
    return tuple(Projection.restore(state, str(index)) for index in range(len(state) // 2))
