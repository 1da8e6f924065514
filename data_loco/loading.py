"""Picture files -> batches of float32 RGB in [0, 1] of one size, read while the previous batch is in use."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from data_loco.decoding import read_picture
from data_loco.sample import Sample

__all__ = ["Pictures", "read_picture", "to_size", "to_tensor"]


@dataclass(frozen=True)
class Pictures:
    """Batches [n, 3, H, W] of the samples in order; n is `batch`, less in the last one.

    Can be iterated any number of times; each time the files are read anew, one batch ahead, in a background thread.
    Raises DataError, naming the file, when the batch with an unreadable picture is due.
    """

    samples: Sequence[Sample]
    size: tuple[int, int]
    """(H, W) in pixels; pictures are stretched to it, never cropped."""
    batch: int = 8
    """Pictures per batch."""

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"expected a batch of at least 1 picture, got {self.batch}")
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f"expected size (H, W) of at least 1 pixel each, got {self.size}")

    def __len__(self) -> int:
        return -(-len(self.samples) // self.batch)

    def __iter__(self) -> Iterator[Tensor]:
        starts = range(0, len(self.samples), self.batch)
        with ThreadPoolExecutor(1, thread_name_prefix="pictures") as reader:
            due: Future[Tensor] | None = None
            for start in starts:
                ahead = reader.submit(self._read, self.samples[start : start + self.batch])
                if due is not None:
                    yield due.result()
                due = ahead
            if due is not None:
                yield due.result()

    def _read(self, samples: Sequence[Sample]) -> Tensor:
        return torch.stack([to_tensor(to_size(sample.image(), self.size)) for sample in samples])


def to_size(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[h, w] or [h, w, C] stretched to `size` (H, W), dtype unchanged.

    By area where it shrinks in both directions (no aliasing), bilinear otherwise.

    >>> to_size(np.arange(0, 32, 2, dtype=np.uint8).reshape(4, 4), (2, 2)).tolist()
    [[5, 9], [21, 25]]
    """
    height, width = size
    if image.shape[:2] == (height, width):
        return image
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def to_tensor(image: np.ndarray) -> Tensor:
    """RGB uint8 or uint16 [H, W, 3] -> float32 [3, H, W] in [0, 1].

    >>> to_tensor(np.full((2, 4, 3), 65535, np.uint16)).shape
    torch.Size([3, 2, 4])
    """
    if image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"expected uint8 or uint16, got {image.dtype}")
    scale = np.float32(np.iinfo(image.dtype).max)
    return torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32, order="C") / scale)
