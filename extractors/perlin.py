"""Perlin noise (Perlin, SIGGRAPH 2002) and the anomaly masks that DRAEM cuts from it."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

ATTEMPTS = 32
"""Draws of noise before a mask is made from noise that never passes the threshold."""


def anomaly_masks(
    count: int, size: tuple[int, int], generator: torch.Generator, *, octaves: int = 6, threshold: float = 0.5
) -> Tensor:
    """Draw `count` masks bool [N, H, W], each with at least one pixel set: where rotated Perlin noise > threshold.

    Per axis the picture has 2^0 .. 2^(octaves - 1) cells, and the noise is turned by up to 90 degrees either way
    (Zavrtanik et al., ICCV 2021). Where the noise stays below the threshold the published code trains on an empty mask;
    here it is drawn again, and after 32 draws in vain its highest pixels are the mask.

    >>> masks = anomaly_masks(3, (32, 48), torch.Generator().manual_seed(0))
    >>> masks.shape, masks.flatten(1).any(1).all().item()
    (torch.Size([3, 32, 48]), True)
    """
    if octaves < 1:
        raise ValueError(f"expected at least 1 octave of Perlin noise, got {octaves}")
    masks = torch.zeros(count, *size, dtype=torch.bool)
    empty = torch.arange(count)
    for attempt in range(ATTEMPTS):
        if not len(empty):
            break
        noise = random_noise(len(empty), size, generator, octaves=octaves)
        highest = noise.amax((1, 2), keepdim=True)
        masks[empty] = noise >= highest if attempt == ATTEMPTS - 1 else noise > threshold
        empty = empty[highest.flatten() <= threshold]
    return masks


def random_noise(count: int, size: tuple[int, int], generator: torch.Generator, *, octaves: int = 6) -> Tensor:
    """Draw `count` fields [N, H, W] of Perlin noise with random cells, directions and rotation."""
    return perlin_noise(size, *_drawn(count, generator, octaves))


def random_fields(
    count: int, size: tuple[int, int], generator: torch.Generator, *, octaves: int = 6
) -> Iterator[Tensor]:
    """Yield the fields [H, W] that `random_noise` draws, each computed when it is asked for.

    >>> fields = random_fields(3, (8, 8), torch.Generator().manual_seed(0))
    >>> torch.allclose(next(fields), random_noise(3, (8, 8), torch.Generator().manual_seed(0))[0])
    True
    """
    for cells, directions, rotation in zip(*_drawn(count, generator, octaves)):
        yield perlin_noise(size, cells[None], directions[None], rotation[None])[0]


def _drawn(count: int, generator: torch.Generator, octaves: int) -> tuple[Tensor, Tensor, Tensor]:
    """Cells, directions and rotations of `count` fields."""
    cells = 2 ** torch.randint(octaves, (count, 2), generator=generator)
    corners = 2 ** (octaves - 1) + 1
    directions = 2 * math.pi * torch.rand(count, corners, corners, generator=generator)
    return cells, directions, math.pi * (torch.rand(count, generator=generator) - 0.5)


def perlin_noise(size: tuple[int, int], cells: Tensor, directions: Tensor, rotations: Tensor) -> Tensor:
    """Return gradient noise [N, H, W] in [-1, 1], zero at every corner of a cell.

    `cells` int [N, 2] along y and x; `directions` [N, a, b] of the gradients at the cells' corners in radians, with
    a > cells along y and b > cells along x; `rotations` [N] in radians about the picture's centre. What the turned
    field does not cover is 0. The noise is evaluated at the turned position of each pixel rather than resampled.

    >>> perlin_noise((2, 4), torch.tensor([[1, 2]]), torch.zeros(1, 2, 3), torch.zeros(1))[0, 0].tolist()
    [0.0, 0.0, 0.0, 0.0]
    """
    if directions.shape[1] <= int(cells[:, 0].max()) or directions.shape[2] <= int(cells[:, 1].max()):
        raise ValueError(f"expected a direction at every corner of {cells.tolist()} cells, got {directions.shape[1:]}")
    y, x, covered = _turned(size, rotations)
    (row, down), (column, right) = _in_cell(y, size[0], cells[:, 0]), _in_cell(x, size[1], cells[:, 1])
    slopes_y, slopes_x = directions.cos().flatten(1), directions.sin().flatten(1)
    first = (row * directions.shape[2] + column).flatten(1)

    def slope(below: int, beside: int) -> Tensor:
        corner = first + below * directions.shape[2] + beside
        along_y, along_x = (slopes.gather(1, corner).view_as(y) for slopes in (slopes_y, slopes_x))
        return along_y * (down - below) + along_x * (right - beside)

    top = torch.lerp(slope(0, 0), slope(0, 1), _fade(right))
    bottom = torch.lerp(slope(1, 0), slope(1, 1), _fade(right))
    return math.sqrt(2) * torch.lerp(top, bottom, _fade(down)) * covered


def _turned(size: tuple[int, int], rotations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return y, x and whether they lie in the picture, [N, H, W] each."""
    middle_y, middle_x = (size[0] - 1) / 2, (size[1] - 1) / 2
    y, x = torch.arange(size[0])[:, None] - middle_y, torch.arange(size[1]) - middle_x
    cosine, sine = rotations.cos()[:, None, None], rotations.sin()[:, None, None]
    turned_y, turned_x = cosine * y - sine * x + middle_y, sine * y + cosine * x + middle_x
    rounding = 1e-3
    covered = ((turned_y - middle_y).abs() <= middle_y + rounding) & (
        (turned_x - middle_x).abs() <= middle_x + rounding
    )
    return turned_y, turned_x, covered


def _in_cell(position: Tensor, length: int, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cell's number and the place in the cell, in [0, 1], of pixel positions [N, H, W] along one axis."""
    last = (cells - 1)[:, None, None]
    along = position * (cells / length)[:, None, None]
    number = along.floor().long().clamp(min=torch.zeros_like(last), max=last)
    return number, (along - number).clamp(0, 1)


def _fade(place: Tensor) -> Tensor:
    return place**3 * (place * (6 * place - 15) + 10)
