"""DRAEM: repair the picture, then find what was repaired (Zavrtanik et al., ICCV 2021)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, Self, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.lr_scheduler import MultiStepLR

from extractors.draem_losses import draem_loss
from extractors.draem_networks import DEPTH, Networks, initialise
from extractors.draem_synthesis import Synthesis
from extractors.protocol import Scoring, check_fitted, check_images
from extractors.ranges import check_range
from extractors.runtime import device
from extractors.textures import FolderTextures, OfflineTextures
from extractors.training import train


class _Cut(NamedTuple):
    """A place in the discriminative network."""

    widths: int
    """Channels in multiples of its first layer's."""
    stride: int
    steps: int
    """Decoder stages up to there."""


_CUTS = {"db1": _Cut(4, 8, 2), "db2": _Cut(2, 4, 3), "encoder": _Cut(30, 8, 0)}


@dataclass(eq=False)
class DRAEM(Scoring):
    """A discriminatively trained reconstruction embedding; defaults are the published ones.

    Learns from synthetic anomalies: textures blended into normal pictures through masks of Perlin noise. Pictures of
    any size are continued at the lower right border to a multiple of 32 and results cropped. Training pictures are held
    in memory once, 3 bytes per pixel. Wants pictures in [0, 1] as they are, without ImageNet statistics.

    Source: github.com/VitjanZ/DRAEM. Deviations: pictures are RGB (there BGR); masks of synthetic anomalies are never
    empty; without a folder of textures (there DTD) they are procedural or cut from the training pictures; every batch
    is full; SSIM keeps one value range.
    """

    width: int = 128
    """Channels of the first layer of the reconstructive network."""
    discriminative_width: int = 64
    """Channels of the first layer of the discriminative network."""
    cut: Literal["db1", "db2", "encoder"] = "db1"
    """What `features` gives, in multiples of `discriminative_width`: decoder stage `db1` (4, stride 8) or `db2` (2,
    stride 4), or all maps of the `encoder` below the first (30, brought to stride 8)."""
    downscale: int = 1
    """The networks see pictures averaged over this many pixels along each axis; multiplies every stride."""
    textures: Path | None = None
    """Folder with texture pictures, such as DTD; None: procedural textures and crops of the training pictures."""
    epochs: int = 700
    """Passes over as many pictures as there are, drawn with replacement."""
    batch: int = 8
    """Pictures per step."""
    learning_rate: float = 1e-4
    """Of Adam; times 0.2 after 80 % and again after 90 % of the epochs."""
    clean_ratio: float = 0.5
    """Share of the training pictures without an anomaly, in [0, 1]."""
    rotated_ratio: float = 0.3
    """Share of the training pictures turned by up to 90 degrees either way, in [0, 1]."""
    max_transparency: float = 0.8
    """Share of the normal picture that shines through an anomaly is drawn from 0 to this (beta in the paper)."""
    octaves: int = 6
    """Cells of Perlin noise along each axis are drawn from 2^0 .. 2^(octaves - 1)."""
    threshold: float = 0.5
    """Where Perlin noise exceeds this a synthetic anomaly is."""
    seed: int = 0
    """Of the weights and of everything drawn while training."""
    net_: Networks | None = field(init=False, repr=False, default=None)
    """Both networks, set by fit."""

    AFTER_FIT: ClassVar[tuple[str, ...]] = ("cut",)
    """Parameters that a fit does not depend on."""

    @property
    def channels(self) -> int:
        """C of `features`."""
        return _CUTS[self.cut].widths * self.discriminative_width

    @property
    def stride(self) -> int:
        """Pixels per feature cell."""
        return _CUTS[self.cut].stride * self.downscale

    def check(self) -> None:
        """Raise ValueError for parameters out of range."""
        if self.cut not in _CUTS:
            raise ValueError(f"expected cut to be one of {', '.join(_CUTS)}, got {self.cut!r}")
        check_range(self, "width", "discriminative_width", "downscale", "epochs", "batch", "octaves", least=1)
        check_range(self, "learning_rate", above=0)
        check_range(self, "clean_ratio", "rotated_ratio", "max_transparency", least=0, most=1)
        check_range(self, "threshold", least=-1, most=1)

    def fit(self, images: Iterable[Tensor]) -> Self:
        """Train both networks on batches [n, 3, H, W] of one size and keep the last epoch.

        Raises ValueError for settings out of range and pictures that are none or differ in size.
        """
        self.check()
        self.net_ = None
        pictures = self._pictures(images)
        textures = OfflineTextures(pictures) if self.textures is None else FolderTextures.below(self.textures)
        ratios = (self.clean_ratio, self.rotated_ratio, self.max_transparency)
        synthesis = Synthesis(pictures, textures, *ratios, self.octaves, self.threshold)
        generator = torch.Generator().manual_seed(self.seed)
        net = self._networks()
        initialise(net, generator)
        self._train(net.to(device()).train(), synthesis, generator)
        self.net_ = net.eval()
        return self

    def features(self, images: Tensor) -> Tensor:
        """`[N, 3, H, W]` -> `[N, C, ceil(H / stride), ceil(W / stride)]`: what finds the repairs, up to the cut."""
        net = self._fitted()
        with torch.no_grad():
            encoded = net.encode(self._prepare(images))
            steps = _CUTS[self.cut].steps
            maps = net.discriminative.decode(encoded, steps) if steps else _on_one_grid(encoded[1:])
        height, width = (-(-length // self.stride) for length in images.shape[-2:])
        return maps[..., :height, :width].contiguous().to(images.device)

    def detect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Anomaly maps `[N, H, W]` in [0, 1]: softmax of channel 1. Scores `[N]`: maximum of their 21 x 21 means."""
        net = self._fitted()
        with torch.no_grad():
            logits = net(self._prepare(images))[1]
            maps = logits.softmax(dim=1)[:, 1:]
            if self.downscale > 1:
                maps = F.interpolate(maps, scale_factor=self.downscale, mode="bilinear", align_corners=False)
        maps = maps[..., : images.shape[-2], : images.shape[-1]].contiguous()
        columns = F.avg_pool2d(maps, (21, 1), stride=1, padding=(10, 0))
        scores = F.avg_pool2d(columns, (1, 21), stride=1, padding=(0, 10)).amax((1, 2, 3))
        return maps[:, 0].to(images.device), scores.to(images.device)

    def state(self) -> dict[str, Tensor]:
        """Weights and running statistics of both networks."""
        return {
            name: tensor.detach().cpu().clone().contiguous() for name, tensor in self._fitted().state_dict().items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Take back what `state` gave; ValueError when it belongs to other widths."""
        net = self._networks()
        try:
            net.load_state_dict(dict(state))
        except RuntimeError as error:
            widths = f"width {self.width} and discriminative_width {self.discriminative_width}"
            raise ValueError(f"expected the state of a DRAEM of {widths}, got another: {error}") from error
        self.net_ = net.to(device()).eval()
        return self

    def _train(self, net: Networks, synthesis: Synthesis, generator: torch.Generator) -> None:
        optimiser = torch.optim.Adam(net.parameters(), self.learning_rate)
        milestones = [-(-self.epochs * tenths // 10) for tenths in (8, 9)]
        schedule = MultiStepLR(optimiser, milestones, gamma=0.2)
        steps = -(-len(synthesis.pictures) // self.batch)

        def epoch(_number: int) -> float:
            total = torch.zeros((), device=device())
            for _ in range(steps):
                clean, altered, masks = (part.to(device()) for part in synthesis.batch(self.batch, generator))
                repaired, logits = net(altered)
                loss = draem_loss(repaired, clean, logits, masks)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                total += loss.detach()
            schedule.step()
            return float(total) / steps

        train("draem", self.epochs, epoch, generator, net=net, optimiser=optimiser, schedule=schedule)

    def _pictures(self, images: Iterable[Tensor]) -> np.ndarray:
        """Return all pictures as the networks see them, RGB uint8 [N, h, w, 3]."""
        batches = [_levels(self._continued(batch)) for batch in images]
        if sum(map(len, batches)) == 0:
            raise ValueError("expected at least 1 normal picture to train on, got none")
        if len(sizes := {batch.shape[1:3] for batch in batches}) > 1:
            raise ValueError(f"expected training pictures of one size, got {sorted(sizes)}")
        return np.concatenate(batches)

    def _prepare(self, images: Tensor) -> Tensor:
        return self._continued(images).to(device(), memory_format=torch.channels_last)

    def _continued(self, images: Tensor) -> Tensor:
        """Repeat the last row and column until the networks can halve the averaged picture; then average."""
        height, width = check_images(images).shape[-2:]
        missing = (-width % (DEPTH * self.downscale), -height % (DEPTH * self.downscale))
        continued = F.pad(images, (0, missing[0], 0, missing[1]), mode="replicate") if any(missing) else images
        return F.avg_pool2d(continued, self.downscale) if self.downscale > 1 else continued

    def _networks(self) -> Networks:
        """Both networks with weights yet to be set; the global random state is left as it was."""
        with torch.random.fork_rng(devices=[]):
            net = Networks(self.width, self.discriminative_width)
        return net.to(memory_format=torch.channels_last)

    def _fitted(self) -> Networks:
        check_fitted(self, self.net_)
        return cast(Networks, self.net_).to(device())


def _levels(images: Tensor) -> np.ndarray:
    """[n, 3, h, w] in [0, 1] -> uint8 [n, h, w, 3]."""
    levels: np.ndarray = (
        (images * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    )
    return levels


def _on_one_grid(maps: list[Tensor]) -> Tensor:
    """Maps b2 .. b6 of strides 2 .. 32 -> one tensor of stride 8: finer ones averaged, coarser ones interpolated."""
    size = (maps[2].shape[-2], maps[2].shape[-1])
    finer = [F.adaptive_avg_pool2d(finer, size) for finer in maps[:2]]
    coarser = [F.interpolate(coarser, size, mode="bilinear", align_corners=False) for coarser in maps[3:]]
    return torch.cat([*finer, maps[2], *coarser], dim=1)
