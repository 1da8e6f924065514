"""Reverse distillation: a decoder that can only rebuild what a frozen teacher sees on normal pictures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from extractors.backbone import Backbone
from extractors.protocol import Scoring, check_fitted, check_images
from extractors.ranges import check_range
from extractors.reverse_student import Student
from extractors.runtime import device
from extractors.smoothing import PUBLISHED_SIGMA, gaussian
from extractors.training import train

BETAS = (0.5, 0.999)
"""Adam's, of the released code."""


@dataclass(eq=False)
class ReverseDistillation(Scoring):
    """Compare a frozen teacher with a student that saw it through a bottleneck (RD4AD, Deng and Li, CVPR 2022).

    Defaults are the released code's for WideResNet-50. Its loss is kept where it differs from the paper: the cosine is
    taken over each whole map, not per pixel as in Eq. 1, because the per-pixel form loses accuracy (`whole_map_loss`).
    Any timm network with three layers at strides s, 2 s and 4 s can be the teacher; where its maps hold negative values
    (EfficientNet, ConvNeXt) the student's stages end without the ReLU that ends a ResNet's.
    """

    backbone: str = "wide_resnet50_2"
    """timm network that is the frozen teacher."""
    layers: tuple[str, ...] = ("layer1", "layer2", "layer3")
    """Three modules of the teacher, finest first, at strides s, 2 s and 4 s."""
    weights: str | None = None
    """Weights file of the teacher; None finds them."""
    blocks: tuple[int, int, int, int] = (3, 3, 4, 6)
    """Residual blocks of the bottleneck and of the decoder's three stages, coarsest first."""
    width: float = 0.5
    """Inner width of a residual block as a share of its outputs: 0.5 as in WideResNet-50, 0.25 as in ResNet-50."""
    epochs: int = 200
    """Passes over the training pictures; the last one is kept."""
    batch: int = 16
    """Pictures per step."""
    learning_rate: float = 5e-3
    """Of Adam."""
    combine: Literal["sum", "product"] = "sum"
    """How the three layers' distances become one map."""
    sigma: float = PUBLISHED_SIGMA
    """Gaussian smoothing of the map, in pixels."""
    cut: Literal["decoder", "difference", "bottleneck"] = "difference"
    """What `features` gives (shapes of the default teacher at 256 pixels).

    `decoder`: the student's three maps, 1792 x 32 x 32; `difference`: teacher minus student, each of length 1 per cell,
    so that half its square is the distance that scores, 1792 x 32 x 32; `bottleneck`: the one-class code, 2048 x 8 x 8.
    """
    seed: int = 0
    """Of the student's first weights and of the order of pictures."""
    student_: Student | None = field(init=False, repr=False, default=None)
    """Bottleneck and decoder, set by fit."""
    signed_: tuple[bool, ...] = field(init=False, repr=False, default=(False, False, False))
    """Per layer, whether the teacher's maps of the first pictures hold negative values; set by fit."""

    AFTER_FIT: ClassVar[tuple[str, ...]] = ("cut", "combine", "sigma")
    """Parameters that a fit does not depend on."""

    @property
    def channels(self) -> int:
        """C of `features`."""
        channels = self._teacher.channels
        return 2 * channels[-1] if self.cut == "bottleneck" else sum(channels)

    @property
    def stride(self) -> int:
        """Pixels per cell: the middle layer's, or twice the last layer's for `bottleneck`."""
        strides = self._teacher.strides
        return 2 * strides[-1] if self.cut == "bottleneck" else strides[1]

    def check(self) -> None:
        """Raise ValueError for parameters out of range."""
        check_range(self, "blocks", "epochs", "batch", least=1)
        check_range(self, "width", "learning_rate", above=0)
        check_range(self, "sigma", least=0)

    def fit(self, images: Iterable[Tensor]) -> Self:
        """Train the student on normal pictures, which are kept in memory meanwhile.

        Raises ValueError without pictures and TrainingError when the loss is not finite.
        """
        self.check()
        self.student_ = None
        batches = [check_images(batch) for batch in images]
        if not batches:
            raise ValueError("expected normal pictures to train on, got none")
        pictures = torch.cat(batches)
        self.signed_ = tuple(bool((layer < 0).any()) for layer in self._taught(pictures[: self.batch]))
        student = self._untrained()
        optimizer = torch.optim.Adam(student.parameters(), self.learning_rate, BETAS)
        generator = torch.Generator().manual_seed(self.seed)

        def epoch(_number: int) -> float:
            student.train()
            order = torch.randperm(len(pictures), generator=generator).split(self.batch)
            losses = [self._step(student, optimizer, pictures[chosen]) for chosen in order]
            return sum(losses) / len(losses)

        train("reverse_distillation", self.epochs, epoch, generator, student=student, optimizer=optimizer)
        self.student_ = student.eval()
        return self

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """`[N, 3, H, W]` -> `[N, C, h, w]` by `cut`.

        `decoder` and `difference` join the three layers on the middle one's grid: the finest is averaged over the cells
        it has there, the coarsest enlarged bilinearly. The finest grid would take four times the memory (29 MB per
        picture of the default teacher), most of it spent on repeating the coarser layers.
        """
        student = self._student
        taught = self._taught(images)
        if self.cut == "bottleneck":
            return student.bottleneck(taught).cpu()
        learned = student(taught)
        maps = learned if self.cut == "decoder" else [difference(*pair) for pair in zip(taught, learned, strict=True)]
        return _on_middle_grid(maps).cpu()

    @torch.no_grad()
    def detect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Maps `[N, H, W]` and image scores `[N]`, the maxima of the maps.

        A map is the cosine distance at each layer, enlarged to the picture (bilinear with align_corners=True, as in the
        released code), combined over the layers and smoothed.
        """
        student = self._student
        taught = self._taught(images)
        pairs = zip(taught, student(taught), strict=True)
        layers = torch.stack([_enlarged(distance(*pair), tuple(images.shape[2:])) for pair in pairs])
        maps = gaussian(layers.sum(0) if self.combine == "sum" else layers.prod(0), self.sigma)
        return maps.cpu(), maps.amax((1, 2)).cpu()

    def state(self) -> dict[str, Tensor]:
        """The student's weights and statistics, and which of its stages end without ReLU."""
        weights = {name: value.cpu().contiguous() for name, value in self._student.state_dict().items()}
        return {"signed": torch.tensor(self.signed_), **weights}

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Take back what `state` gave; raises RuntimeError when it belongs to another teacher or other widths."""
        self.signed_ = tuple(bool(negative) for negative in state["signed"])
        student = self._untrained()
        student.load_state_dict({name: value for name, value in state.items() if name != "signed"})
        self.student_ = student.eval()
        return self

    @property
    def _student(self) -> Student:
        check_fitted(self, self.student_)
        return cast(Student, self.student_)

    @property
    def _teacher(self) -> Backbone:
        teacher = Backbone(self.backbone, tuple(self.layers), self.weights)
        first = teacher.strides[0]
        if teacher.strides != (first, 2 * first, 4 * first):
            raise ValueError(
                f"expected three layers of {self.backbone}, each of half the grid of the one before, "
                f"got {', '.join(self.layers)} at strides {', '.join(map(str, teacher.strides))}"
            )
        return teacher

    def _taught(self, images: Tensor) -> list[Tensor]:
        return [layer.to(device(), memory_format=torch.channels_last) for layer in self._teacher.maps(images)]

    def _untrained(self) -> Student:
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            student = Student(self._teacher.channels, self.blocks, self.width, self.signed_)
        return student.to(device()).to(memory_format=torch.channels_last)  # a third less time on a CPU

    def _step(self, student: Student, optimizer: torch.optim.Optimizer, images: Tensor) -> float:
        taught = self._taught(images)
        loss = whole_map_loss(taught, student(taught))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()


def whole_map_loss(taught: Sequence[Tensor], learned: Sequence[Tensor]) -> Tensor:
    """Sum over the layers of the mean over pictures of 1 - cosine of the two maps, each flattened to one vector.

    This is the released code's loss. Eq. 1 of the paper takes the cosine per pixel; trained so, the released code loses
    accuracy (carpet of MVTec AD: 92.3 % even after 1,000 epochs, issue 22 of its repository).

    >>> maps = [torch.tensor([[[[3.0, 4.0]]]])]
    >>> round(whole_map_loss(maps, [torch.tensor([[[[4.0, 3.0]]]])]).item(), 6)
    0.04
    """
    pairs = zip(taught, learned, strict=True)
    cosines = [F.cosine_similarity(known.flatten(1), seen.flatten(1)) for known, seen in pairs]
    return torch.stack([(1 - cosine).mean() for cosine in cosines]).sum()


def difference(taught: Tensor, learned: Tensor) -> Tensor:
    """Teacher minus student after scaling both to length 1 per cell, `[N, C, h, w]`."""
    return F.normalize(taught, dim=1) - F.normalize(learned, dim=1)


def distance(taught: Tensor, learned: Tensor) -> Tensor:
    """1 - cosine per cell, `[N, C, h, w]` twice -> `[N, h, w]` in [0, 2].

    Computed as half the squared `difference`: the same number, never negative, and exactly 0 where both agree.
    """
    return difference(taught, learned).square().sum(1) / 2


def _on_middle_grid(maps: Sequence[Tensor]) -> Tensor:
    fine, middle, coarse = maps
    size = (middle.shape[2], middle.shape[3])
    averaged = F.adaptive_avg_pool2d(fine, size)
    return torch.cat([averaged, middle, F.interpolate(coarse, size, mode="bilinear", align_corners=False)], dim=1)


def _enlarged(cells: Tensor, size: tuple[int, ...]) -> Tensor:
    return F.interpolate(cells[:, None], size, mode="bilinear", align_corners=True)[:, 0]
