"""A two-layer perceptron that tells normal features from the same features with Gaussian noise on them.

This is SimpleNet's decision layer (Liu et al., CVPR 2023, section 3.3) without the network around it: a linear adaptor
(or none), noise, `Linear -> BatchNorm -> LeakyReLU -> Linear`, and a hinge loss with a margin. SimpleNet trains it on
its patch features, the ensemble's discriminator on fused ones.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from extractors.runtime import device
from extractors.training import Trainable, train

LEAK = 0.2
"""Negative slope of the released SimpleNet."""

Noise = Callable[[Tensor, torch.Generator], Tensor]
"""Adapted features `[n, C]` and a generator -> noise of the same shape."""


class Contrast(nn.Module):
    """Adaptor and discriminator: `forward` gives a normality per row, positive for normal features."""

    def __init__(self, channels: int, hidden: int, *, adaptor: bool) -> None:
        super().__init__()
        self.adaptor = nn.Linear(channels, channels) if adaptor else nn.Identity()
        self.hidden = nn.Sequential(nn.Linear(channels, hidden), nn.BatchNorm1d(hidden), nn.LeakyReLU(LEAK))
        self.head = nn.Linear(hidden, 1, bias=False)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_normal_(layer.weight)

    def forward(self, rows: Tensor) -> Tensor:
        """`[n, C]` -> normality `[n]`."""
        return self.normality(self.adaptor(rows))

    def normality(self, adapted: Tensor) -> Tensor:
        """Adapted features `[n, C]` -> `[n]`."""
        return self.head(self.hidden(adapted)).squeeze(1)


@dataclass(frozen=True)
class Recipe:
    """How a Contrast is trained."""

    epochs: int
    rows_per_step: int
    learning_rate: float
    weight_decay: float
    adaptor_learning_rate: float
    adaptor_weight_decay: float
    margin: float
    seed: int

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.rows_per_step < 2:
            given = f"{self.epochs} and {self.rows_per_step}"
            raise ValueError(f"expected epochs of at least 1 and a batch of at least 2 rows, got {given}")


def create(channels: int, hidden: int, seed: int, *, adaptor: bool) -> Contrast:
    """Return an untrained Contrast; the same `seed` gives the same weights, and no global generator is touched."""
    if hidden < 1:
        raise ValueError(f"expected hidden of at least 1, got {hidden}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Contrast(channels, hidden, adaptor=adaptor).eval()


def contrast(
    name: str, net: Contrast, rows: Tensor, noise: Noise, recipe: Recipe, negatives: Tensor | None = None
) -> Contrast:
    """Train `net` on normal features `rows` `[n, C]` against `adaptor(rows) + noise`; returns it in eval mode.

    Rows of `negatives` `[m, C]`, where there are any, are a third part of each step, a quarter as many as normal ones.

    As in the released code the discriminator sees real and noisy rows in one batch (they share batch statistics), its
    optimiser is Adam, the adaptor's AdamW, rates are constant, and the last epoch is kept.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    net = net.to(device()).train()
    optimiser = torch.optim.Adam(
        [*net.hidden.parameters(), *net.head.parameters()], recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    parts: dict[str, Trainable] = {"net": net, "optimiser": optimiser}
    optimisers = [optimiser]
    if isinstance(net.adaptor, nn.Linear):
        adaptor = torch.optim.AdamW(
            net.adaptor.parameters(), recipe.adaptor_learning_rate, weight_decay=recipe.adaptor_weight_decay
        )
        parts["adaptor_optimiser"] = adaptor
        optimisers.append(adaptor)

    def epoch(_number: int) -> float:
        losses = [
            _step(
                net,
                optimisers,
                batch.to(device()),
                noise,
                recipe.margin,
                generator,
                _drawn(negatives, batch, generator),
            )
            for batch in _shuffled(rows, recipe.rows_per_step, generator)
        ]
        return float(torch.stack(losses).mean())

    train(name, recipe.epochs, epoch, generator, **parts)
    return net.eval().requires_grad_(requires_grad=False)


def hinge(normal: Tensor, negative: Tensor, margin: float) -> Tensor:
    """Eq. 5 of SimpleNet: mean(max(0, margin - D(normal))) + mean(max(0, margin + D(negative))).

    >>> float(hinge(torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 0.5]), margin=0.5))
    0.75
    """
    return F.relu(margin - normal).mean() + F.relu(margin + negative).mean()


def _step(
    net: Contrast,
    optimisers: list[torch.optim.Adam],
    batch: Tensor,
    noise: Noise,
    margin: float,
    generator: torch.Generator,
    negatives: Tensor,
) -> Tensor:
    adapted = net.adaptor(batch)
    noisy = adapted + noise(adapted.detach(), generator).to(adapted)
    together = torch.cat([adapted, noisy, net.adaptor(negatives)])
    normal, negative, anomalous = net.normality(together).split([len(batch), len(batch), len(negatives)])
    loss = hinge(normal, negative, margin)
    if len(negatives):
        loss = loss + F.relu(margin + anomalous).mean()
    for optimiser in optimisers:
        optimiser.zero_grad(set_to_none=True)
    loss.backward()
    for optimiser in optimisers:
        optimiser.step()
    return loss.detach()


def _drawn(negatives: Tensor | None, batch: Tensor, generator: torch.Generator) -> Tensor:
    """A quarter as many negatives as the batch has rows, drawn with replacement; none where there are none."""
    if negatives is None or not len(negatives):
        return batch[:0].to(device())
    return negatives[torch.randint(len(negatives), (-(-len(batch) // 4),), generator=generator)].to(device())


def _shuffled(rows: Tensor, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Batches in random order; a last batch of one row is left out, because a batch norm cannot use it."""
    order = torch.randperm(len(rows), generator=generator)
    for index in order.split(size):
        if len(index) > 1 or len(rows) == 1:
            yield rows[index]
