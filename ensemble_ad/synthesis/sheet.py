"""A contact sheet: synthetic anomalies beside the normal pictures they were made from, for the eye to judge."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from data_loco import ClassFolder, Sample
from data_loco.decoding import read_mask
from data_loco.loading import to_size
from ensemble_ad.synthesis.edit import in_8_bits
from ensemble_ad.synthesis.kinds import KINDS

EXAMPLES = 6
"""Anomalies of each kind on the sheet."""
TILE = 256
"""Longer side of a picture on the sheet."""
GAP, CAPTION = 6, 22
OUTLINE = (255, 40, 40)


def write_contact_sheet(synthetic: ClassFolder, path: Path) -> None:
    """Write a PNG: for each kind a row of edited pictures, and below them the same with the mask outlined."""
    by_kind = defaultdict(list)
    for sample in (sample for sample in synthetic.test if sample.mask_paths):
        by_kind[sample.defects()[0].name].append(sample)
    rows = [_row(kind, by_kind[kind][:EXAMPLES]) for kind in KINDS if by_kind[kind]]
    width = max(row.shape[1] for row in rows)
    wide = [np.pad(row, ((0, GAP), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    _, content = cv2.imencode(".png", np.vstack(wide)[..., ::-1])
    path.write_bytes(content.tobytes())


def _row(kind: str, samples: Sequence[Sample]) -> np.ndarray:
    tiles = np.hstack([_tile(sample) for sample in samples])
    caption = np.full((CAPTION, tiles.shape[1], 3), 255, np.uint8)
    cv2.putText(caption, kind, (GAP, CAPTION - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([caption, tiles])


def _tile(sample: Sample) -> np.ndarray:
    image, mask = sample.image(), read_mask(sample.mask_paths[0])
    shrink = TILE / max(image.shape[:2])
    size = (round(image.shape[0] * shrink), round(image.shape[1] * shrink))
    small = np.ascontiguousarray(to_size(in_8_bits(image), size))
    region = (cv2.resize(mask, size[::-1], interpolation=cv2.INTER_AREA) > 0).astype(np.uint8)
    lines, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outlined = cv2.drawContours(small.copy(), lines, -1, OUTLINE, 1)
    return np.vstack([small, outlined, np.full((GAP, size[1], 3), 255, np.uint8)])
