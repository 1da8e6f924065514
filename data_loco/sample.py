"""One picture with its annotated regions; nothing is read until asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data_loco.decoding import read_mask, read_picture, read_shape
from data_loco.errors import DataError
from data_loco.saturation import DefectKind

GOOD = "good"


@dataclass(frozen=True, eq=False)
class Defect:
    """One annotated region of one picture: one mask file, however many connected components it has."""

    name: str
    """Defect kind, from defects_config.json."""
    pixel_value: int
    mask: np.ndarray
    """bool [H, W], at the picture's own size."""
    saturation_area: int
    """Original pixels that have to be found for full marks, at least 1."""


@dataclass(frozen=True)
class Sample:
    """One picture of a class folder in the LOCO layout."""

    path: Path
    split: str
    """Either train, validation or test."""
    kind: str
    """What the folder is called: good, logical_anomalies, structural_anomalies, or any other name under test/."""
    id: str
    """The file name without its suffix, such as 000."""
    mask_paths: tuple[Path, ...] = ()
    """One file per defect; none for a good picture."""
    defect_kinds: Mapping[int, DefectKind] = field(default_factory=dict, repr=False, compare=False)
    """By pixel value."""

    def image(self) -> np.ndarray:
        """RGB, uint8 or uint16 [H, W, 3], at the picture's own size. Raises DataError if it cannot be read."""
        return read_picture(self.path)

    def shape(self) -> tuple[int, int]:
        """(H, W) of the picture, from its header where the format allows it."""
        return read_shape(self.path)

    def defects(self) -> tuple[Defect, ...]:
        """One defect per mask, in file order; none for a good picture.

        Raises:
            DataError: an anomalous picture without a mask; a mask that cannot be read, is of another size than the
                picture, empty, has two values besides 0 or a value that is not in defects_config.json.
        """
        if self.kind == GOOD:
            return ()
        if not self.mask_paths:
            raise missing_mask(self)
        shape = self.shape()
        found: list[Defect] = []
        for path in self.mask_paths:
            mask = read_mask(path)
            refuse_size(path, mask, shape)
            found += self.regions(path, mask)
        return tuple(found)

    def regions(self, path: Path, mask: np.ndarray) -> tuple[Defect, ...]:
        """The defects that one mask file, read as uint8 [H, W], stands for: here exactly one."""
        values = np.flatnonzero(np.bincount(mask[mask > 0])).tolist()
        if not values:
            raise DataError(path, "the mask is empty: every pixel is 0", "draw the defect, or delete the mask")
        if len(values) > 1:
            cure = "write one file per defect, without smoothed (anti-aliased) edges"
            raise DataError(path, f"expected one value besides 0 in a mask, got {_listed(values)}", cure)
        kind = self.defect_kinds.get(values[0])
        if kind is None:
            known = ", ".join(f"{kind.pixel_value} {kind.name}" for kind in self.defect_kinds.values()) or "none"
            reason = f"the mask's value {values[0]} is not in defects_config.json"
            raise DataError(path, reason, f"use one of its pixel values ({known}) or add an entry")
        return (Defect(kind.name, kind.pixel_value, mask > 0, kind.saturation_area(int(np.count_nonzero(mask)))),)


def refuse_size(path: Path, mask: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raises DataError unless the mask read from `path` has the picture's `shape` (H, W)."""
    if mask.shape != shape:
        sizes = f"expected a mask of its picture's size {_size(shape)}, got {_size(mask.shape)}"
        raise DataError(path, sizes, "draw it on the picture itself and do not crop or scale it")


def missing_mask(sample: Sample) -> DataError:
    """What is wrong with an anomalous picture that has no mask."""
    cure = f"draw one mask per defect, see docs/own_class.md, or move the picture to test/{GOOD}"
    return DataError(sample.path, f"has no mask although its kind is {sample.kind!r}", cure)


def _listed(values: list[int]) -> str:
    return ", ".join(map(str, values[:5])) + (f" and {len(values) - 5} more" if len(values) > 5 else "")


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]} (width x height)"
