"""The trained half of reverse distillation: a one-class bottleneck and a decoder that mirrors the teacher."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Step = Literal["same", "halve", "double"]
"""What a residual block does to height and width."""


class Student(nn.Module):
    """Give the teacher's three maps back from one small code of them.

    The teacher's maps have `channels`, finest first, each of half the height and width of the one before. All widths
    follow from them as in the released code, whose student of WideResNet-50 is `Student((256, 512, 1024))`. `blocks`
    counts the residual blocks of the bottleneck and of the decoder's stages, coarsest first; `width` is the inner width
    of a block as a share of its outputs; `signed` says in which maps the teacher's values can be negative.

    >>> maps = [torch.rand(2, 4, 16, 16), torch.rand(2, 6, 8, 8), torch.rand(2, 8, 4, 4)]
    >>> student = Student((4, 6, 8))
    >>> student.bottleneck(maps).shape
    torch.Size([2, 16, 2, 2])
    >>> [tuple(output.shape) for output in student(maps)]
    [(2, 4, 16, 16), (2, 6, 8, 8), (2, 8, 4, 4)]
    """

    def __init__(
        self,
        channels: Sequence[int],
        blocks: Sequence[int] = (3, 3, 4, 6),
        width: float = 0.5,
        signed: Sequence[bool] = (False, False, False),
    ) -> None:
        super().__init__()
        self.bottleneck = OneClassBottleneck(channels, blocks[0], width)
        self.decoder = Decoder(channels, blocks[1:], width, signed)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Teacher's maps `[N, C, h, w]`, finest first -> the student's, of the same shapes."""
        return self.decoder(self.bottleneck(maps), [output.shape[2:] for output in maps])


class OneClassBottleneck(nn.Module):
    """Bring the maps to the coarsest grid, join them (multi-scale feature fusion) and squeeze them into one code.

    The released code also holds a 1 x 1 convolution with batch norm that nothing calls (8.4 M of its 67.3 M parameters
    for WideResNet-50); it is left out.
    """

    def __init__(self, channels: Sequence[int], blocks: int, width: float) -> None:
        super().__init__()
        fine, middle, coarse = channels
        self.fine = nn.Sequential(_halving(fine, middle), _halving(middle, coarse))
        self.middle = _halving(middle, coarse)
        self.code = _stage(3 * coarse, 2 * coarse, blocks, width, "halve")

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Three maps, finest first -> `[N, 2 C, ceil(h / 2), ceil(w / 2)]` with the coarsest map's C, h, w."""
        fine, middle, coarse = maps
        return self.code(torch.cat([self.fine(fine), self.middle(middle), coarse], dim=1))


class Decoder(nn.Module):
    """The teacher's stages in reverse, each doubling height and width."""

    def __init__(self, channels: Sequence[int], blocks: Sequence[int], width: float, signed: Sequence[bool]) -> None:
        super().__init__()
        fine, middle, coarse = channels
        widths = [(2 * coarse, coarse), (coarse, middle), (middle, fine)]
        self.stages = nn.ModuleList(
            _stage(*pair, count, width, "double", signed=negative)
            for pair, count, negative in zip(widths, blocks, reversed(signed), strict=True)
        )

    def forward(self, code: Tensor, sizes: Sequence[Sequence[int]]) -> list[Tensor]:
        """Code -> one map of each of `sizes`, finest first; a doubled odd size loses its last row or column."""
        maps: list[Tensor] = []
        for stage, (height, width) in zip(self.stages, reversed(sizes), strict=True):
            code = stage(code)[..., :height, :width]
            maps.insert(0, code)
        return maps


class _Residual(nn.Module):
    """1 x 1, spatial, 1 x 1 convolution beside a shortcut; the spatial one changes the size."""

    def __init__(self, inside: int, outside: int, inner: int, step: Step, *, signed: bool) -> None:
        super().__init__()
        self.signed = signed
        self.body = nn.Sequential(
            nn.Conv2d(inside, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            _deconvolution(inner, inner) if step == "double" else _convolution(inner, inner, step),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, outside, 1, bias=False),
            nn.BatchNorm2d(outside),
        )
        self.shortcut = nn.Identity() if step == "same" else _resized(inside, outside, step)

    def forward(self, maps: Tensor) -> Tensor:
        summed = self.body(maps) + self.shortcut(maps)
        return summed if self.signed else summed.relu_()


def _stage(inside: int, outside: int, blocks: int, width: float, step: Step, *, signed: bool = False) -> nn.Sequential:
    """One block that changes size and channels, then `blocks - 1` that keep them; a signed stage ends without ReLU."""
    inner = max(1, round(width * outside))
    ends = [signed and number == blocks - 1 for number in range(blocks)]
    first = _Residual(inside, outside, inner, step, signed=ends[0])
    return nn.Sequential(first, *(_Residual(outside, outside, inner, "same", signed=end) for end in ends[1:]))


def _halving(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(_convolution(inside, outside, "halve"), nn.BatchNorm2d(outside), nn.ReLU(inplace=True))


def _convolution(inside: int, outside: int, step: Step) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, 3, stride=2 if step == "halve" else 1, padding=1, bias=False)


def _deconvolution(inside: int, outside: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inside, outside, 2, stride=2, bias=False)


def _resized(inside: int, outside: int, step: Step) -> nn.Sequential:
    change = nn.Conv2d(inside, outside, 1, stride=2, bias=False) if step == "halve" else _deconvolution(inside, outside)
    return nn.Sequential(change, nn.BatchNorm2d(outside))
