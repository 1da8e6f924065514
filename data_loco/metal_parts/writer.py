"""A whole class of metal parts on disk, in the layout of MVTec LOCO AD."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from data_loco.metal_parts.part import LOGICAL, STRUCTURAL, MetalPart
from data_loco.metal_parts.picture import check_size, part_named, render_picture

NOISY = cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY
"""How to compress photographs: no run repeats in noise, and not looking for any halves the time."""
LARGEST_KEPT = 31 * 2**20
"""Bytes; glibc learns from blocks of less than 32 MiB only."""


@dataclass(frozen=True)
class Counts:
    """How many pictures each part of a class has."""

    train: int = 350
    validation: int = 60
    good: int = 100
    logical: int = 90
    structural: int = 90

    def __post_init__(self) -> None:
        for name, count in asdict(self).items():
            if count < 0:
                raise ValueError(f"expected counts of at least 0, got {name}={count}")


def render_class(
    name: str,
    out: Path,
    *,
    counts: Counts | None = None,
    seed: int = 0,
    size: tuple[int, int] = (640, 1024),
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
) -> Path:
    """Write `<out>/<name>/` in the layout of MVTec LOCO AD, defects_config.json included, and return that folder.

    The same arguments give the same bytes with any number of `workers` (threads; all cores by default). Defects take
    turns, so every kind occurs as often as the others. `progress` is called with (pictures written, pictures in all).
    Everything is written to a folder beside and renamed at the end: what stands there is complete.

    Raises ValueError for an unknown class, a size below 160 x 256 or counts that do not fit the class's views, and
    FileExistsError where `<out>/<name>` exists and is not empty.
    """
    part, counts, out = part_named(name), counts or Counts(), Path(out)
    check_size(size)
    pictures = list(_pictures(part, counts))
    target = out / name
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(f"{target} exists and is not empty: remove it, or render to another folder")
    out.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=out))
    try:
        _write_config(part, size, draft)
        _write_all(part, pictures, draft, seed, size, progress, workers or os.cpu_count() or 1)
        draft.chmod(0o755)
        draft.replace(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


@dataclass(frozen=True)
class _Picture:
    split: str
    type: str
    kind: str
    index: int


def _pictures(part: MetalPart, counts: Counts) -> Iterator[_Picture]:
    """Every picture of the class. Kinds of defects follow one another in turn, part by part."""
    views = len(part.views)
    for name, count in asdict(counts).items():
        if count % views:
            raise ValueError(f"{part.name} shows each part in {views} views: expected a multiple, got {name}={count}")
    for split, count in (("train", counts.train), ("validation", counts.validation), ("test", counts.good)):
        yield from (_Picture(split, "good", "good", index) for index in range(count))
    for type_, count in ((LOGICAL, counts.logical), (STRUCTURAL, counts.structural)):
        kinds = part.kinds(type_)
        yield from (_Picture("test", type_, kinds[index // views % len(kinds)], index) for index in range(count))


def _write_all(
    part: MetalPart,
    pictures: list[_Picture],
    folder: Path,
    seed: int,
    size: tuple[int, int],
    progress: Callable[[int, int], None] | None,
    workers: int,
) -> None:
    for split in ("train/good", "validation/good", "test/good", f"test/{LOGICAL}", f"test/{STRUCTURAL}"):
        (folder / split).mkdir(parents=True)
    _keep_freed_memory()
    with _opencv_on_one_thread(), ThreadPoolExecutor(workers) as pool:
        jobs = [pool.submit(_write, part, picture, folder, seed, size) for picture in pictures]
        try:
            for done, job in enumerate(as_completed(jobs), 1):
                job.result()
                if progress is not None:
                    progress(done, len(jobs))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _keep_freed_memory() -> None:
    """Let the next picture have the memory of the last one: glibc keeps twice the largest block that was ever freed.

    By itself it would give some 20 MiB back to the system and fetch them again for every picture.
    """
    np.empty(LARGEST_KEPT, np.uint8)


@contextmanager
def _opencv_on_one_thread() -> Iterator[None]:
    """Threads within threads only get in each other's way."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _write(part: MetalPart, picture: _Picture, folder: Path, seed: int, size: tuple[int, int]) -> None:
    image, regions = render_picture(part.name, picture.kind, picture.index, split=picture.split, seed=seed, size=size)
    number, view = divmod(picture.index, len(part.views))
    stem = f"{number:03d}{part.views[view]}"
    photograph = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), dtype=np.uint8)
    _write_png(folder / picture.split / picture.type / f"{stem}.png", photograph, NOISY)
    values = _pixel_values(part)
    for count, region in enumerate(regions):
        masks = folder / "ground_truth" / picture.type / stem
        masks.mkdir(parents=True, exist_ok=True)
        _write_png(masks / f"{count:03d}.png", region.mask.astype(np.uint8) * np.uint8(values[region.kind]))


def _write_png(path: Path, image: NDArray[np.uint8], strategy: int = cv2.IMWRITE_PNG_STRATEGY_RLE) -> None:
    _, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_STRATEGY, strategy])  # a level would mean trying all filters
    path.write_bytes(data.tobytes())


def _write_config(part: MetalPart, size: tuple[int, int], folder: Path) -> None:
    values = _pixel_values(part)
    entries = [
        {
            "defect_name": defect.name,
            "pixel_value": values[defect.name],
            "saturation_threshold": defect.saturation(size),
            "relative_saturation": defect.area is None,
        }
        for defect in part.defects
    ]
    (folder / "defects_config.json").write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


def _pixel_values(part: MetalPart) -> dict[str, int]:
    return {defect.name: 255 - place for place, defect in enumerate(part.defects)}
