"""The editors of a class: what has to be known about its normal pictures before anomalies can be made from them."""

from collections.abc import Sequence

import numpy as np

from data_loco import ClassFolder, Sample
from data_loco.loading import Pictures, to_size
from ensemble_ad.progress import Progress, tracked
from ensemble_ad.synthesis.arrangement import Arrangements, arrangement
from ensemble_ad.synthesis.edit import Editor, in_8_bits, lab_of
from ensemble_ad.synthesis.kinds import LOGICAL, TYPES
from ensemble_ad.synthesis.logical import LOGICAL_EDITORS
from ensemble_ad.synthesis.scene import Scene, Scenes
from ensemble_ad.synthesis.structural import Arc, CutPaste, Dots, PerlinTexture, Scar
from extractors.components import Components
from extractors.pixels import eight_bit
from extractors.textures import OfflineTextures

TEXTURE_PICTURES = 8
TEXTURE_SIDE = 512
"""Longer side, at most, of the training pictures that textures are cut from."""
NORMAL_PICTURES = 64
"""Training pictures, at most, in which components and normal arrangements are looked for."""
NORMAL_SIDE = 384
"""Longer side, at most, of these."""


def make_editors(
    folder: ClassFolder,
    kinds: Sequence[str],
    samples: Sequence[Sample],
    seed: int,
    finder: Components,
    progress: Progress,
) -> tuple[dict[str, Editor], list[str]]:
    """Return the editors of the kinds that this class allows, and a note on what it does not allow.

    Components are looked for, by `finder`, only where a logical kind is asked for. `samples` are the pictures to be
    edited.
    """
    editors: dict[str, Editor] = {"cutpaste": CutPaste(), "scar": Scar(), "dots": Dots(), "arc": Arc()}
    notes = []
    if "perlin" in kinds:
        editors["perlin"] = PerlinTexture(_textures(folder, seed))
    if any(TYPES[kind] == LOGICAL for kind in kinds):
        scenes = find_components(folder, samples, seed, finder, progress)
        if scenes.normal:
            editors |= {name: editor(scenes) for name, editor in LOGICAL_EDITORS.items()}
        else:
            notes.append("no components recur in the training pictures: structural anomalies only")
    return {kind: editors[kind] for kind in kinds if kind in editors}, notes


def find_components(
    folder: ClassFolder, samples: Sequence[Sample], seed: int, finder: Components, progress: Progress
) -> Scenes:
    """Learn what the training pictures consist of and how that is arranged; `normal` is empty where nothing recurs."""
    chosen = [folder.train[place] for place in _some(len(folder.train), NORMAL_PICTURES, seed)]
    pictures = Pictures(chosen, _size_within(chosen[0].shape(), NORMAL_SIDE))
    batches = list(pictures)
    progress.update("components of the class", 0, 1)
    finder.fit(batches)
    progress.update("components of the class", 1, 1)
    seen = []
    for images in tracked(batches, "normal arrangements", progress, len(batches)):
        seen += [Scene(image, layout) for image, layout in zip(eight_bit(images), finder.find(images))]
    groups = {(kind.ground, kind.protrudes) for kind in finder.kinds_ or ()}
    normal = {
        group: Arrangements([arrangement(scene.groups.get(group, []), lab_of(scene.image)) for scene in seen])
        for group in sorted(groups)
    }
    return Scenes(finder, normal, samples)


def _textures(folder: ClassFolder, seed: int) -> OfflineTextures:
    pictures = [folder.train[place].image() for place in _some(len(folder.train), TEXTURE_PICTURES, seed)]
    size = _size_within(pictures[0].shape, TEXTURE_SIDE)
    return OfflineTextures(np.stack([to_size(in_8_bits(image), size) for image in pictures]))


def _some(total: int, count: int, seed: int) -> list[int]:
    """Up to `count` of 0 .. total - 1 at random, in order."""
    return sorted(int(place) for place in np.random.default_rng(seed).permutation(total)[:count])


def _size_within(shape: Sequence[int], side: int) -> tuple[int, int]:
    """(H, W) shrunk so that the longer side is at most `side`."""
    shrink = min(1.0, side / max(shape[:2]))
    return round(shape[0] * shrink), round(shape[1] * shrink)
