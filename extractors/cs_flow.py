"""CS-Flow: the likelihood of frozen features at three picture scales under one cross-scale normalizing flow."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from extractors.backbone import Backbone
from extractors.coupling import CouplingBlock, Flow, half_sizes, random_orders
from extractors.frozen_features import FrozenFeatures, resized, shuffled_batches
from extractors.protocol import Scoring, check_fitted
from extractors.ranges import check_range
from extractors.runtime import device
from extractors.training import train

SCALES = 3
KERNELS = (3, 3, 3, 5)
"""Kernel size of the convolutions in each of the four coupling blocks."""
CLAMP = 3.0
GRADIENT_LIMIT = 1.0


@dataclass(eq=False)
class CSFlow(Scoring):
    """Cross-scale flow (Rudolph et al., "Fully Convolutional Cross-Scale-Flows", WACV 2022), written from the paper.

    `features` are the latents z of all scales on the finest one's grid, its channels first. The image score is the mean
    of z^2 / 2 over all scales; the map is the mean over channels of z^2 at the finest scale, bilinear, unsmoothed.

    Other than the published code: all randomness comes from `seed` (there NumPy's global generator is re-seeded and
    torch's never seeded); the last epoch is kept; any picture size is accepted, and a picture is enlarged by a factor
    instead of resized to 768 x 768, so that rectangular ones keep their shape; the batches of an epoch are of nearly
    equal size; the network comes from timm, where `blocks.5` ends with the published block 35.
    """

    PICTURE_SCALES: ClassVar[int] = SCALES
    """Sizes at which the frozen network sees each picture."""

    backbone: str = "tf_efficientnet_b5"
    """timm name of the frozen network."""
    layers: tuple[str, ...] = ("blocks.5",)
    """Layers it is read at; several are concatenated on the finest one's grid."""
    weights: str | None = None
    """Weights file of the backbone; None looks where `extractors.weights.create_network` says."""
    image_scale: int = 3
    """Pictures are enlarged by this factor first: 256 px become the published 768. 1 for pictures read at 768 px."""
    hidden: int = 1024
    """Channels between the two convolutions of a coupling network."""
    epochs: int = 240
    """Passes over the training pictures' features."""
    batch: int = 16
    """Pictures per step, at most."""
    learning_rate: float = 2e-4
    """Of Adam, with eps 1e-4 and weight decay 1e-5."""
    standardise: bool = False
    """Let the flow start from features of mean 0 and deviation 1 per channel: not published, for short trainings."""
    seed: int = 0
    """Of the permutations, the first weights and the order of the pictures."""
    flow_: Flow | None = field(init=False, repr=False, default=None)
    """The trained flow, set by fit."""

    @property
    def channels(self) -> int:
        """C of `features`: that of the backbone's map, for each of three scales."""
        return SCALES * self._frozen.channels

    @property
    def stride(self) -> int:
        """Pixels per cell: the backbone's stride divided by `image_scale`, rounded."""
        return self._frozen.stride

    def check(self) -> None:
        """Raise ValueError for parameters out of range."""
        check_range(self, "image_scale", "hidden", "epochs", "batch", least=1)
        check_range(self, "learning_rate", above=0)

    def fit(self, images: Iterable[Tensor]) -> Self:
        """Maximise the likelihood of the features of `images`, batches of normal pictures of one size."""
        self.check()
        maps = self._frozen.of_all(images)
        generator = torch.Generator().manual_seed(self.seed)
        flow = self._flow()
        if self.standardise:
            flow.standardise(maps)
        optimiser = torch.optim.Adam(flow.parameters(), lr=self.learning_rate, eps=1e-4, weight_decay=1e-5)

        def epoch(_number: int) -> float:
            parts = list(shuffled_batches(len(maps[0]), self.batch, generator))
            losses = [_step(flow, optimiser, [scale[rows].to(device()) for scale in maps]) for rows in parts]
            return sum(losses) / len(losses)

        train("cs_flow", self.epochs, epoch, generator, flow=flow, optimiser=optimiser)
        self.flow_ = flow.eval()
        return self

    def features(self, images: Tensor) -> Tensor:
        """`[N, 3, H, W]` -> `[N, 3 C, ceil(H / stride), ceil(W / stride)]`: the latents."""
        latents = self._latents(images)
        grid = self._frozen.grid(images)
        return torch.cat([resized(latent, grid, "bilinear") for latent in latents], dim=1).cpu()

    def detect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """`[N, 3, H, W]` -> maps `[N, H, W]` (finest scale) and scores `[N]` (all scales); higher is more anomalous."""
        latents = self._latents(images)
        energy = latents[0].square().mean(1, keepdim=True)
        scores = _flat(latents).square().mean(1) / 2
        return resized(energy, images.shape[2:], "bilinear")[:, 0].cpu(), scores.cpu()

    def state(self) -> dict[str, Tensor]:
        """Weights and permutations of the flow."""
        return {name: values.cpu() for name, values in self._fitted().state_dict().items()}

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Take back what `state` gave; raises ValueError where it belongs to other settings."""
        flow = self._flow()
        try:
            flow.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"this state belongs to a CSFlow with other settings: {str(error)[:300]}") from error
        self.flow_ = flow.eval()
        return self

    @property
    def _frozen(self) -> FrozenFeatures:
        return FrozenFeatures(Backbone(self.backbone, tuple(self.layers), self.weights), self.image_scale, SCALES)

    def _flow(self) -> Flow:
        return cross_scale_flow(self._frozen.channels, self.hidden, self.seed).to(device())

    @torch.no_grad()
    def _latents(self, images: Tensor) -> list[Tensor]:
        flow = self._fitted().to(device())
        return flow([scale.to(device()) for scale in self._frozen(images)])[0]

    def _fitted(self) -> Flow:
        check_fitted(self, self.flow_)
        return cast(Flow, self.flow_)


class CrossScaleNetwork(nn.Module):
    """Two layers of convolutions within three scales and, in the second, between neighbouring ones.

    Its output is multiplied by a learnt number per scale that starts at 0.
    """

    def __init__(self, inputs: int, outputs: int, hidden: int, kernel: int) -> None:
        super().__init__()
        convolution = partial(nn.Conv2d, kernel_size=kernel, padding=kernel // 2)
        self.enter = nn.ModuleList(convolution(inputs, hidden) for _ in range(SCALES))
        self.leave = nn.ModuleList(convolution(hidden, outputs) for _ in range(SCALES))
        self.to_finer = nn.ModuleList(convolution(hidden, outputs) for _ in range(SCALES - 1))
        self.to_coarser = nn.ModuleList(convolution(hidden, outputs, stride=2) for _ in range(SCALES - 1))
        self.gamma = nn.Parameter(torch.zeros(SCALES))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Per scale `[N, inputs, h, w]` -> `[N, outputs, h, w]`."""
        hidden = [F.leaky_relu(enter(scale), 0.1) for enter, scale in zip(self.enter, maps, strict=True)]
        outputs = [leave(scale) for leave, scale in zip(self.leave, hidden, strict=True)]
        for fine in range(SCALES - 1):
            raised = resized(hidden[fine + 1], hidden[fine].shape[2:], "bilinear")
            outputs[fine] = outputs[fine] + self.to_finer[fine](raised)
            outputs[fine + 1] = outputs[fine + 1] + self.to_coarser[fine](hidden[fine])
        return [weight * output for weight, output in zip(self.gamma, outputs, strict=True)]


def cross_scale_flow(channels: int, hidden: int, seed: int) -> Flow:
    """Return the untrained flow over three scales of `channels` each: exactly four channel permutations in a row."""
    generator = torch.Generator().manual_seed(seed)
    upper, lower = half_sizes(channels)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Flow(
            CouplingBlock(
                random_orders(SCALES, channels, generator),
                CrossScaleNetwork(lower, 2 * upper, hidden, kernel),
                CrossScaleNetwork(upper, 2 * lower, hidden, kernel),
                CLAMP,
            )
            for kernel in KERNELS
        )


def likelihood_loss(latents: Sequence[Tensor], volumes: Sequence[Tensor]) -> Tensor:
    """Negative log-likelihood per dimension, less a constant: mean over pictures of (sum z^2 / 2 - log |det J|) / dims.

    >>> likelihood_loss([torch.ones(1, 2, 2, 2)], [torch.zeros(1, 2, 2)])
    tensor(0.5000)
    """
    flat = _flat(latents)
    growth = _flat(volumes).sum(1)
    return (flat.square().sum(1) / 2 - growth).mean() / flat.shape[1]


def _step(flow: Flow, optimiser: torch.optim.Optimizer, maps: list[Tensor]) -> float:
    loss = likelihood_loss(*flow(maps))
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(flow.parameters(), GRADIENT_LIMIT)
    optimiser.step()
    return loss.item()


def _flat(scales: Sequence[Tensor]) -> Tensor:
    """Every number of a picture, over all scales, `[N, dims]`."""
    return torch.cat([scale.flatten(1) for scale in scales], dim=1)
