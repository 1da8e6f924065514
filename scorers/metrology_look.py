"""A picture as it is compared with others: its parts as rows of numbers, and how large what lies where is."""

from typing import NamedTuple

import numpy as np

A_PIECE = -2
"""Family of a part that is a piece of what is whole in other pictures."""


class Look(NamedTuple):
    """What is known of one picture."""

    side: np.ndarray
    """int [R], see `Parts.sides`."""
    family: np.ndarray
    """int [R], -1 for none, `A_PIECE` for a piece of something."""
    measures: np.ndarray
    """[R, 12]"""
    bulk: np.ndarray
    """int8 [G, h, w], see `bulk_of`."""
