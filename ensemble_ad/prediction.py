"""What a detector says about pictures: a score each and a map each."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from ensemble_ad.tensor_file import write_tensors


@dataclass(frozen=True)
class Prediction:
    """Checked when made: a NaN never travels on."""

    scores: Tensor
    """`[N]`, higher is more anomalous."""
    maps: Tensor
    """`[N, H, W]`, higher is more anomalous."""

    def __post_init__(self) -> None:
        if self.maps.ndim != 3 or self.scores.shape != self.maps.shape[:1]:
            raise ValueError(
                f"expected scores [N] and maps [N, H, W], got {list(self.scores.shape)} and {list(self.maps.shape)}"
            )
        finite = self.maps.flatten(1).isfinite().all(1) & self.scores.isfinite()
        if not finite.all():
            bad = (~finite).nonzero()[:5, 0].tolist()
            raise ValueError(f"expected finite scores, got NaN or infinity in pictures {bad} (counted from 0)")

    def save(self, folder: Path) -> None:
        """Write `prediction.safetensors` into `folder`."""
        write_tensors(folder / "prediction.safetensors", {"scores": self.scores, "maps": self.maps})

    @classmethod
    def load(cls, folder: Path) -> "Prediction":
        """Read what `save` wrote, memory-mapped."""
        tensors = load_file(folder / "prediction.safetensors")
        return cls(tensors["scores"], tensors["maps"])


def joined(predictions: list[Prediction]) -> Prediction:
    """Batches in order -> one prediction."""
    return Prediction(torch.cat([part.scores for part in predictions]), torch.cat([part.maps for part in predictions]))
