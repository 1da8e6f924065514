"""DRAEM's training pictures: normal ones, half of them with an anomaly blended in (Zavrtanik et al., section 3.3)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from extractors.perlin import anomaly_masks
from extractors.texture_changes import turned
from extractors.textures import Textures


@dataclass(frozen=True)
class Synthesis:
    """Draws training batches from normal pictures."""

    pictures: np.ndarray
    """RGB uint8 [N, H, W, 3]."""
    textures: Textures
    clean_ratio: float = 0.5
    """Share of the drawn pictures that stays without an anomaly."""
    rotated_ratio: float = 0.3
    """Share of the drawn pictures that is turned by up to 90 degrees either way; what comes in is black."""
    max_transparency: float = 0.8
    """Share of the normal picture that shines through an anomaly, drawn from 0 to this."""
    octaves: int = 6
    """Cells of Perlin noise along each axis: 2^0 .. 2^(octaves - 1)."""
    threshold: float = 0.5
    """Where the noise exceeds this there is an anomaly."""

    def batch(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Return clean and altered pictures [n, 3, H, W] in [0, 1] and masks bool [n, H, W]; pictures may repeat."""
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        clean = np.stack([self._clean(rng) for _ in range(count)])
        altered, masks = clean.astype(np.float32), torch.zeros(clean.shape[:3], dtype=torch.bool)
        anomalous = np.flatnonzero(rng.random(count) >= self.clean_ratio)
        size = (clean.shape[1], clean.shape[2])
        masks[anomalous] = anomaly_masks(
            len(anomalous), size, generator, octaves=self.octaves, threshold=self.threshold
        )
        for number in anomalous:
            mask, beta = masks[number].numpy(), rng.uniform(0, self.max_transparency)
            texture = self.textures.draw(size, rng)
            altered[number][mask] = (1 - beta) * texture[mask] + beta * clean[number][mask]
        return _to_tensor(clean.astype(np.float32)), _to_tensor(altered), masks

    def _clean(self, rng: np.random.Generator) -> np.ndarray:
        picture: np.ndarray = self.pictures[rng.integers(len(self.pictures))]
        return turned(picture, rng.uniform(-90, 90)) if rng.random() < self.rotated_ratio else picture


def _to_tensor(pictures: np.ndarray) -> Tensor:
    """Levels 0 .. 255 [n, H, W, 3] -> [n, 3, H, W] in [0, 1], channels last in memory."""
    return torch.from_numpy(pictures / np.float32(255)).permute(0, 3, 1, 2)
