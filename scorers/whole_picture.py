"""The frozen features of whole pictures: what the scorers that read a backbone share."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self, get_type_hints

import torch
from torch import Tensor

from extractors import recall
from extractors.backbone import Backbone
from extractors.frozen_features import FrozenFeatures
from extractors.protocol import Scoring, check_fitted, check_images
from extractors.ranges import check_range
from extractors.smoothing import PUBLISHED_SIGMA, to_picture


@dataclass(eq=False)
class WholePicture(Scoring, ABC):
    """Frozen features of a picture -> one score, and scores per cell.

    A scorer says how in three methods: `check_parameters`, `learn` and `judge`. What it learned are its fields that are
    no parameters: tensors, or parts with `state()` and `restored(state)` of their own; their names end in `_`.
    """

    backbone: str = "wide_resnet50_2"
    """timm network whose frozen layers are read."""
    layers: tuple[str, ...] = ("layer2", "layer3")
    """Modules of the backbone, the finest first: it gives the grid; coarser ones are resized to it."""
    weights: str | None = None
    """Weights file of the backbone; None finds them."""
    sigma: float = PUBLISHED_SIGMA
    """Gaussian smoothing of the map, in pixels."""

    def check(self) -> None:
        """Raise ValueError for parameters out of range."""
        check_range(self, "sigma", least=0)
        self.check_parameters()

    def check_parameters(self) -> None:
        """Raise ValueError for parameters of the scorer itself that are out of range."""

    @abstractmethod
    def learn(self, features: Tensor) -> None:
        """Learn from features `[N, C, h, w]` of normal pictures."""

    @abstractmethod
    def judge(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features `[N, C, h, w]` -> scores of cells `[N, h, w]` and of pictures `[N]`."""

    def fit(self, images: Iterable[Tensor]) -> Self:
        """Learn from normal images; raises ValueError where there are none, or of different sizes."""
        self.check()
        self.learn(_together(self.features(batch) for batch in images))
        return self

    def features(self, images: Tensor) -> Tensor:
        """`[N, 3, H, W]` -> `[N, C, h, w]`: all layers on the finest one's grid; nothing learned is in them."""
        frozen = FrozenFeatures(self._backbone, image_scale=1)
        return recall.latest(self._backbone.identity, check_images(images), lambda: frozen(images)[0].cpu())

    def detect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The scorer's map and image score; raises ValueError for pictures of another size than those learned from."""
        self._check_learned()
        with torch.no_grad():
            cells, scores = self.judge(self.features(images))
        return to_picture(cells, images.shape[2:], self.sigma), scores

    def state(self) -> dict[str, Tensor]:
        """Every learned field; those of a part under the part's name."""
        self._check_learned()
        found: dict[str, Tensor] = {}
        for name in self._learned():
            value, key = getattr(self, name), name.removesuffix("_")
            if isinstance(value, Tensor):
                found[key] = value.contiguous()
            else:
                found |= {f"{key}.{inner}": tensor.contiguous() for inner, tensor in value.state().items()}
        return found

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Take the learned fields back."""
        kinds = get_type_hints(type(self))
        for name in self._learned():
            key = name.removesuffix("_")
            if kinds[name] is Tensor:
                setattr(self, name, state[key])
            else:
                inside = {inner: tensor for inner, tensor in state.items() if inner.startswith(f"{key}.")}
                own = {inner.removeprefix(f"{key}."): tensor for inner, tensor in inside.items()}
                setattr(self, name, kinds[name].restored(own))
        return self

    @property
    def _backbone(self) -> Backbone:
        return Backbone(self.backbone, tuple(self.layers), self.weights)

    def _learned(self) -> list[str]:
        return [entry.name for entry in fields(self) if not entry.init]

    def _check_learned(self) -> None:
        for name in self._learned():
            check_fitted(self, getattr(self, name, None))


def check_grid(features: Tensor, grid: Any) -> None:
    """Raise ValueError unless features `[N, C, h, w]` lie on the grid (h, w) that was learned from.

    >>> check_grid(torch.zeros(2, 3, 4, 5), (4, 5))
    """
    found, learned = tuple(features.shape[2:]), tuple(int(side) for side in grid)
    if found != learned:
        raise ValueError(
            f"expected pictures of the size learned from, {learned[0]} x {learned[1]} cells, got "
            f"{found[0]} x {found[1]} cells"
        )


def _together(batches: Iterable[Tensor]) -> Tensor:
    collected = list(batches)
    shapes = {tuple(batch.shape[2:]) for batch in collected}
    if len(shapes) != 1:
        raise ValueError(
            f"expected normal pictures of one size to fit on, got feature grids {sorted(shapes) or 'none'}"
        )
    return torch.cat(collected)
