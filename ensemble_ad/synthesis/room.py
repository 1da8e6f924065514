"""Where a shape fits on bare ground."""

import cv2
import numpy as np

COARSE = 4
"""Room is searched for on every so manieth pixel."""


def free_corners(bare: np.ndarray, need: np.ndarray, rng: np.random.Generator, count: int) -> list[tuple[int, int]]:
    """Return up to `count` places (top, left), at random, at which all of `need` bool [h, w] is `bare` bool [H, W].

    >>> sorted(free_corners(np.eye(8, dtype=bool) < 1, np.ones((4, 4), bool), np.random.default_rng(0), 9))
    [(0, 4), (4, 0)]
    """
    if need.shape[0] > bare.shape[0] or need.shape[1] > bare.shape[1]:
        return []
    clash = cv2.matchTemplate(_coarse(~bare), _coarse(need), cv2.TM_CCORR)
    free = np.argwhere(clash < 0.5)
    corners = []
    for top, left in rng.permutation(free)[: 4 * count] * COARSE:
        there = bare[top : top + need.shape[0], left : left + need.shape[1]]
        if there.shape == need.shape and there[need].all():
            corners.append((int(top), int(left)))
    return corners[:count]


def _coarse(mask: np.ndarray) -> np.ndarray:
    """Every COARSE-th pixel: 1 where any of the pixels it stands for is set; float32."""
    rows, columns = (-(-length // COARSE) * COARSE - length for length in mask.shape)
    blocks = np.pad(mask, ((0, rows), (0, columns))).reshape(mask.shape[0] // COARSE + (rows > 0), COARSE, -1, COARSE)
    return np.asarray(blocks.any(axis=(1, 3)), np.float32)
