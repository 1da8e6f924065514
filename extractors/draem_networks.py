"""The two networks of DRAEM (Zavrtanik et al., ICCV 2021): one repairs the picture, the other finds what was repaired.

Layers and widths are those of the published code (github.com/VitjanZ/DRAEM, model_unet.py), counted in the tests.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

DEPTH = 32
"""Height and width of a picture must be multiples of this: the discriminative network halves them five times."""


class Reconstructive(nn.Module):
    """An autoencoder without skips: `[N, 3, H, W]` -> `[N, 3, H, W]`, the picture as it should be, not clipped.

    The bottleneck is `[N, 8 width, H / 16, W / 16]`; 69.05 M parameters at the published width of 128.

    >>> Reconstructive(width=2)(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 3, 32, 32])
    """

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        one, two, four, eight = (width * factor for factor in (1, 2, 4, 8))
        self.encoder = nn.Sequential(
            _block(3, one, one),
            *(nn.MaxPool2d(2), _block(one, two, two)),
            *(nn.MaxPool2d(2), _block(two, four, four)),
            *(nn.MaxPool2d(2), _block(four, eight, eight)),
            *(nn.MaxPool2d(2), _block(eight, eight, eight)),
        )
        self.decoder = nn.Sequential(
            *(_up(eight, eight), _block(eight, eight, four)),
            *(_up(four, four), _block(four, four, two)),
            *(_up(two, two), _block(two, two, one)),
            *(_up(one, one), _block(one, one, one)),
            nn.Conv2d(one, 3, 3, padding=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Repair `[N, 3, H, W]`."""
        repaired: Tensor = self.decoder(self.encoder(images))
        return repaired


class Discriminative(nn.Module):
    """A U-Net over the repaired and the given picture: `[N, 6, H, W]` -> logits `[N, 2, H, W]`, channel 1 anomalous.

    28.37 M parameters at the published width of 64.

    >>> Discriminative(width=2)(torch.zeros(1, 6, 64, 32)).shape
    torch.Size([1, 2, 64, 32])
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        one, two, four, eight = (width * factor for factor in (1, 2, 4, 8))
        down = [6, one, two, four, eight, eight, eight]
        self.encoder = nn.ModuleList(_block(given, made, made) for given, made in pairwise(down))
        self.pool = nn.MaxPool2d(2)
        decoded, skipped = [eight, eight, four, two, one, one], [eight, eight, four, two, one]
        self.up = nn.ModuleList(_up(given, made) for given, made in pairwise(decoded))
        self.decoder = nn.ModuleList(_block(made + skip, made, made) for made, skip in zip(decoded[1:], skipped))
        self.head = nn.Conv2d(one, 2, 3, padding=1)

    def forward(self, pair: Tensor) -> Tensor:
        """Find what differs: `[N, 6, H, W]`, repaired picture first."""
        logits: Tensor = self.head(self.decode(self.encode(pair), len(self.decoder)))
        return logits

    def encode(self, pair: Tensor) -> list[Tensor]:
        """Return b1 .. b6 of the paper's code: strides 1, 2, 4, 8, 16, 32; widths x 1, 2, 4, 8, 8, 8."""
        maps = [self.encoder[0](pair)]
        for block in list(self.encoder)[1:]:
            maps.append(block(self.pool(maps[-1])))
        return maps

    def decode(self, encoded: list[Tensor], steps: int) -> Tensor:
        """Climb `steps` of db_b, db1, db2, db3, db4: strides 16, 8, 4, 2, 1; widths x 8, 4, 2, 1, 1."""
        climbed = encoded[-1]
        for up, block, skipped in list(zip(self.up, self.decoder, reversed(encoded[:-1])))[:steps]:
            climbed = block(torch.cat([up(climbed), skipped], dim=1))
        return climbed


class Networks(nn.Module):
    """Both networks, trained as one: the loss on the finding reaches the repairing."""

    def __init__(self, width: int = 128, discriminative_width: int = 64) -> None:
        super().__init__()
        self.reconstructive = Reconstructive(width)
        self.discriminative = Discriminative(discriminative_width)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """`[N, 3, H, W]` -> repaired pictures `[N, 3, H, W]` and logits `[N, 2, H, W]`."""
        repaired = self.reconstructive(images)
        return repaired, self.discriminative(torch.cat([repaired, images], dim=1))

    def encode(self, images: Tensor) -> list[Tensor]:
        """`[N, 3, H, W]` -> the six maps of the discriminative encoder."""
        return self.discriminative.encode(torch.cat([self.reconstructive(images), images], dim=1))


def initialise(net: nn.Module, generator: torch.Generator) -> None:
    """Draw convolution weights from N(0, 0.02) and normalisation weights from N(1, 0.02); every bias starts at 0.

    The published code leaves convolution biases at their uniform default; but for the last layers', the batch
    normalisation that follows removes them.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            mean = 0.0 if isinstance(module, nn.Conv2d) else 1.0
            module.weight.data.normal_(mean, 0.02, generator=generator)
            module.bias.data.zero_()  # type: ignore[union-attr]


def _block(given: int, middle: int, made: int) -> nn.Sequential:
    return nn.Sequential(*_layer(given, middle), *_layer(middle, made))


def _up(given: int, made: int) -> nn.Sequential:
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), *_layer(given, made))


def _layer(given: int, made: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(given, made, 3, padding=1), nn.BatchNorm2d(made), nn.ReLU(inplace=True)
