"""What DRAEM minimises: picture against repaired picture, mask against found mask (Zavrtanik et al., eq. 1, 2, 5)."""

import torch
from torch import Tensor
from torch.nn import functional as F

WINDOW, SIGMA = 11, 1.5
"""Of the Gaussian window of SSIM, in pixels."""


def draem_loss(repaired: Tensor, clean: Tensor, logits: Tensor, masks: Tensor) -> Tensor:
    """Mean squared error + (1 - SSIM) + focal loss, a scalar.

    `repaired` and `clean` [N, 3, H, W], `logits` [N, 2, H, W], `masks` bool [N, H, W], True where anomalous.
    """
    return F.mse_loss(repaired, clean) + (1 - ssim(repaired, clean)) + focal_loss(logits, masks)


def focal_loss(logits: Tensor, masks: Tensor, gamma: float = 2.0, smooth: float = 1e-5) -> Tensor:
    """Mean of -(1 - p)^gamma log p over pixels, p the probability given to the truth (Lin et al., ICCV 2017).

    `logits` [N, 2, H, W], `masks` bool [N, H, W]. As in the published code the truth is softened by `smooth` and p is
    raised by it; alpha is 1.

    >>> round(focal_loss(torch.zeros(1, 2, 1, 1), torch.ones(1, 1, 1, dtype=torch.bool)).item(), 4)
    0.1733
    """
    normal, anomalous = logits.softmax(dim=1).unbind(dim=1)
    truth, other = torch.where(masks, anomalous, normal), torch.where(masks, normal, anomalous)
    probability = (1 - smooth) * truth + smooth * other + smooth
    return -((1 - probability) ** gamma * probability.log()).mean()


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Mean structural similarity of two [N, C, H, W] with values of range 1, a scalar <= 1 (Wang et al., TIP 2004).

    Gaussian window, zeros beyond the border as in the published code. The published code widens the range to 2 when a
    repaired value falls below -0.5; here it is always 1, so that the loss does not jump.

    >>> ssim(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4, 4)).item()
    1.0
    """
    moments = torch.cat([first, second, first * first, second * second, first * second], dim=1)
    mean_1, mean_2, square_1, square_2, product = _smooth(moments).chunk(5, dim=1)
    variance_1, variance_2, covariance = square_1 - mean_1**2, square_2 - mean_2**2, product - mean_1 * mean_2
    luminance = (2 * mean_1 * mean_2 + 0.01**2) / (mean_1**2 + mean_2**2 + 0.01**2)
    structure = (2 * covariance + 0.03**2) / (variance_1 + variance_2 + 0.03**2)
    return (luminance * structure).mean()


def _smooth(maps: Tensor) -> Tensor:
    """Apply the window along both axes as two banded matrix products, which beat convolutions of so few channels."""
    height, width = (_band(length).to(maps) for length in maps.shape[-2:])
    return height @ maps.contiguous() @ width


def _band(length: int) -> Tensor:
    """Return [length, length]: the normalised window about each position, cut at the border."""
    reach = torch.arange(WINDOW) - WINDOW // 2
    distance = torch.arange(length)[:, None] - torch.arange(length)
    normaliser = torch.exp(-(reach**2) / (2 * SIGMA**2)).sum()
    return torch.exp(-(distance**2) / (2 * SIGMA**2)) / normaliser * (distance.abs() <= WINDOW // 2)
