"""MVTec AD's layout, read as if it were LOCO's: `ground_truth/<type>/<id>_mask.png`, no config, no validation."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from data_loco.errors import DataError
from data_loco.picture_files import folders_in, pictures_in
from data_loco.sample import Defect, Sample
from data_loco.saturation import CONFIG_NAME, DefectKind

MASK_SUFFIX = "_mask"


@dataclass(frozen=True)
class MVTecADSample(Sample):
    """A picture whose mask holds one region per 8-connected component, as in MVTec AD's PRO evaluation."""

    def regions(self, path: Path, mask: np.ndarray) -> tuple[Defect, ...]:
        """One defect per component; its saturation area is its area, so sPRO equals PRO. Any value above 0 counts."""
        count, labels = cv2.connectedComponents((mask > 0).view(np.uint8), connectivity=8)
        if count < 2:
            raise DataError(path, "the mask is empty: every pixel is 0", "draw the defect, or delete the mask")
        kind = next(kind for kind in self.defect_kinds.values() if kind.name == self.kind)
        components = (labels == label for label in range(1, count))
        return tuple(
            Defect(kind.name, kind.pixel_value, region, kind.saturation_area(int(np.count_nonzero(region))))
            for region in components
        )


def is_mvtec_ad(root: Path) -> bool:
    """Whether masks lie directly in `ground_truth/<type>/` and no defects_config.json is there."""
    if (root / CONFIG_NAME).exists():
        return False
    types = folders_in(root / "ground_truth")
    return any(path.stem.endswith(MASK_SUFFIX) for folder in types for path in pictures_in(folder))


def type_kinds(root: Path) -> Mapping[int, DefectKind]:
    """Each folder of ground_truth/ as a defect kind with relative saturation 1.0, counted down from 255 by name."""
    names = [folder.name for folder in folders_in(root / "ground_truth")]
    return {255 - place: DefectKind(name, 255 - place, 1.0, relative=True) for place, name in enumerate(names)}


def mask_index(root: Path) -> Mapping[tuple[str, str], tuple[Path, ...]]:
    """(type, picture id) -> its `ground_truth/<type>/<id>_mask.png`."""
    masks = ((folder.name, path) for folder in folders_in(root / "ground_truth") for path in pictures_in(folder))
    return {(kind, path.stem.removesuffix(MASK_SUFFIX)): (path,) for kind, path in masks}
