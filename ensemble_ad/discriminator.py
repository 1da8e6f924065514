"""The ensemble's decision layer: a two-layer perceptron on combined features, trained against noisy copies of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Self

import torch
from torch import Tensor

from ensemble_ad.simplex import simplex_fields
from extractors.noise_contrast import Contrast, Noise, Recipe, contrast, create
from extractors.ranges import check_range
from extractors.rows import as_grid, as_rows, gather_rows
from extractors.runtime import device

CELLS_PER_STEP = 8192
"""Cells of a step: SimpleNet's eight pictures of 32 x 32 patches."""
POOL = 16
"""Simplex fields drawn per fit; a step takes random cells of them with random signs."""


@dataclass(eq=False)
class Discriminator:
    """SimpleNet's decision layer on fused features (Liu et al., CVPR 2023; the rest of SimpleNet is an extractor).

    Defaults are SimpleNet's, but for the noise: SimpleNet's 0.015 belongs to the scale of its adaptor's output, here
    the features are centred and divided by their overall standard deviation first, and `noise_std` is in those units.
    """

    hidden: int = 1024
    """Width of the hidden layer."""
    adaptor: bool = True
    """Begin with a trained linear map over the channels."""
    noise: Literal["gaussian", "simplex"] = "gaussian"
    """Kind of the negatives: rough over the cells, or smooth (`ensemble_ad.simplex`)."""
    noise_std: float = 0.5
    """Standard deviation of the noise, in standard deviations of the features."""
    simplex_frequency: float = 4.0
    """Lattice cells of simplex noise along the longer side of the grid."""
    margin: float = 0.5
    """Margin of the hinge loss."""
    epochs: int = 160
    """Passes over the training cells."""
    batch: int = CELLS_PER_STEP
    """Cells per step."""
    learning_rate: float = 2e-4
    """Adam, perceptron."""
    weight_decay: float = 1e-5
    """Adam, perceptron."""
    adaptor_learning_rate: float = 1e-4
    """AdamW, adaptor."""
    adaptor_weight_decay: float = 0.01
    """AdamW, adaptor."""
    seed: int = 0
    """Draws the initial weights, the noise and the order of the cells."""
    net_: Contrast | None = field(default=None, init=False, repr=False)
    """Set by fit."""
    mean_: Tensor | None = field(default=None, init=False, repr=False)
    """`[C]`, set by fit."""
    std_: Tensor | None = field(default=None, init=False, repr=False)
    """`[]`: root mean channel variance, set by fit."""

    def check(self) -> None:
        """Raise ValueError for parameters out of range."""
        check_range(self, "hidden", "epochs", least=1)
        check_range(self, "batch", least=2)
        check_range(self, "noise_std", "simplex_frequency", "margin", "learning_rate", "adaptor_learning_rate", above=0)
        check_range(self, "weight_decay", "adaptor_weight_decay", least=0)

    def fit(self, features: Iterable[Tensor]) -> Self:
        """Train on combined features of normal images, batches `[N, C, h, w]`.

        Raises ValueError when there is no batch, TrainingError when the loss is not finite.
        """
        self.check()
        rows, grid = gather_rows(features)
        self.mean_ = rows.mean(0)
        self.std_ = rows.var(0).mean().sqrt().clamp(min=1e-12)
        net = create(rows.shape[1], self.hidden, self.seed, adaptor=self.adaptor)
        recipe = Recipe(
            epochs=self.epochs,
            rows_per_step=self.batch,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            adaptor_learning_rate=self.adaptor_learning_rate,
            adaptor_weight_decay=self.adaptor_weight_decay,
            margin=self.margin,
            seed=self.seed,
        )
        noise = self._noise(rows.shape[1], grid)
        self.net_ = contrast("discriminator", net, (rows - self.mean_) / self.std_, noise, recipe)
        return self

    def score(self, features: Tensor) -> Tensor:
        """`[N, C, h, w]` -> `[N, h, w]`: minus the normality of each cell."""
        net, mean, std = self._learned
        if features.ndim != 4 or features.shape[1] != len(mean):
            raise ValueError(f"expected features [N, {len(mean)}, h, w], got {list(features.shape)}")
        rows = ((as_rows(features) - mean) / std).to(device())
        with torch.inference_mode():
            scores = -net(rows)
        return as_grid(scores.cpu()[:, None], features)[:, 0].clone()

    def state(self) -> dict[str, Tensor]:
        """Weights, and the mean and standard deviation of the features."""
        net, mean, std = self._learned
        return {f"net.{key}": tensor for key, tensor in net.state_dict().items()} | {"mean": mean, "std": std}

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Take back what `state` gave."""
        self.mean_, self.std_ = state["mean"], state["std"]
        net = create(len(self.mean_), self.hidden, self.seed, adaptor=self.adaptor)
        net.load_state_dict({key[4:]: tensor for key, tensor in state.items() if key.startswith("net.")})
        self.net_ = net.to(device()).requires_grad_(requires_grad=False)
        return self

    @property
    def _learned(self) -> tuple[Contrast, Tensor, Tensor]:
        if self.net_ is None or self.mean_ is None or self.std_ is None:
            raise RuntimeError("Discriminator is not fitted: call fit(features) or restore(state) first")
        return self.net_, self.mean_, self.std_

    def _noise(self, channels: int, grid: tuple[int, int]) -> Noise:
        if self.noise == "gaussian":
            return lambda rows, generator: torch.randn(rows.shape, generator=generator) * self.noise_std
        pool_generator = torch.Generator().manual_seed(self.seed)
        fields = [simplex_fields(channels, grid, self.simplex_frequency, pool_generator) for _ in range(POOL)]
        pool = as_rows(torch.stack(fields))

        def simplex(rows: Tensor, generator: torch.Generator) -> Tensor:
            cells = torch.randint(len(pool), (len(rows),), generator=generator)
            signs = torch.randint(2, (len(rows), channels), generator=generator) * 2 - 1
            return pool[cells] * signs * self.noise_std

        return simplex
