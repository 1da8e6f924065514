"""What should be here, given the rest of the picture? Each part is predicted from the others by ridge regression."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from combiners.pca import Moments, principal_components
from extractors.ranges import check_range
from scorers.pyramid import block_numbers
from scorers.whole_picture import WholePicture, check_grid

RIDGES = tuple(10.0**power for power in range(-2, 6))
"""Penalties to choose among, in units of the contexts' mean squared length; leave-one-out error decides."""


@dataclass(eq=False)
class ContextRegression(WholePicture):
    """Mahalanobis distance between what a block shows and what the rest of the picture lets expect.

    Features are whitened and averaged over the blocks of several levels. For each cell of a coarse grid, a ridge
    regression predicts all blocks in it (or, of a level coarser than the grid, the block that holds it) from the grid's
    other cells. Residuals of training pictures are leave-one-out, in closed form, so that they are as large as those of
    new pictures; each position has its own covariance of them.
    """

    components: int = 32
    """Principal components of the features that are predicted and predicted from."""
    levels: tuple[int, ...] = (2, 4, 8, 16)
    """Blocks per side of each level that is predicted."""
    context: int = 4
    """Cells per side of the grid that is predicted from."""
    matrix_: Tensor = field(init=False, repr=False)
    """`[C, K]`: whitens features, set by fit."""
    weights_: Tensor = field(init=False, repr=False)
    """`[1 + K * context²]` rows for each block and component, set by fit."""
    precisions_: Tensor = field(init=False, repr=False)
    """`[blocks, K, K]`: inverse covariances of the residuals, set by fit."""
    usual_: Tensor = field(init=False, repr=False)
    """`[levels, 4]`: mean and deviation of a block's distance, and of the largest, in normal pictures; set by fit."""
    grid_: Tensor = field(init=False, repr=False)
    """(h, w) of the features learned from, set by fit."""

    def check_parameters(self) -> None:
        """Raise ValueError for parameters out of range."""
        check_range(self, "components", least=1)
        check_range(self, "levels", "context", least=2)

    def learn(self, features: Tensor) -> None:
        """Learn from features `[N, C, h, w]` of normal pictures; raises ValueError for fewer than three."""
        if len(features) < 3:
            raise ValueError(f"expected at least three normal pictures to fit on, got {len(features)}")
        least = min(features.shape[2:])
        if max(*self.levels, self.context) > least:
            raise ValueError(f"expected levels and context of at most {least}, the picture's cells, got {self.levels}")
        moments = Moments()
        moments.add(features)
        count = min(self.components, features.shape[1])
        projection = principal_components(moments.mean, moments.covariance, count, whiten=True)
        self.grid_, self.matrix_ = torch.tensor(features.shape[2:]), projection.matrix
        context, blocks = self._pooled(features)
        self.weights_, residuals = _leave_one_out(context, blocks, self.levels, self.context)
        self.precisions_ = torch.stack([_precision(rows) for rows in residuals.unbind(1)])
        self.usual_ = torch.stack([_usual(level) for level in self._distances(residuals)])

    def judge(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features `[N, C, h, w]` -> scores of cells `[N, h, w]` and of pictures `[N]`."""
        check_grid(features, self.grid_.tolist())
        context, blocks = self._pooled(features)
        rows = F.pad(context.flatten(1), (1, 0), value=1.0)
        residuals = blocks - (rows @ self.weights_).view_as(blocks)
        cells, scores = torch.zeros(len(features), *features.shape[2:]), torch.zeros(len(features))
        for level, usual in zip(self._distances(residuals), self.usual_):
            standard = ((level - usual[0]) / usual[1])[:, None]
            cells += F.interpolate(standard, features.shape[2:], mode="bilinear", align_corners=False)[:, 0]
            scores += (level.flatten(1).amax(1) - usual[2]) / usual[3]
        return cells / len(self.levels), scores / len(self.levels)

    def _pooled(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """`[N, C, h, w]` -> the context `[N, context², K]` and the blocks of all levels `[N, blocks, K]`."""
        reduced = (self.matrix_.T @ features.flatten(2)).unflatten(2, features.shape[2:])
        pooled = [
            F.adaptive_avg_pool2d(reduced, side).flatten(2).transpose(1, 2) for side in (self.context, *self.levels)
        ]
        return pooled[0], torch.cat(pooled[1:], dim=1)

    def _distances(self, residuals: Tensor) -> list[Tensor]:
        """Residuals `[N, blocks, K]` -> per level distances `[N, side, side]`."""
        found = torch.einsum("nbk,bkl,nbl->nb", residuals, self.precisions_, residuals).clamp(min=0).sqrt()
        parts = found.split([side * side for side in self.levels], dim=1)
        return [part.unflatten(1, (side, side)) for part, side in zip(parts, self.levels)]


def _leave_one_out(context: Tensor, blocks: Tensor, levels: Sequence[int], side: int) -> tuple[Tensor, Tensor]:
    """Context `[N, side², K]`, blocks `[N, B, K]` -> weights `[1 + side² K, B K]`, left-out residuals `[N, B, K]`."""
    count, _, width = context.shape
    weights = torch.zeros(1 + side * side * width, blocks.shape[1], width)
    residuals = torch.empty_like(blocks)
    seen = torch.cat([_hidden(level, side) for level in levels]).logical_not()
    for visible in seen.unique(dim=0):
        which = (seen == visible).all(1)
        inputs, targets = context[:, visible].flatten(1).double(), blocks[:, which].flatten(1).double()
        found, left = _ridge(inputs, targets)
        rows = torch.cat([torch.ones(1, dtype=torch.bool), visible.repeat_interleave(width)])
        weights[rows[:, None] & which[None]] = found.float().view(-1, width)
        residuals[:, which] = left.float().view(count, -1, width)
    return weights.flatten(1), residuals


def _hidden(level: int, side: int) -> Tensor:
    """`[level², side²]`, True or False: which cells of the context grid a block overlaps; they may not predict it."""
    fine = level * side
    coarse, own = block_numbers((fine, fine), side), block_numbers((fine, fine), level)
    hidden = torch.zeros(level * level, side * side, dtype=torch.bool)
    hidden[own, coarse] = True
    return hidden


def _ridge(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """`[N, D]`, `[N, T]` -> weights `[1 + D, T]`, the intercept first, and leave-one-out residuals `[N, T]`.

    A hat matrix H gives residuals without refitting: (y - H y)_n / (1 - H_nn), exactly.
    """
    count = len(inputs)
    means, centred = inputs.mean(0), inputs - inputs.mean(0)
    goal, offset = targets - targets.mean(0), targets.mean(0)
    values, vectors = torch.linalg.eigh(centred @ centred.T)
    values = values.clamp(min=0)
    turned = vectors.T @ goal
    best: tuple[float, float, Tensor] | None = None
    for ridge in (float(values.mean()) * share for share in RIDGES):
        kept = values / (values + ridge)
        leverage = 1 / count + (vectors.square() * kept).sum(1)
        left = (goal - vectors @ (kept[:, None] * turned)) / (1 - leverage).clamp(min=1e-6)[:, None]
        error = float(left.square().sum())
        if best is None or error < best[0]:
            best = (error, ridge, left)
    assert best
    weights = centred.T @ (vectors @ (turned / (values + best[1])[:, None]))
    return torch.cat([(offset - means @ weights)[None], weights]), best[2]


def _precision(rows: Tensor) -> Tensor:
    """Residuals `[N, K]` of one block -> inverse covariance about zero `[K, K]`, shrunk as Ledoit and Wolf do."""
    from sklearn.covariance import ledoit_wolf  # takes a second, which only a fit need wait for

    covariance, _ = ledoit_wolf(rows.double().numpy(), assume_centered=True)
    return torch.linalg.pinv(torch.from_numpy(covariance), hermitian=True).float()


def _usual(distances: Tensor) -> Tensor:
    """`[N, side, side]` -> mean and deviation over all blocks, mean and deviation of the largest of a picture."""
    largest = distances.flatten(1).amax(1)
    tiny = torch.finfo(distances.dtype).tiny
    return torch.stack([distances.mean(), distances.std() + tiny, largest.mean(), largest.std() + tiny])
