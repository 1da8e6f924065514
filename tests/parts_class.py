"""Pictures of two discs and a square on a table, the place of each known, and a small network to find them with."""

from pathlib import Path

import cv2
import numpy as np
import torch
from loco_folder import write_picture
from torch import Tensor

from extractors.backbone import Backbone
from extractors.components import Components
from extractors.grounds import Grounds

SIDE = 128
DISC, SQUARE = 22, 24
"""Diameter, and length of an edge."""
SLOTS = ((32, 32), (32, 92), (92, 36))
"""Middles (y, x): two discs, then the square; all shift by up to 3 pixels."""
DARK, GREEN = (70, 60, 60), (60, 120, 70)


def small_finder() -> Components:
    return Components(Grounds(Backbone("test_resnet", ("layer1", "layer2"), "random"), side=SIDE))


def parts_picture(seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """RGB uint8 [H, W, 3], and the mask of each part."""
    rng = np.random.default_rng(seed)
    shade = np.linspace(190, 215, SIDE)[None, :, None] + rng.normal(0, 2, (SIDE, SIDE, 3))
    image, masks = shade.clip(0, 255).astype(np.uint8), []
    for place, (y, x) in enumerate(SLOTS):
        y, x = (int(middle + rng.integers(-3, 4)) for middle in (y, x))
        mask = np.zeros((SIDE, SIDE), np.uint8)
        if place < 2:
            cv2.circle(mask, (x, y), DISC // 2, 1, cv2.FILLED)
        else:
            mask[y - SQUARE // 2 : y + SQUARE // 2, x - SQUARE // 2 : x + SQUARE // 2] = 1
        noise = rng.normal(0, 2, (SIDE, SIDE, 3))
        image[mask > 0] = (np.array(GREEN if place == 2 else DARK) + noise).clip(0, 255).astype(np.uint8)[mask > 0]
        masks.append(mask > 0)
    return image, masks


def parts_batch(seeds: range) -> Tensor:
    """[N, 3, H, W] in [0, 1]."""
    pictures = np.stack([parts_picture(seed)[0] for seed in seeds])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


def build_parts_class(root: Path, train: int = 12, validation: int = 4) -> Path:
    for number in range(train + validation):
        split, index = ("train", number) if number < train else ("validation", number - train)
        write_picture(root / split / "good" / f"{index:03d}.png", parts_picture(number)[0][..., ::-1])
    return root
