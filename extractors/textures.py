"""Where DRAEM's synthetic anomalies take their looks from: a folder of textures, or what is at hand offline."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from extractors.texture_changes import change

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


class Textures(Protocol):
    """Something that anomalies can be cut from."""

    def draw(self, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        """Return RGB uint8 [H, W, 3]."""
        ...


@dataclass(frozen=True)
class FolderTextures:
    """Pictures below a folder, stretched to size; published with the Describable Textures Dataset (DTD)."""

    files: Sequence[Path]

    @classmethod
    def below(cls, folder: Path) -> "FolderTextures":
        """Find the pictures; ValueError when there are none."""
        files = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)
        if not files:
            raise ValueError(
                f"expected a folder with texture pictures ({', '.join(SUFFIXES)}), found none below {folder}; "
                "give another folder, or none to use procedural textures"
            )
        return cls(tuple(files))

    def draw(self, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        """Return one of the pictures, changed at random; ValueError names a file that cannot be read."""
        path = self.files[int(rng.integers(len(self.files)))]
        picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR_RGB) if path.stat().st_size else None
        if picture is None:
            raise ValueError(f"the texture {path} is not a picture that can be read: remove or replace it")
        return change(cv2.resize(picture, size[::-1]), rng)


@dataclass(frozen=True)
class OfflineTextures:
    """Procedural textures and crops of the class's own normal pictures, in equal parts: needs no files.

    The published source is a folder of natural textures; this one shows fewer materials, and it shows parts of the
    object where they do not belong.
    """

    pictures: np.ndarray
    """RGB uint8 [N, h, w, 3]."""

    def draw(self, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        """Return a texture or a crop, changed at random."""
        texture = self._crop(size, rng) if rng.random() < 0.5 else procedural(size, rng)
        return change(texture, rng)

    def _crop(self, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        picture = self.pictures[rng.integers(len(self.pictures))]
        height, width = (max(1, round(rng.uniform(0.25, 1) * length)) for length in picture.shape[:2])
        top, left = rng.integers(picture.shape[0] - height + 1), rng.integers(picture.shape[1] - width + 1)
        crop = np.rot90(picture[top : top + height, left : left + width], int(rng.integers(4)))
        return cv2.resize(np.ascontiguousarray(crop), size[::-1])


def procedural(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Draw one of four kinds of texture, RGB uint8 [H, W, 3]: clouds, stripes, tiles, grain.

    >>> procedural((8, 12), np.random.default_rng(0)).shape
    (8, 12, 3)
    """
    pattern = _PATTERNS[rng.integers(len(_PATTERNS))](size, rng)
    spread = pattern.max() - pattern.min()
    colours = rng.uniform(0, 255, (2, 3)).astype(np.float32)
    share = (pattern - pattern.min()) / (spread if spread > 0 else 1)
    return np.rint(colours[0] + share * (colours[1] - colours[0])).astype(np.uint8)


def _clouds(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Smooth random fields of doubling frequency and halving weight, one per colour channel."""
    layers = [
        cv2.resize(rng.random((cells, cells, 3), np.float32), size[::-1], interpolation=cv2.INTER_CUBIC) / cells
        for cells in 2 ** np.arange(rng.integers(1, 3), 6)
    ]
    return np.stack(layers).sum(axis=0)


def _stripes(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A wave of 2 to 32 periods in any direction, bent by a slower one."""
    y, x = np.linspace(0, 1, size[0], dtype=np.float32)[:, None], np.linspace(0, 1, size[1], dtype=np.float32)
    angle, bend, phase = rng.uniform(0, np.pi), rng.uniform(0, 0.1), rng.uniform(0, 2 * np.pi)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    wave = np.sin(2 * np.pi * 2 ** rng.uniform(1, 5) * (along + bend * np.sin(2 * np.pi * across + phase)))
    return wave[..., None].astype(np.float32)


def _tiles(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Random colours on a grid of 2 to 32 tiles along each axis."""
    rows, columns = 2 ** rng.integers(1, 6, size=2)
    return cv2.resize(rng.random((rows, columns, 3), np.float32), size[::-1], interpolation=cv2.INTER_NEAREST)


def _grain(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """White noise, blurred with sigma 0.3 to 3 pixels."""
    return cv2.GaussianBlur(rng.random((*size, 3), np.float32), (0, 0), rng.uniform(0.3, 3))


_PATTERNS: tuple[Callable[[tuple[int, int], np.random.Generator], np.ndarray], ...]
_PATTERNS = (_clouds, _stripes, _tiles, _grain)
