"""AST: a normalizing flow teaches a plain network on normal pictures; where they part, something is wrong."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self, cast

import torch
from torch import Tensor, nn

from extractors.ast_networks import Pair, teacher_flow, untrained_student
from extractors.backbone import Backbone
from extractors.coupling import Flow
from extractors.frozen_features import FrozenFeatures, resized, shuffled_batches
from extractors.protocol import Scoring, check_fitted
from extractors.ranges import check_range
from extractors.runtime import device
from extractors.training import train


@dataclass(eq=False)
class AST(Scoring):
    """Asymmetric student-teacher networks (Rudolph et al., WACV 2023), pictures only, written from the paper.

    The map is the mean over channels of (teacher - student)^2, bicubic to the picture's size.

    Other than the published code: all randomness comes from `seed` (there NumPy's generator is re-seeded from the
    system's entropy); the last epoch is kept; a picture is enlarged by a factor instead of resized to 768 x 768, so
    that rectangular ones keep their shape; the batches of an epoch are of nearly equal size instead of dropping the
    rest; the network comes from timm, where `blocks.5` ends with the published block 35.
    """

    backbone: str = "tf_efficientnet_b5"
    """timm name of the frozen network."""
    layers: tuple[str, ...] = ("blocks.5",)
    """Layers it is read at; several are concatenated on the finest one's grid."""
    weights: str | None = None
    """Weights file of the backbone; None looks where `extractors.weights.create_network` says."""
    image_scale: int = 3
    """Pictures are enlarged by this factor first: 256 px become the published 768. 1 for pictures read at 768 px."""
    teacher_hidden: int = 64
    """Channels between the two convolutions of a coupling network."""
    hidden: int = 1024
    """Channels of the student."""
    epochs: int = 72
    """Passes over the training pictures' features: so many for the teacher, then so many for the student."""
    batch: int = 8
    """Pictures per step, at most."""
    learning_rate: float = 2e-4
    """Of Adam, for both, with eps 1e-8 and weight decay 1e-5."""
    standardise: bool = False
    """Let the teacher start from features of mean 0 and deviation 1 per channel: not published, for short trainings."""
    image_rule: Literal["maximum", "mean"] = "maximum"
    """How the map becomes the image score; the published code reports both (the mean is that of the grid)."""
    cut: Literal["difference", "both"] = "difference"
    """`features`: teacher - student (C channels), or teacher and student (2 C)."""
    seed: int = 0
    """Of the permutations, the first weights and the order of the pictures."""
    pair_: Pair | None = field(init=False, repr=False, default=None)
    """The trained teacher and student, set by fit."""

    AFTER_FIT: ClassVar[tuple[str, ...]] = ("cut", "image_rule")
    """Parameters that a fit does not depend on."""

    @property
    def channels(self) -> int:
        """C of `features`: that of the backbone's map, twice for the cut `both`."""
        return self._frozen.channels * (2 if self.cut == "both" else 1)

    @property
    def stride(self) -> int:
        """Pixels per cell: the backbone's stride divided by `image_scale`, rounded."""
        return self._frozen.stride

    def check(self) -> None:
        """Raise ValueError for parameters out of range."""
        check_range(self, "image_scale", "teacher_hidden", "hidden", "epochs", "batch", least=1)
        check_range(self, "learning_rate", above=0)

    def fit(self, images: Iterable[Tensor]) -> Self:
        """Train the teacher by likelihood and then the student on its latents, on normal pictures of one size."""
        self.check()
        maps = self._frozen.of_all(images)[0]
        generator = torch.Generator().manual_seed(self.seed)
        pair = self._pair()
        if self.standardise:
            pair.teacher.standardise([maps])

        def teacher_loss(cells: Tensor) -> Tensor:
            return likelihood_loss(*pair.teacher([cells]))

        def student_loss(cells: Tensor, latents: Tensor) -> Tensor:
            return distance(latents, pair.student(cells)).mean()

        self._train("ast_teacher", pair.teacher, teacher_loss, [maps], generator)
        latents = self._latents(pair.teacher, maps)
        self._train("ast_student", pair.student, student_loss, [maps, latents], generator)
        self.pair_ = pair
        return self

    def features(self, images: Tensor) -> Tensor:
        """`[N, 3, H, W]` -> `[N, C or 2 C, ceil(H / stride), ceil(W / stride)]` as `cut` says."""
        teacher, student = self._outputs(images)
        chosen = torch.cat([teacher, student], dim=1) if self.cut == "both" else teacher - student
        return resized(chosen, self._frozen.grid(images), "bilinear").cpu()

    def detect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """`[N, 3, H, W]` -> maps `[N, H, W]` and scores `[N]` as `image_rule` says; higher is more anomalous."""
        cells = distance(*self._outputs(images))
        maps = resized(cells[:, None], images.shape[2:], "bicubic")[:, 0]
        scores = cells.mean((1, 2)) if self.image_rule == "mean" else maps.amax((1, 2))
        return maps.cpu(), scores.cpu()

    def state(self) -> dict[str, Tensor]:
        """Weights of both networks and the teacher's permutations."""
        return {name: values.cpu() for name, values in self._fitted().state_dict().items()}

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Take back what `state` gave; raises ValueError where it belongs to other settings."""
        pair = self._pair()
        try:
            pair.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"this state belongs to an AST with other settings: {str(error)[:300]}") from error
        self.pair_ = pair
        return self

    @property
    def _frozen(self) -> FrozenFeatures:
        return FrozenFeatures(Backbone(self.backbone, tuple(self.layers), self.weights), self.image_scale)

    def _pair(self) -> Pair:
        channels = self._frozen.channels
        teacher = teacher_flow(channels, self.teacher_hidden, self.seed)
        return Pair(teacher, untrained_student(channels, self.hidden, self.seed)).to(device()).eval()

    def _train(
        self,
        name: str,
        network: nn.Module,
        loss_of: Callable[..., Tensor],
        data: Sequence[Tensor],
        generator: torch.Generator,
    ) -> None:
        """Minimise `loss_of` the same pictures' share of each tensor in `data`."""
        optimiser = torch.optim.Adam(network.parameters(), lr=self.learning_rate, eps=1e-8, weight_decay=1e-5)

        def epoch(_number: int) -> float:
            parts = list(shuffled_batches(len(data[0]), self.batch, generator))
            losses = [_step(optimiser, loss_of(*(tensor[rows].to(device()) for tensor in data))) for rows in parts]
            return sum(losses) / len(losses)

        network.train()
        train(name, self.epochs, epoch, generator, network=network, optimiser=optimiser)
        network.eval()

    @torch.no_grad()
    def _latents(self, teacher: Flow, maps: Tensor) -> Tensor:
        """The trained teacher's latents of all training maps, `[N, C, h, w]`: it never changes again."""
        return torch.cat([teacher([part.to(device())])[0][0].cpu() for part in maps.split(self.batch)])

    @torch.no_grad()
    def _outputs(self, images: Tensor) -> tuple[Tensor, Tensor]:
        pair = self._fitted().to(device())
        return pair(self._frozen(images)[0].to(device()))

    def _fitted(self) -> Pair:
        check_fitted(self, self.pair_)
        return cast(Pair, self.pair_)


def likelihood_loss(latents: list[Tensor], volumes: list[Tensor]) -> Tensor:
    """Negative log-likelihood per cell, less a constant: mean over cells of sum_c z^2 / 2 - log |det J|.

    >>> likelihood_loss([torch.ones(1, 4, 2, 2)], [torch.zeros(1, 2, 2)])
    tensor(2.)
    """
    return torch.stack(
        [(z.square().sum(1) / 2 - growth).mean() for z, growth in zip(latents, volumes, strict=True)]
    ).mean()


def distance(teacher: Tensor, student: Tensor) -> Tensor:
    """`[N, C, h, w]` twice -> mean over channels of the squared difference, `[N, h, w]`.

    >>> distance(torch.ones(1, 2, 1, 1), torch.tensor([-1.0, 1.0]).view(1, 2, 1, 1))
    tensor([[[2.]]])
    """
    return (teacher - student).square().mean(1)


def _step(optimiser: torch.optim.Optimizer, loss: Tensor) -> float:
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()
