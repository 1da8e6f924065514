"""Anomaly maps of any method on disk, in the layout of MVTec's evaluator: `MAPS/test/<type>/<id>.tiff|.tif|.npy`."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import tifffile

from data_loco import ClassFolder, Sample
from ensemble_ad.evaluation import Evaluation, Progress, evaluate_class

SUFFIXES = (".tiff", ".tif", ".npy")


class SubmissionError(ValueError):
    """Maps that cannot be evaluated; says everything that is wrong with them at once."""

    def __init__(self, maps_dir: Path, problems: tuple[str, ...]):
        super().__init__(maps_dir, problems)
        self.maps_dir = maps_dir
        self.problems = problems
        """One line each, naming the file."""

    def __str__(self) -> str:
        count = f"{len(self.problems)} problem{'s' if len(self.problems) > 1 else ''}"
        return "\n  ".join([f"{self.maps_dir}: {count} with these maps:", *self.problems])


def evaluate_submission(maps_dir: Path, class_folder: ClassFolder, progress: Progress | None = None) -> Evaluation:
    """Every metric for a folder of maps, each at its picture's original size. Maps are read one at a time.

    An image's score is the highest score of its map. `maps_dir` may also be the folder above, where MVTec has one
    folder per class.

    Raises:
        SubmissionError: a map that is missing, of another size, unreadable, not finite, there twice, or has no picture.
        DataError: a mask that cannot be used.
    """
    problems = tuple(check_submission(maps_dir, class_folder))
    if problems:
        raise SubmissionError(maps_dir, problems)
    root = _test_folder(maps_dir, class_folder)
    return evaluate_class(class_folder, lambda sample: read_map(_candidates(root, sample)[0]), progress=progress)


def check_submission(maps_dir: Path, class_folder: ClassFolder) -> Iterator[str]:
    """Everything that keeps a folder of maps from being evaluated, a line each; reads every map once."""
    root = _test_folder(maps_dir, class_folder)
    if not root.is_dir():
        yield f"{root}: no such folder; expected the maps in {maps_dir}/test/<type>/<id>.tiff"
        return
    for sample in class_folder.test:
        yield from _problems_of(root, sample)
    expected = {(sample.kind, sample.id) for sample in class_folder.test}
    for path in sorted(root.glob("*/*")):
        if path.suffix.lower() in SUFFIXES and (path.parent.name, path.stem) not in expected:
            yield f"{path}: no test picture {path.parent.name}/{path.stem} in {class_folder.root}"


def read_map(path: Path) -> np.ndarray:
    """The map in a TIFF or npy file, whatever its shape.

    Raises:
        ValueError: the file is not what its suffix says, is truncated, or holds Python objects.
        OSError: it cannot be opened.
    """
    if path.suffix.lower() == ".npy":
        return np.load(path, allow_pickle=False)
    try:
        return tifffile.imread(path)
    except ValueError as error:
        # tifffile needs a package of its own for LZW and predictors; OpenCV brings them along.
        decoded = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if "imagecodecs" in str(error) else None
        if decoded is None:
            raise ValueError(f"neither tifffile nor OpenCV can decode it: {error}") from error
        return decoded


def _test_folder(maps_dir: Path, class_folder: ClassFolder) -> Path:
    of_class = maps_dir / class_folder.name / "test"
    return of_class if of_class.is_dir() and not (maps_dir / "test").is_dir() else maps_dir / "test"


def _candidates(root: Path, sample: Sample) -> list[Path]:
    paths = [root / sample.kind / f"{sample.id}{suffix}" for suffix in SUFFIXES]
    return [path for path in paths if path.is_file()]


def _problems_of(root: Path, sample: Sample) -> Iterator[str]:
    found = _candidates(root, sample)
    if not found:
        yield f"{root / sample.kind / sample.id}{SUFFIXES[0]}: missing, and so are {' and '.join(SUFFIXES[1:])}"
    elif len(found) > 1:
        yield f"{found[0]}: there is also {found[1].name}; keep one of them"
    else:
        reason = _fault(found[0], sample.shape())
        if reason:
            yield f"{found[0]}: {reason}"


def _fault(path: Path, shape: tuple[int, int]) -> str | None:
    """What is wrong with the map in a file; None for nothing."""
    try:
        scores = read_map(path)
    except Exception as error:  # a damaged file may raise anything from within a decoder
        return f"cannot be read: {error}"
    if scores.shape != shape:
        return f"expected the picture's original size {list(shape)} (height, width), got {list(scores.shape)}"
    if scores.dtype.kind not in "fiub":
        return f"expected real numbers, got {scores.dtype}"
    count = int(np.sum(~np.isfinite(scores)))
    return f"{count} of {scores.size} scores are NaN or infinite" if count else None
