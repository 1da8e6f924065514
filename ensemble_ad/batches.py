"""Batches that stages read: features from disk, several extractors' features side by side, pictures with progress."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from data_loco.loading import Pictures
from ensemble_ad.progress import Progress, tracked


@dataclass(frozen=True)
class FeatureFiles:
    """Batches of features on disk; re-iterable, one batch in memory at a time."""

    folder: Path

    @cached_property
    def paths(self) -> list[Path]:
        """One file per batch, in order."""
        return sorted(self.folder.glob("*.safetensors"))

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Tensor]:
        return (load_file(path)["features"] for path in self.paths)


@dataclass(frozen=True)
class Together:
    """Several extractors' features of the same pictures, batch by batch."""

    members: Sequence[FeatureFiles]

    def __len__(self) -> int:
        return len(self.members[0])

    def __iter__(self) -> Iterator[list[Tensor]]:
        return (list(batch) for batch in zip(*self.members, strict=True))


@dataclass(frozen=True)
class TrackedPictures:
    """Pictures that report how far a pass is."""

    pictures: Pictures
    task: str
    progress: Progress

    def __len__(self) -> int:
        return len(self.pictures)

    def __iter__(self) -> Iterator[Tensor]:
        return tracked(self.pictures, f"{self.task}: pictures", self.progress, len(self))
