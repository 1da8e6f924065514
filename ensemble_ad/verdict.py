"""From a score to a verdict, by normal validation pictures alone."""

import torch
from torch import Tensor

FAR = 3.0
"""A largest score this many times as far above the median as the next one stands alone."""


def threshold_of(validation_scores: Tensor, quantile: float) -> float:
    """Return the `quantile` of normal scores `[N]`; a picture is anomalous when its score is above it (strictly).

    >>> threshold_of(torch.tensor([0.0, 1.0, 2.0]), 0.5)
    1.0
    """
    return float(torch.quantile(validation_scores.double(), quantile))


def rests_on(validation_scores: Tensor, quantile: float) -> int | None:
    """Return the position of the normal picture without which the threshold would be far lower; None where none is.

    A few dozen pictures cannot tell where the highest hundredth of normal scores begins: near the largest score, the
    threshold is what one odd picture makes of it.

    >>> rests_on(torch.tensor([0.0, 30.0, 1.0, 2.0, 3.0]), 0.99), rests_on(torch.tensor([0.0, 1.0, 2.0, 3.0]), 0.99)
    (1, None)
    """
    if len(validation_scores) < 3:
        return None
    middle, (largest, next_one) = validation_scores.median(), validation_scores.topk(2).values
    alone = largest - middle > FAR * (next_one - middle)
    return int(validation_scores.argmax()) if alone and threshold_of(validation_scores, quantile) > next_one else None
