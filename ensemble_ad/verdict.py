"""From a score to a verdict, by normal validation pictures alone."""

import torch
from torch import Tensor


def threshold_of(validation_scores: Tensor, quantile: float) -> float:
    """Return the `quantile` of normal scores `[N]`; a picture is anomalous when its score is above it (strictly).

    >>> threshold_of(torch.tensor([0.0, 1.0, 2.0]), 0.5)
    1.0
    """
    return float(torch.quantile(validation_scores.double(), quantile))
