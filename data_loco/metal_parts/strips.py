"""A few rows of a picture at a time: what is worked out from them stays in the processor's cache."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_loco.metal_parts.geometry import Array

PIXELS = 16384
"""Pixels of a strip: 64 KiB per array, ten of which fit into the second-level cache of common processors."""


def strips(shape: tuple[int, ...]) -> Iterator[slice]:
    """Rows of one strip of a picture [h, w] after another, from top to bottom.

    >>> list(strips((40, 1024)))
    [slice(0, 16, None), slice(16, 32, None), slice(32, 40, None)]
    """
    height, width = shape
    step = max(PIXELS // width, 1)
    yield from (slice(top, min(top + step, height)) for top in range(0, height, step))


def by_strips(function: Callable[..., Array], *images: NDArray[Any]) -> Array:
    """`function`, which takes each pixel by itself, of `images` [h, w]; the same values as in one go, but faster.

    >>> by_strips(np.add, np.float32([[1, 2]]), np.float32([[3, 4]])).tolist()
    [[4.0, 6.0]]
    """
    result = np.empty(images[0].shape, np.float32)
    for rows in strips(result.shape):
        result[rows] = function(*(image[rows] for image in images))
    return result


def covered_strips(alpha: Array) -> Iterator[tuple[slice, slice]]:
    """Strips (rows, columns) of the smallest window that holds every pixel where `alpha` [h, w] is above 0.

    >>> alpha = np.zeros((9, 9), np.float32)
    >>> alpha[1, 2] = alpha[4, 6] = 1
    >>> list(covered_strips(alpha))
    [(slice(1, 5, None), slice(2, 7, None))]
    """
    rows, columns = (np.flatnonzero(alpha.max(axis=axis)) for axis in (1, 0))
    if rows.size:
        top, bottom, left, right = (int(end) for end in (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1))
        for strip in strips((bottom - top, right - left)):
            yield slice(top + strip.start, top + strip.stop), slice(left, right)
