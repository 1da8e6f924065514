"""PatchCore: distance to the nearest remembered patch (Roth et al., CVPR 2022)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import length_hint
from typing import ClassVar, Literal, Self, cast

import torch
from torch import Tensor

from extractors.backbone import Backbone
from extractors.coreset import greedy_coreset
from extractors.neighbours import nearest
from extractors.patches import Embedding, embed, embedding_channels
from extractors.protocol import Scoring, check_fitted, check_images
from extractors.ranges import check_range
from extractors.rows import as_grid, as_rows
from extractors.smoothing import PUBLISHED_SIGMA, to_picture


class MemoryBankError(ValueError):
    """The patches would not fit into `memory_limit_mb`; the text names settings that would."""


@dataclass(eq=False)
class PatchCore(Scoring):
    """Remember a coreset of normal patch features; a patch far from all of them is anomalous.

    Defaults are the released code's for WideResNet-50 (10 % coreset, one neighbour). Differences to it: the coreset is
    exact greedy from one random start, measured on the features themselves (the released code measures in a random
    128-d projection, `projection=128`, from the mean distance to ten starts); scores are Euclidean as in Eq. 6 of the
    paper, not squared; and nothing is scaled by test pictures.
    """

    backbone: str = "wide_resnet50_2"
    """timm network whose frozen layers are read."""
    layers: tuple[str, ...] = ("layer2", "layer3")
    """Modules of the backbone, the finest first: it gives the grid."""
    weights: str | None = None
    """Weights file of the backbone; None finds them."""
    embedding: Embedding = "official"
    """`official` (adaptive pooling to `dimension`) or `concatenation` (all channels of all layers)."""
    dimension: int = 1024
    """Channels of the official embedding."""
    coreset_ratio: float = 0.1
    """Share of the training patches that is remembered, in (0, 1]."""
    projection: int | None = None
    """Dimensions of the random projection in which the coreset is chosen; None chooses on the features themselves."""
    neighbours: int = 1
    """Remembered patches whose mean distance is a patch's score."""
    reweight: int = 0
    """Weigh the image score by the paper's Eq. 7 with so many neighbours; 0 as in the released code, which lacks it."""
    bank_dtype: Literal["float32", "float16"] = "float32"
    """Number format of the memory bank."""
    sigma: float = PUBLISHED_SIGMA
    """Gaussian smoothing of the map, in pixels."""
    cut: Literal["embedding", "residual", "distance"] = "embedding"
    """What `features` gives: the patch features, their signed difference to the nearest one remembered, or its length.

    Fitting never touches the embedding, so only the other two carry what was learned from the class.
    """
    memory_limit_mb: int = 8192
    """Refuse (or, with `streaming`, compress) training patches that need more memory than this."""
    streaming: bool = False
    """Over the limit, reduce the patches batch by batch to a coreset of coresets instead of refusing."""
    seed: int = 0
    """Draws the first centre and the projection."""
    bank_: Tensor | None = field(default=None, init=False, repr=False)
    """`[patches, C]`, set by fit."""

    AFTER_FIT: ClassVar[tuple[str, ...]] = ("cut", "neighbours", "reweight", "sigma", "memory_limit_mb")
    """Parameters that a fit does not depend on."""

    @property
    def channels(self) -> int:
        """Channels of the embedding, or 1 for the distance."""
        return 1 if self.cut == "distance" else self._embedding_channels

    @property
    def stride(self) -> int:
        """Stride of the finest layer."""
        return self._backbone.strides[0]

    def check(self) -> None:
        """Raise ValueError for parameters out of range."""
        check_range(self, "coreset_ratio", above=0, most=1)
        check_range(self, "dimension", "projection", "neighbours", "memory_limit_mb", least=1)
        check_range(self, "sigma", least=0)
        if self.reweight < 0 or self.reweight == 1:
            raise ValueError(
                f"expected reweight 0 or at least 2 neighbours (one is the patch itself), got {self.reweight}"
            )

    def fit(self, images: Iterable[Tensor]) -> Self:
        """Remember a coreset of the patches of normal images.

        Raises MemoryBankError before anything large is allocated when the patches exceed `memory_limit_mb`, and
        ValueError when there is no image.
        """
        self.check()
        patches = self._collect(images)
        count = max(1, round(len(patches) * self.coreset_ratio))
        bank = patches
        if count < len(patches):
            bank = patches[greedy_coreset(patches, count, self.seed, self.projection)]
        self.bank_ = bank.to(getattr(torch, self.bank_dtype))
        return self

    def features(self, images: Tensor) -> Tensor:
        """`[N, 3, H, W]` -> `[N, C, h, w]` as `cut` says."""
        embedded = self._embed(images)
        if self.cut == "embedding":
            check_fitted(self, self.bank_)
            return embedded
        patches = as_rows(embedded)
        distance, index = nearest(patches, self._bank)
        rows = distance.sqrt() if self.cut == "distance" else patches - self._bank[index[:, 0]].float()
        return as_grid(rows, embedded)

    def detect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean distance to the nearest remembered patches; the image score is the largest one before smoothing."""
        embedded = self._embed(images)
        patches = as_rows(embedded)
        distance, index = nearest(patches, self._bank, min(self.neighbours, len(self._bank)))
        cells = as_grid(distance.sqrt().mean(1, keepdim=True), embedded)[:, 0]
        scores = cells.flatten(1).amax(1)
        if self.reweight:
            scores = self._reweighted(cells, patches, index[:, 0])
        return to_picture(cells, images.shape[2:], self.sigma), scores

    def state(self) -> dict[str, Tensor]:
        """The memory bank."""
        return {"bank": self._bank}

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Take back a memory bank."""
        self.bank_ = state["bank"]
        return self

    @property
    def _backbone(self) -> Backbone:
        return Backbone(self.backbone, tuple(self.layers), self.weights)

    @property
    def _embedding_channels(self) -> int:
        return embedding_channels(self._backbone.channels, self.embedding, self.dimension)

    @property
    def _bank(self) -> Tensor:
        check_fitted(self, self.bank_)
        return cast(Tensor, self.bank_)

    def _embed(self, images: Tensor) -> Tensor:
        check_images(images)
        return embed(self._backbone.maps(images), self.embedding, self.dimension).cpu()

    def predicted_bytes(self, patches: int) -> int:
        """Memory that fitting on so many patches needs: the patches, their centred copy, and the bank.

        >>> PatchCore(embedding="official", dimension=1024, coreset_ratio=0.1).predicted_bytes(351 * 1024)
        3091621478
        """
        return round(patches * self._embedding_channels * 4 * (2 + self.coreset_ratio))

    def _collect(self, images: Iterable[Tensor]) -> Tensor:
        """All training patches `[n, C]`, or with `streaming` a coreset of coresets where they would not fit."""
        batches = length_hint(images)
        blocks: list[Tensor] = []
        keep = 1.0
        for number, batch in enumerate(images, 1):
            rows = as_rows(self._embed(batch))
            if not blocks or number > batches:
                keep = self._share_that_fits(len(rows) * max(batches, number))
            if keep < 1:
                rows = rows[greedy_coreset(rows, max(1, int(len(rows) * keep)), self.seed, self.projection)]
            blocks.append(rows)
        if not blocks:
            raise ValueError("expected normal images to fit on, got none")
        return torch.cat(blocks)

    def _share_that_fits(self, patches: int) -> float:
        """1 when so many patches fit into the limit; less when streaming; MemoryBankError otherwise."""
        needed, limit = self.predicted_bytes(patches), self.memory_limit_mb * 2**20
        if needed <= limit:
            return 1.0
        if self.streaming:
            return limit / needed
        raise MemoryBankError(
            f"{patches} training patches with {self._embedding_channels} channels need {needed / 2**20:.0f} MB and "
            f"memory_limit_mb is {self.memory_limit_mb}. What would fit: streaming: true, "
            f"memory_limit_mb: {-(-needed // 2**20)}, a size with {limit / needed:.0%} of the pixels, or "
            f"embedding: official with dimension: {max(1, int(self._embedding_channels * limit / needed))}"
        )

    def _reweighted(self, cells: Tensor, patches: Tensor, index: Tensor) -> Tensor:
        """Eq. 7: s = (1 - exp(d*) / sum over the b nearest of m* in the bank of exp(d(m_test, m))) d*."""
        count, per_image = len(cells), cells[0].numel()
        worst = cells.flatten(1).argmax(1) + torch.arange(count) * per_image
        test, remembered = patches[worst], index[worst]
        around = nearest(self._bank[remembered].float(), self._bank, min(self.reweight, len(self._bank)))[1]
        distances = (test[:, None] - self._bank[around].float()).norm(dim=2)
        own = (test - self._bank[remembered].float()).norm(dim=1)
        return (1 - torch.exp(own - distances.logsumexp(1))) * own
