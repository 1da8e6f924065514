"""The two unlike networks of AST: a flow that knows where it is (teacher) and a residual network (student)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from extractors.coupling import CouplingBlock, Flow, half_sizes, random_orders

POSITION_CHANNELS = 32
KERNELS = (3, 3, 3, 5)
"""Kernel size of the convolutions in each of the teacher's four coupling blocks."""
CLAMP = 1.9
RESIDUAL_BLOCKS = 4


def teacher_flow(channels: int, hidden: int, seed: int) -> Flow:
    """Return the untrained teacher for maps of `channels`: exactly four channel permutations in a row."""
    generator = torch.Generator().manual_seed(seed)
    upper, lower = half_sizes(channels)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Flow(
            CouplingBlock(
                random_orders(1, channels, generator),
                PlacedNetwork(lower, 2 * upper, hidden, kernel),
                PlacedNetwork(upper, 2 * lower, hidden, kernel),
                CLAMP,
            )
            for kernel in KERNELS
        )


class PlacedNetwork(nn.Module):
    """Two convolutions that see the position code; the output is multiplied by a learnt number that starts at 0."""

    def __init__(self, inputs: int, outputs: int, hidden: int, kernel: int) -> None:
        super().__init__()
        placed = inputs + POSITION_CHANNELS
        self.enter = nn.Conv2d(placed, hidden, kernel, padding=kernel // 2, padding_mode="replicate")
        self.leave = nn.Conv2d(hidden, outputs, kernel, padding=kernel // 2, padding_mode="replicate")
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Per scale `[N, inputs, h, w]` -> `[N, outputs, h, w]`."""
        return [self.gamma * self.leave(F.relu(self.enter(with_position(scale)))) for scale in maps]


class Student(nn.Module):
    """Convolution, residual blocks, convolution: nothing about it is invertible."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels + POSITION_CHANNELS, hidden, 3, padding=1)
        self.blocks = nn.Sequential(*(ResidualBlock(hidden) for _ in range(RESIDUAL_BLOCKS)))
        self.leave = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        """`[N, C, h, w]` -> its guess of the teacher's latents, same shape."""
        return self.leave(self.blocks(F.leaky_relu(self.enter(with_position(maps)))))


class ResidualBlock(nn.Module):
    """Twice convolution, batch normalisation, LeakyReLU; then the input is added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_normalised(channels), *_normalised(channels))

    def forward(self, maps: Tensor) -> Tensor:
        """`[N, C, h, w]` -> same shape."""
        return maps + self.body(maps)


class Pair(nn.Module):
    """Teacher and student together."""

    def __init__(self, teacher: Flow, student: Student) -> None:
        super().__init__()
        self.teacher, self.student = teacher, student

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """`[N, C, h, w]` -> the latents of one and the guess of the other, same shape."""
        return self.teacher([maps])[0][0], self.student(maps)


def untrained_student(channels: int, hidden: int, seed: int) -> Student:
    """Return the student with the first weights that `seed` draws."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Student(channels, hidden)


def with_position(maps: Tensor) -> Tensor:
    """Append the position code: `[N, C, h, w]` -> `[N, C + 32, h, w]`."""
    code = position_code(POSITION_CHANNELS, *maps.shape[2:]).to(maps)
    return torch.cat([maps, code.expand(len(maps), -1, -1, -1)], dim=1)


def position_code(channels: int, height: int, width: int) -> Tensor:
    """Return the 2-D sinusoidal code `[channels, height, width]`: half the channels tell the column, half the row.

    Each half alternates sin(x / r), cos(x / r) for rates r from 1 to 10000 (Vaswani et al., 2017, along both axes).

    >>> position_code(4, 1, 2)[:, 0]
    tensor([[0.0000, 0.8415],
            [1.0000, 0.5403],
            [0.0000, 0.0000],
            [1.0000, 1.0000]])
    """
    columns = _sinusoids(channels // 2, width)[:, None, :].expand(-1, height, -1)
    rows = _sinusoids(channels // 2, height)[:, :, None].expand(-1, -1, width)
    return torch.cat([columns, rows])


def _sinusoids(channels: int, length: int) -> Tensor:
    rates = torch.exp(torch.arange(0, channels, 2) * (-math.log(1e4) / channels))
    angles = rates[:, None] * torch.arange(length)
    return torch.stack([angles.sin(), angles.cos()], dim=1).flatten(0, 1)


def _normalised(channels: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.LeakyReLU()]
