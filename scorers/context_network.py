"""A network that must carry the whole picture through a narrow place, and one that sees only a neighbourhood."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from combiners.pca import Moments, principal_components
from extractors.frozen_features import shuffled_batches
from extractors.ranges import check_range
from extractors.training import train
from scorers.whole_picture import WholePicture, check_grid

SIDE = 16
"""Cells per side of what both networks see; finer features are averaged, coarser ones resized."""


@dataclass(eq=False)
class ContextNetwork(WholePicture):
    """Difference between an autoencoder with a narrow bottleneck and a student that predicts its output locally.

    The global branch of GCAD (Bergmann et al., IJCV 2022) and EfficientAD (Batzner et al., WACV 2024): a student with
    small receptive fields learns what the autoencoder makes of normal pictures, its blur included. Where the whole
    picture is unlike any normal one, the autoencoder draws something else than each neighbourhood lets expect.
    Differences to EfficientAD: both read frozen features instead of the picture, and there is no distilled teacher, so
    the local branch (teacher against student) is left to the patch methods.
    """

    components: int = 16
    """Principal components of the features that are drawn."""
    bottleneck: int = 32
    """Numbers that the autoencoder passes on."""
    hidden: int = 32
    """Channels of both networks."""
    epochs: int = 60
    """Passes over the normal pictures."""
    batch: int = 16
    """Pictures per step."""
    learning_rate: float = 2e-3
    """Of Adam, falling to zero along a cosine."""
    seed: int = 0
    """Draws first weights and the order of pictures."""
    matrix_: Tensor = field(init=False, repr=False)
    """`[C, K]`: principal components of standardised channels, set by fit."""
    mean_: Tensor = field(init=False, repr=False)
    """`[C]`, set by fit."""
    grid_: Tensor = field(init=False, repr=False)
    """(h, w) of the features learned from, set by fit."""
    usual_: Tensor = field(init=False, repr=False)
    """Mean difference over the normal pictures, the unit of the map; set by fit."""
    nets_: "Networks" = field(init=False, repr=False)
    """Set by fit."""

    def check_parameters(self) -> None:
        """Raise ValueError for parameters out of range."""
        check_range(self, "components", "bottleneck", "hidden", "epochs", "batch", least=1)
        check_range(self, "learning_rate", above=0)

    def learn(self, features: Tensor) -> None:
        """Train on features `[N, C, h, w]` of normal pictures."""
        moments = Moments()
        moments.add(features)
        count = min(self.components, features.shape[1])
        scale = moments.covariance.diagonal().clamp(min=1e-12).rsqrt()
        projection = principal_components(moments.mean, moments.covariance, count, whiten=False, scale=scale)
        self.mean_, self.matrix_ = projection.mean, projection.matrix / len(scale) ** 0.5
        self.grid_ = torch.tensor(features.shape[2:])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.nets_ = Networks(count, self.hidden, self.bottleneck)
        drawn = self._reduced(features)
        self._train(drawn)
        with torch.no_grad():
            self.usual_ = self.nets_.difference(drawn).mean()

    def judge(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features `[N, C, h, w]` -> scores of cells `[N, SIDE, SIDE]` and of pictures `[N]`, the largest cell."""
        check_grid(features, self.grid_.tolist())
        cells = self.nets_.difference(self._reduced(features)) / self.usual_
        return cells, F.avg_pool2d(cells[:, None], 3, 1).flatten(1).amax(1)

    def _reduced(self, features: Tensor) -> Tensor:
        rows = (features.permute(0, 2, 3, 1) - self.mean_) @ self.matrix_
        return F.adaptive_avg_pool2d(rows.permute(0, 3, 1, 2), SIDE)

    def _train(self, drawn: Tensor) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        optimiser = torch.optim.Adam(self.nets_.parameters(), self.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.epochs)

        def epoch(_number: int) -> float:
            losses = []
            for part in shuffled_batches(len(drawn), self.batch, generator):
                whole, local = self.nets_(drawn[part])
                loss = F.mse_loss(whole, drawn[part]) + F.mse_loss(local, whole.detach())
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                losses.append(loss.item())
            schedule.step()
            return sum(losses) / len(losses)

        train("context_network", self.epochs, epoch, generator, nets=self.nets_, optimiser=optimiser, schedule=schedule)
        self.nets_.requires_grad_(requires_grad=False).eval()


class Networks(nn.Module):
    """The autoencoder and its student."""

    def __init__(self, channels: int, hidden: int, bottleneck: int) -> None:
        super().__init__()
        quarter = SIDE // 4
        self.whole = nn.Sequential(
            nn.Conv2d(channels, hidden, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(hidden * quarter**2, bottleneck),
            nn.Linear(bottleneck, hidden * quarter**2),
            nn.Unflatten(1, (hidden, quarter, quarter)),
            nn.ReLU(),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.Conv2d(hidden, hidden, 3, 1, 1),
            nn.ReLU(),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.Conv2d(hidden, channels, 3, 1, 1),
        )
        self.local = nn.Sequential(
            nn.Conv2d(channels, hidden, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1),
        )

    def forward(self, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """`[N, K, SIDE, SIDE]` -> the autoencoder's drawing, and what the student expects of it."""
        return self.whole(drawn), self.local(drawn)

    def state(self) -> dict[str, Tensor]:
        """All weights."""
        return dict(self.state_dict())

    @classmethod
    def restored(cls, state: Mapping[str, Tensor]) -> Self:
        """Return the networks that gave `state`, whose shapes say of what size they are."""
        hidden, channels = state["local.0.weight"].shape[:2]
        found = cls(channels, hidden, len(state["whole.5.weight"]))
        found.load_state_dict(state)
        return found.requires_grad_(requires_grad=False).eval()

    def difference(self, drawn: Tensor) -> Tensor:
        """`[N, K, SIDE, SIDE]` -> mean squared difference of both `[N, SIDE, SIDE]`."""
        whole, local = self(drawn)
        return (whole - local).square().mean(1)
