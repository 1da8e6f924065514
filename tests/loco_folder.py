"""Small class folders in the LOCO layout, and a small MVTec LOCO AD, written to disk for tests."""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

SHAPE = (12, 20)
CONFIG = (
    {"defect_name": "missing_hole", "pixel_value": 255, "saturation_threshold": 6, "relative_saturation": False},
    {"defect_name": "scratch", "pixel_value": 254, "saturation_threshold": 0.5, "relative_saturation": True},
)

LOCO_SIZES = {
    "breakfast_box": (64, 80),
    "juice_bottle": (80, 40),
    "pushpins": (50, 85),
    "screw_bag": (55, 80),
    "splicing_connectors": (43, 85),
}
"""Height and width: a twentieth of MVTec LOCO AD's, splicing_connectors rounded up."""
LOCO_CONFIG = (
    {"defect_name": "missing_part", "pixel_value": 255, "saturation_threshold": 60, "relative_saturation": False},
    {"defect_name": "additional_part", "pixel_value": 254, "saturation_threshold": 60, "relative_saturation": False},
    {"defect_name": "wrong_parts", "pixel_value": 253, "saturation_threshold": 1.0, "relative_saturation": True},
    {"defect_name": "contamination", "pixel_value": 252, "saturation_threshold": 1.0, "relative_saturation": True},
)


def write_picture(path: Path, image: np.ndarray) -> Path:
    """Encodes by the suffix; takes any path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded, content = cv2.imencode(path.suffix, image)
    assert encoded
    path.write_bytes(content.tobytes())
    return path


def noise(seed: int, shape: Sequence[int] = (*SHAPE, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, tuple(shape), dtype=np.uint8)


def rectangle(value: int, top: int, left: int, height: int, width: int, shape: Sequence[int] = SHAPE) -> np.ndarray:
    mask = np.zeros(tuple(shape), np.uint8)
    mask[top : top + height, left : left + width] = value
    return mask


def build_class(root: Path, train: int = 6, validation: int = 2, good: int = 2) -> Path:
    """One logical picture with a 4 x 5 hole missing; one structural picture with two overlapping scratches."""
    counts = {"train/good": train, "validation/good": validation, "test/good": good}
    counts |= {"test/logical_anomalies": 1, "test/structural_anomalies": 1}
    seed = 0
    for folder, count in counts.items():
        for number in range(count):
            write_picture(root / folder / f"{number:03d}.png", noise(seed))
            seed += 1
    masks = root / "ground_truth"
    write_picture(masks / "logical_anomalies" / "000" / "000.png", rectangle(255, 1, 1, 4, 5))
    write_picture(masks / "structural_anomalies" / "000" / "000.png", rectangle(254, 0, 0, 3, 3))
    write_picture(masks / "structural_anomalies" / "000" / "001.png", rectangle(254, 2, 2, 2, 2))
    write_config(root, CONFIG)
    return root


def write_config(root: Path, config: object) -> None:
    (root / "defects_config.json").write_text(json.dumps(config))


def truncate(path: Path, share: float = 0.7) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def build_loco(parent: Path, train: int = 6, validation: int = 2, good: int = 2) -> Path:
    """A stand-in for MVTec LOCO AD: its tree, names and proportions, discs on a table for pictures; returns its folder.

    Logical pictures: 000 lacks one disc and has another one too many (two masks of two kinds), 001 is wrong all over (a
    mask without a zero). Structural: 000 has two stains in one mask.
    """
    root = parent / "mvtec_loco_anomaly_detection"
    for seed, (name, shape) in enumerate(LOCO_SIZES.items()):
        _build_loco_class(root / name, shape, {"train": train, "validation": validation, "test": good}, seed)
    return root


def _build_loco_class(root: Path, shape: tuple[int, int], good: dict[str, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    places = [(int(shape[1] * x), int(shape[0] * y)) for x, y in ((0.25, 0.3), (0.7, 0.25), (0.3, 0.75), (0.75, 0.7))]
    spare = (shape[1] // 2, shape[0] // 2)
    for split, count in good.items():
        for number in range(count):
            write_picture(root / split / "good" / f"{number:03d}.png", _discs(shape, places, rng))
    test, masks = root / "test", root / "ground_truth"
    write_picture(test / "logical_anomalies" / "000.png", _discs(shape, [*places[1:], spare], rng))
    write_picture(test / "logical_anomalies" / "001.png", 255 - _discs(shape, places, rng))
    stained = _discs(shape, places, rng)
    for middle in ((8, 8), (30, 20)):
        cv2.circle(stained, middle, 3, (30, 30, 200), -1)
    write_picture(test / "structural_anomalies" / "000.png", stained)
    for path, marks, value in (
        (masks / "logical_anomalies" / "000" / "000.png", [(places[0], 5)], 255),
        (masks / "logical_anomalies" / "000" / "001.png", [(spare, 5)], 254),
        (masks / "logical_anomalies" / "001" / "000.png", [(spare, 100)], 253),
        (masks / "structural_anomalies" / "000" / "000.png", [((8, 8), 3), ((30, 20), 3)], 252),
    ):
        mask = np.zeros(shape, np.uint8)
        for middle, radius in marks:
            cv2.circle(mask, middle, radius, value, -1)
        write_picture(path, mask)
    write_config(root, LOCO_CONFIG)


def _discs(shape: tuple[int, int], middles: Sequence[tuple[int, int]], rng: np.random.Generator) -> np.ndarray:
    image = rng.integers(60, 80, (*shape, 3), dtype=np.uint8)
    for middle in middles:
        cv2.circle(image, middle, 5, (180, 190, 200), -1)
    return image
