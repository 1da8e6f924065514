"""One edited picture: what changed, where, and whether anybody could see it."""

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

VISIBLE = 8.0
"""Levels of 255 by which each connected part of a mask must differ from the normal picture to count as an edit."""


@dataclass(frozen=True, eq=False)
class Edit:
    """A normal picture with one anomaly."""

    image: np.ndarray
    """RGB uint8 [H, W, 3]; equals the normal picture outside the mask."""
    mask: np.ndarray
    """bool [H, W], never empty."""


class Editor(Protocol):
    """Makes anomalies of one kind."""

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> Edit | None:
        """RGB uint8 [H, W, 3], left as it is -> the edited picture; None where this draw found no place for it."""
        ...


def blend(image: np.ndarray, content: np.ndarray, weight: np.ndarray) -> Edit | None:
    """Return `image` with `content` [H, W, 3] laid over it by `weight` [H, W] in [0, 1]; the mask is where weight > 0.

    A soft border therefore belongs to the mask, and no pixel outside it changes. None where no weight is above 0.

    >>> edit = blend(np.zeros((1, 3, 3), np.uint8), np.full((1, 3, 3), 100), np.array([[0, 0.5, 1]]))
    >>> edit.image[0, :, 0].tolist(), edit.mask.tolist()
    ([0, 50, 100], [[False, True, True]])
    """
    mask = weight > 0
    if not mask.any():
        return None
    rows, columns = window(mask)
    edited, part = image.copy(), weight[rows, columns, None].astype(np.float32)
    mixed = part * content[rows, columns] + (1 - part) * image[rows, columns]
    edited[rows, columns] = np.where(part > 0, np.rint(mixed).clip(0, 255), image[rows, columns]).astype(np.uint8)
    return Edit(edited, mask)


def change(before: np.ndarray, edit: Edit) -> float:
    """How much the least changed of the mask's 8-connected parts has changed, in levels of 255.

    A part's change is the mean over its pixels of the largest difference among the channels.

    >>> edit = Edit(np.full((1, 4, 3), 9, np.uint8), np.array([[True, True, False, True]]))
    >>> change(np.array([[[0] * 3, [9] * 3, [9] * 3, [0] * 3]], np.uint8), edit)
    4.5
    """
    rows, columns = window(edit.mask)
    count, parts = cv2.connectedComponents(edit.mask[rows, columns].astype(np.uint8), connectivity=8)
    difference = cv2.absdiff(np.ascontiguousarray(edit.image[rows, columns]), before[rows, columns]).max(axis=2)
    sums = np.bincount(parts.ravel(), difference.ravel(), count)
    return float((sums / np.maximum(np.bincount(parts.ravel(), minlength=count), 1))[1:].min())


def in_8_bits(image: np.ndarray) -> np.ndarray:
    """Uint8 of any shape; from uint16 the upper byte.

    >>> in_8_bits(np.array([65535, 256], np.uint16)).tolist()
    [255, 1]
    """
    return (image >> 8).astype(np.uint8) if image.dtype == np.uint16 else image


def lab_of(image: np.ndarray) -> np.ndarray:
    """RGB uint8 [H, W, 3] -> Lab uint8 [H, W, 3]."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2LAB)


def window(mask: np.ndarray) -> tuple[slice, slice]:
    """Return the rows and columns of the smallest rectangle around what is set in `mask` bool [H, W].

    >>> window(np.array([[0, 0, 0], [0, 1, 1]], bool))
    (slice(1, 2, None), slice(1, 3, None))
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
