"""A small class folder in the LOCO layout, written to disk for tests."""

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
