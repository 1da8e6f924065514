"""SimpleNet: an adaptor and a discriminator on frozen patch features (Liu et al., CVPR 2023)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self, cast

import torch
from torch import Tensor

from extractors.backbone import Backbone
from extractors.noise_contrast import Contrast, Recipe, contrast, create
from extractors.patches import Embedding, embed, embedding_channels
from extractors.protocol import Scoring, check_fitted, check_images
from extractors.ranges import check_range
from extractors.rows import as_grid, as_rows, gather_rows
from extractors.runtime import device
from extractors.smoothing import PUBLISHED_SIGMA, to_picture


@dataclass(eq=False)
class SimpleNet(Scoring):
    """Tell adapted normal patch features from the same features with Gaussian noise on them.

    Defaults are the released code's run script: 40 x 4 passes, 8 pictures a step, constant rates. Differences to it:
    the last epoch is kept (it keeps the best one on the test pictures), nothing is scaled by test pictures, and a step
    draws its rows from all pictures instead of from eight.
    """

    backbone: str = "wide_resnet50_2"
    """timm network whose frozen layers are read."""
    layers: tuple[str, ...] = ("layer2", "layer3")
    """Modules of the backbone, the finest first: it gives the grid."""
    weights: str | None = None
    """Weights file of the backbone; None finds them."""
    embedding: Embedding = "official"
    """`official` (adaptive pooling to `dimension`) or `concatenation` (all channels of all layers)."""
    dimension: int = 1536
    """Channels of the official embedding."""
    hidden: int = 1024
    """Width of the discriminator's hidden layer."""
    epochs: int = 160
    """Passes over the training patches (40 meta epochs x 4)."""
    batch: int = 8
    """Pictures' worth of patches per step."""
    noise_std: float = 0.015
    """Standard deviation of the noise, in units of the adapted features."""
    margin: float = 0.5
    """Margin of the hinge loss."""
    learning_rate: float = 2e-4
    """Adam, discriminator."""
    weight_decay: float = 1e-5
    """Adam, discriminator."""
    adaptor_learning_rate: float = 1e-4
    """AdamW, adaptor."""
    adaptor_weight_decay: float = 0.01
    """AdamW, adaptor."""
    sigma: float = PUBLISHED_SIGMA
    """Gaussian smoothing of the map, in pixels."""
    cut: Literal["adapted", "hidden"] = "adapted"
    """What `features` gives: the adaptor's output, or the discriminator's hidden layer.

    Before the adaptor there is nothing trained: that tensor would be PatchCore's embedding once more.
    """
    seed: int = 0
    """Draws the initial weights, the noise and the order of the rows."""
    net_: Contrast | None = field(default=None, init=False, repr=False)
    """Set by fit."""

    AFTER_FIT: ClassVar[tuple[str, ...]] = ("cut", "sigma")
    """Parameters that a fit does not depend on."""

    @property
    def channels(self) -> int:
        """Channels of the embedding, or the width of the hidden layer."""
        return self.hidden if self.cut == "hidden" else self._embedding_channels

    @property
    def stride(self) -> int:
        """Stride of the finest layer."""
        return self._backbone.strides[0]

    def check(self) -> None:
        """Raise ValueError for parameters out of range."""
        check_range(self, "dimension", "hidden", "epochs", "batch", least=1)
        check_range(self, "noise_std", "margin", "learning_rate", "adaptor_learning_rate", above=0)
        check_range(self, "weight_decay", "adaptor_weight_decay", "sigma", least=0)

    def fit(self, images: Iterable[Tensor]) -> Self:
        """Train on the patches of normal images; raises ValueError when there is none."""
        self.check()
        rows, (height, width) = gather_rows(images, self._embed)
        recipe = Recipe(
            epochs=self.epochs,
            rows_per_step=self.batch * height * width,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            adaptor_learning_rate=self.adaptor_learning_rate,
            adaptor_weight_decay=self.adaptor_weight_decay,
            margin=self.margin,
            seed=self.seed,
        )
        net = create(self._embedding_channels, self.hidden, self.seed, adaptor=True)
        self.net_ = contrast("simplenet", net, rows, self._noise, recipe)
        return self

    def features(self, images: Tensor) -> Tensor:
        """`[N, 3, H, W]` -> `[N, C, h, w]` as `cut` says."""
        return self._through(images, lambda net, rows: net.hidden(rows) if self.cut == "hidden" else rows)

    def detect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Minus the normality per patch; the image score is the largest one before smoothing."""
        cells = self._through(images, lambda net, rows: -net.normality(rows)[:, None])[:, 0]
        return to_picture(cells, images.shape[2:], self.sigma), cells.flatten(1).amax(1)

    def state(self) -> dict[str, Tensor]:
        """Weights of the adaptor and the discriminator."""
        return dict(self._net.state_dict())

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Take back the weights."""
        net = create(self._embedding_channels, self.hidden, self.seed, adaptor=True)
        net.load_state_dict(dict(state))
        self.net_ = net.to(device()).requires_grad_(requires_grad=False)
        return self

    @property
    def _net(self) -> Contrast:
        check_fitted(self, self.net_)
        return cast(Contrast, self.net_)

    @property
    def _backbone(self) -> Backbone:
        return Backbone(self.backbone, tuple(self.layers), self.weights)

    @property
    def _embedding_channels(self) -> int:
        return embedding_channels(self._backbone.channels, self.embedding, self.dimension)

    def _embed(self, images: Tensor) -> Tensor:
        check_images(images)
        return embed(self._backbone.maps(images), self.embedding, self.dimension)

    def _noise(self, adapted: Tensor, generator: torch.Generator) -> Tensor:
        return torch.randn(adapted.shape, generator=generator) * self.noise_std

    def _through(self, images: Tensor, last: Callable[[Contrast, Tensor], Tensor]) -> Tensor:
        """Run `last` on the adapted rows and lay its rows `[n, C]` out on the grid."""
        net, embedded = self._net, self._embed(images)
        with torch.inference_mode():
            rows = last(net, net.adaptor(as_rows(embedded).to(device())))
        return as_grid(rows.cpu(), embedded).clone()
