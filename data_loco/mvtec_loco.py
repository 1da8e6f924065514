"""MVTec LOCO AD as it is distributed (Bergmann et al., IJCV 2022): is a folder all of it?

The counts are those on disk. The paper's differ in one class: it has 354 training and 59 validation pictures of
splicing_connectors.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from data_loco.findings import Finding
from data_loco.picture_files import pictures_in

FOLDER = "mvtec_loco_anomaly_detection"
"""What the folder of the five class folders is called."""

CURE = "check the archive and unpack it again, see docs/loco.md"

_SPLITS = ("train/good", "validation/good", "test/good", "test/logical_anomalies", "test/structural_anomalies")
COUNTS: Mapping[str, Mapping[str, int]] = {
    "breakfast_box": dict(zip(_SPLITS, (351, 62, 102, 83, 90))),
    "juice_bottle": dict(zip(_SPLITS, (335, 54, 94, 142, 94))),
    "pushpins": dict(zip(_SPLITS, (372, 69, 138, 91, 81))),
    "screw_bag": dict(zip(_SPLITS, (360, 60, 122, 137, 82))),
    "splicing_connectors": dict(zip(_SPLITS, (360, 60, 119, 108, 85))),
}
"""Pictures of each class by split and kind."""


def is_loco(parent: Path) -> bool:
    """Whether `parent` looks like the data set's own folder: by its name, or by two of its five classes.

    A lab's own class that happens to be called pushpins is none of the data set's business.
    """
    return parent.name == FOLDER or sum((parent / name).is_dir() for name in COUNTS) > 1


def other_counts(root: Path) -> Iterator[Finding]:
    """Warn of a class of the data set that holds other numbers of pictures than it was distributed with."""
    place = root.resolve()
    if place.name not in COUNTS or not is_loco(place.parent):
        return
    counts = [(split, len(pictures_in(root / split)), expected) for split, expected in COUNTS[place.name].items()]
    wrong = [f"{split} {held} instead of {expected}" for split, held, expected in counts if held != expected]
    if wrong:
        reason = f"has other counts than this class of MVTec LOCO AD: {', '.join(wrong)}"
        yield Finding("warning", root, reason, CURE)


def absent_classes(parent: Path) -> Iterator[Finding]:
    """Warn of classes that the data set's folder lacks."""
    absent = [name for name in COUNTS if not (parent / name).is_dir()]
    if absent and is_loco(parent.resolve()):
        reason = f"MVTec LOCO AD has {len(COUNTS)} classes; not here: {', '.join(absent)}"
        yield Finding("warning", parent, reason, CURE)
