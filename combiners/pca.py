"""Principal components over channels, in one streaming float64 pass."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


class Moments:
    """Mean and covariance over the cells of feature maps, added up block by block.

    Sums are taken about the first block's mean, so that large means cost no digits.
    """

    def __init__(self) -> None:
        self.count = 0
        self.shift = torch.empty(0)
        self.first = torch.empty(0)
        self.second = torch.empty(0)

    def add(self, maps: Tensor) -> None:
        """Add `[N, C, h, w]`."""
        rows = maps.permute(0, 2, 3, 1).flatten(0, 2).double()
        if self.count == 0:
            self.shift = rows.mean(0)
            self.first = torch.zeros_like(self.shift)
            self.second = torch.zeros(len(self.shift), len(self.shift), dtype=torch.float64)
        if rows.shape[1] != len(self.shift):
            raise ValueError(f"expected {len(self.shift)} channels as before, got {rows.shape[1]}")
        rows = rows - self.shift
        self.count += len(rows)
        self.first += rows.sum(0)
        self.second.addmm_(rows.T, rows)

    @property
    def mean(self) -> Tensor:
        """`[C]`."""
        return self.shift + self.first / self.count

    @property
    def covariance(self) -> Tensor:
        """`[C, C]`, divided by count - 1 as scikit-learn does."""
        if self.count < 2:
            raise ValueError(f"expected features of at least two cells to fit on, got {self.count}")
        centre = self.first / self.count
        return (self.second - self.count * torch.outer(centre, centre)) / (self.count - 1)


@dataclass(frozen=True)
class Projection:
    """An affine map over channels: `(x - mean) @ matrix`."""

    mean: Tensor
    """`[C]`, float32."""
    matrix: Tensor
    """`[C, K]`, float32."""

    def __call__(self, maps: Tensor) -> Tensor:
        """`[N, C, h, w]` -> `[N, K, h, w]`."""
        if maps.ndim != 4 or maps.shape[1] != len(self.mean):
            raise ValueError(f"expected feature maps [N, {len(self.mean)}, h, w], got {list(maps.shape)}")
        count, _, height, width = maps.shape
        offset = (self.mean @ self.matrix)[:, None]
        return (self.matrix.T @ maps.flatten(2) - offset).view(count, -1, height, width)

    def state(self, prefix: str) -> dict[str, Tensor]:
        """Two named tensors."""
        return {f"{prefix}.mean": self.mean, f"{prefix}.matrix": self.matrix}

    @classmethod
    def restore(cls, state: Mapping[str, Tensor], prefix: str) -> "Projection":
        """Take back what `state` gave."""
        return cls(state[f"{prefix}.mean"], state[f"{prefix}.matrix"])


def principal_components(
    mean: Tensor, covariance: Tensor, components: int | float, *, whiten: bool, scale: Tensor | None = None
) -> Projection:
    """Return the projection to the leading principal components of features with these moments.

    `components` is a count (int) or the share of the variance to keep (float in (0, 1]). `scale` `[C]` multiplies the
    channels before the analysis. With `whiten` each component has unit variance; components without variance (relative
    to the first, below 1e-10) are dropped then. The sign makes the largest loading of each component positive, as
    scikit-learn does. Raises ValueError for a count above C or a share outside (0, 1].

    >>> moments = Moments(); moments.add(torch.randn(2, 5, 4, 4))
    >>> principal_components(moments.mean, moments.covariance, 3, whiten=False).matrix.shape
    torch.Size([5, 3])
    """
    scale = torch.ones_like(mean) if scale is None else scale.double()
    variances, vectors = torch.linalg.eigh(covariance * torch.outer(scale, scale))
    variances, vectors = variances.flip(0).clamp(min=0), vectors.flip(1)
    kept = _count(variances, components)
    if whiten:
        kept = max(1, min(kept, int((variances > variances[0] * 1e-10).sum())))
    vectors, variances = vectors[:, :kept], variances[:kept]
    leading = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    vectors = vectors * leading.sign()
    if whiten:
        vectors = vectors / variances.clamp(min=torch.finfo(torch.float64).tiny).sqrt()
    return Projection(mean.float(), (scale[:, None] * vectors).float().contiguous())


def check_components(components: int | float, channels: int | None = None) -> None:
    """Raise ValueError unless `components` is a share in (0, 1] or a positive count, of at most `channels` if given."""
    share = isinstance(components, float) and 0 < components <= 1
    count = isinstance(components, int) and components >= 1
    if not share and not count:
        raise ValueError(f"expected components as a count >= 1 or a share of variance in (0, 1], got {components}")
    if count and channels is not None and components > channels:
        raise ValueError(f"expected at most {channels} components, the number of channels, got {components}")


def _count(variances: Tensor, components: int | float) -> int:
    check_components(components, len(variances))
    if isinstance(components, int):
        return components
    share = variances.cumsum(0) / variances.sum().clamp(min=torch.finfo(torch.float64).tiny)
    return min(len(variances), int((share < components - 1e-12).sum()) + 1)
