"""The ensemble's decision layer: a two-layer perceptron on combined features, trained against noisy copies of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from ensemble_ad.context import Context, codes, context_channels, with_context
from ensemble_ad.simplex import simplex_fields
from extractors.noise_contrast import Contrast, Noise, Recipe, contrast, create
from extractors.protocol import check_fitted
from extractors.ranges import check_range
from extractors.rows import as_grid, as_rows, gather_rows
from extractors.runtime import device

CELLS_PER_STEP = 8192
"""Cells of a step: SimpleNet's eight pictures of 32 x 32 patches."""
Edited = tuple[Tensor, Tensor]
"""Combined features `[N, C, h, w]` of edited pictures, and bool `[N, h, w]`: the cells that the edits changed."""

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
    context: Context = "none"
    """What a cell is told beside its own features: where it is, the mean cell of its picture, or both."""
    edits: int = 0
    """Training pictures with an edited component, whose changed cells are negatives, too; 0 is noise alone."""
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
    code_std_: Tensor | None = field(default=None, init=False, repr=False)
    """`[]`: the same of the pictures' codes, set by fit."""

    def check(self) -> None:
        """Raise ValueError for parameters out of range."""
        check_range(self, "hidden", "epochs", least=1)
        check_range(self, "batch", least=2)
        check_range(self, "noise_std", "simplex_frequency", "margin", "learning_rate", "adaptor_learning_rate", above=0)
        check_range(self, "weight_decay", "adaptor_weight_decay", "edits", least=0)

    def fit(self, features: Iterable[Tensor], edited: Iterable[Edited] = ()) -> Self:
        """Train on combined features of normal images, batches `[N, C, h, w]`.

        Beside noise, the cells of `edited` pictures that their masks mark are negatives.

        Raises ValueError when there is no batch, TrainingError when the loss is not finite.
        """
        self.check()
        rows, grid = gather_rows(features)
        self.mean_ = rows.mean(0)
        self.std_ = rows.var(0).mean().sqrt().clamp(min=1e-12)
        rows = (rows - self.mean_) / self.std_
        self.code_std_ = codes(rows, grid).var(0, correction=0).mean().sqrt().clamp(min=1e-12)
        net = self._untrained(rows.shape[1])
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
        negatives = [self._seen(maps)[masks.flatten()] for maps, masks in edited]
        seen = with_context(rows, grid, self.context, self.code_std_)
        self.net_ = contrast("discriminator", net, seen, noise, recipe, torch.cat(negatives) if negatives else None)
        return self

    def score(self, features: Tensor) -> Tensor:
        """`[N, C, h, w]` -> `[N, h, w]`: minus the normality of each cell."""
        net, mean = self._learned, self._scales[0]
        if features.ndim != 4 or features.shape[1] != len(mean):
            raise ValueError(f"expected features [N, {len(mean)}, h, w], got {list(features.shape)}")
        with torch.inference_mode():
            scores = -net(self._seen(features).to(device()))
        return as_grid(scores.cpu()[:, None], features)[:, 0].clone()

    def state(self) -> dict[str, Tensor]:
        """Weights, and the mean and standard deviation of the features."""
        learned = dict(zip(("mean", "std", "code_std"), self._scales))
        return {f"net.{key}": tensor for key, tensor in self._learned.state_dict().items()} | learned

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Take back what `state` gave."""
        self.mean_, self.std_, self.code_std_ = state["mean"], state["std"], state["code_std"]
        net = self._untrained(len(self.mean_))
        net.load_state_dict({key[4:]: tensor for key, tensor in state.items() if key.startswith("net.")})
        self.net_ = net.to(device()).requires_grad_(requires_grad=False)
        return self

    @property
    def _learned(self) -> Contrast:
        check_fitted(self, self.net_)
        return self.net_  # type: ignore[return-value]

    @property
    def _scales(self) -> tuple[Tensor, Tensor, Tensor]:
        check_fitted(self, self.code_std_)
        return self.mean_, self.std_, self.code_std_  # type: ignore[return-value]

    def _untrained(self, channels: int) -> Contrast:
        seen = channels + context_channels(channels, self.context)
        return create(seen, self.hidden, self.seed, adaptor=self.adaptor)

    def _seen(self, features: Tensor) -> Tensor:
        """`[N, C, h, w]` -> what the perceptron sees of each cell, `[N * h * w, C + K]`."""
        mean, std, code_std = self._scales
        rows = (as_rows(features) - mean) / std
        return with_context(rows, (features.shape[2], features.shape[3]), self.context, code_std)

    def _noise(self, channels: int, grid: tuple[int, int]) -> Noise:
        """Of the cells' own `channels`; none on their context."""
        own = self._noise_of(channels, grid)
        return lambda rows, generator: F.pad(own(rows[:, :channels], generator), (0, rows.shape[1] - channels))

    def _noise_of(self, channels: int, grid: tuple[int, int]) -> Noise:
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
