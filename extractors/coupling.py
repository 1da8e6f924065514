"""Invertible maps of feature maps: fixed channel permutations and clamped affine couplings, with volume and inverse.

One picture comes as a sequence of scales, maps `[N, C, h, w]` with the same C and falling h, w: CS-Flow has three, AST
one. The volume of a scale, `[N, h, w]`, is what its cells add to log |det J|; its sum over cells and scales is the
log-determinant. Dinh et al., "Density estimation using Real NVP" (ICLR 2017); Kingma and Dhariwal, "Glow" (2018).
"""

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

OUTPUT_LIMIT = 1e6
"""Both reference implementations cut a block's output off here, so that a diverging training stays finite."""


class Flow(nn.Module):
    """Blocks one after the other, volumes added up; before them a fixed affine map, the identity unless asked."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, blocks: Iterable["CouplingBlock"]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        shape = cast(CouplingBlock, self.blocks[0]).orders.shape
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("deviation", torch.ones(shape))

    def standardise(self, maps: Sequence[Tensor]) -> None:
        """From now on bring each channel of each scale to the mean 0 and standard deviation 1 that it has in `maps`.

        Measured once before training, like the first step of Glow's actnorm. Without it a short training is spent on
        shrinking the backbone's activations, which clamped blocks can do only by a bounded factor each.
        """
        self.mean.copy_(torch.stack([scale.mean((0, 2, 3)) for scale in maps]))
        self.deviation.copy_(torch.stack([scale.std((0, 2, 3)) for scale in maps]).clamp_min(1e-6))

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Per scale `[N, C, h, w]` -> latents `[N, C, h, w]` and volumes `[N, h, w]`, a list of each."""
        statistics = zip(maps, _cells(self.mean), _cells(self.deviation), strict=True)
        latents = [(scale - mean) / deviation for scale, mean, deviation in statistics]
        shrunk = -self.deviation.log().sum(1)
        volumes = [growth.expand(scale[:, 0].shape) for growth, scale in zip(shrunk, maps, strict=True)]
        for block in self.blocks:
            latents, growths = block(latents)
            volumes = [volume + growth for volume, growth in zip(volumes, growths, strict=True)]
        return latents, volumes

    def inverse(self, latents: Sequence[Tensor]) -> list[Tensor]:
        """Return the maps that `forward` would turn into `latents`."""
        maps = list(latents)
        for block in reversed(self.blocks):
            maps = cast(CouplingBlock, block).inverse(maps)
        statistics = zip(maps, _cells(self.mean), _cells(self.deviation), strict=True)
        return [scale * deviation + mean for scale, mean, deviation in statistics]


class CouplingBlock(nn.Module):
    """Permute the channels, then scale and shift each half by what a network reads from the other half.

    A network takes one half of every scale and returns, per scale, log-scales and shifts of the other half as one map.
    """

    orders: Tensor

    def __init__(self, orders: Tensor, first: nn.Module, second: nn.Module, clamp: float) -> None:
        super().__init__()
        self.register_buffer("orders", orders)
        self.first, self.second, self.clamp = first, second, clamp

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Per scale `[N, C, h, w]` -> the same shapes and the volumes `[N, h, w]`."""
        permuted = [scale[:, order] for scale, order in zip(maps, self.orders, strict=True)]
        upper, lower = _halves(permuted)
        stretch, shift = self._affine(self.first, lower)
        upper = [half * a.exp() + b for half, a, b in zip(upper, stretch, shift, strict=True)]
        stretch_lower, shift = self._affine(self.second, upper)
        lower = [half * a.exp() + b for half, a, b in zip(lower, stretch_lower, shift, strict=True)]
        volumes = [a.sum(1) + b.sum(1) for a, b in zip(stretch, stretch_lower, strict=True)]
        return [joined.clamp(-OUTPUT_LIMIT, OUTPUT_LIMIT) for joined in _joined(upper, lower)], volumes

    def inverse(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Undo `forward`, wherever it did not meet the output limit."""
        upper, lower = _halves(maps)
        stretch, shift = self._affine(self.second, upper)
        lower = [(half - b) * (-a).exp() for half, a, b in zip(lower, stretch, shift, strict=True)]
        stretch, shift = self._affine(self.first, lower)
        upper = [(half - b) * (-a).exp() for half, a, b in zip(upper, stretch, shift, strict=True)]
        back = [order.argsort() for order in self.orders]
        return [joined[:, order] for joined, order in zip(_joined(upper, lower), back, strict=True)]

    def _affine(self, network: nn.Module, half: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        pairs = [output.chunk(2, dim=1) for output in network(half)]
        return [soft_clamp(stretch, self.clamp) for stretch, _ in pairs], [shift for _, shift in pairs]


def soft_clamp(values: Tensor, limit: float) -> Tensor:
    """Press `values` smoothly into (-limit, limit): 0.636 * limit * atan(values / limit); 0.636 stands for 2 / pi.

    >>> soft_clamp(torch.tensor([0.0, 1e9]), 3.0)
    tensor([0.0000, 2.9971])
    """
    return 0.636 * limit * torch.atan(values / limit)


def half_sizes(channels: int) -> tuple[int, int]:
    """Return how a block splits `channels`; the first half is the smaller one when they are odd.

    >>> half_sizes(304), half_sizes(5)
    ((152, 152), (2, 3))
    """
    return channels // 2, channels - channels // 2


def random_orders(scales: int, channels: int, generator: torch.Generator) -> Tensor:
    """Return one random order of the channels per scale, `[scales, channels]`.

    >>> random_orders(3, 4, torch.Generator().manual_seed(0)).sort(1).values.tolist()
    [[0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3]]
    """
    return torch.stack([torch.randperm(channels, generator=generator) for _ in range(scales)])


def _cells(statistics: Tensor) -> Tensor:
    """`[scales, C]` -> `[scales, C, 1, 1]`."""
    return statistics[..., None, None]


def _halves(maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    pairs = [scale.split(half_sizes(scale.shape[1]), dim=1) for scale in maps]
    return [upper for upper, _ in pairs], [lower for _, lower in pairs]


def _joined(upper: Sequence[Tensor], lower: Sequence[Tensor]) -> list[Tensor]:
    return [torch.cat(pair, dim=1) for pair in zip(upper, lower, strict=True)]
