"""Is this folder what it claims to be? Every finding with file, reason and cure; bad content never raises."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_loco.decoding import read_mask, read_picture, read_shape, refuse_truncated
from data_loco.errors import DataError
from data_loco.findings import CheckReport, DefectCount, Finding, SplitCount
from data_loco.loco import ClassFolder, arrange, mask_index, read_kinds, refuse_other_folders
from data_loco.mvtec_loco import other_counts
from data_loco.picture_files import content_hash, entries_of, folders_in, is_picture, pictures_in
from data_loco.sample import GOOD, Defect, Sample, missing_mask, refuse_size
from data_loco.saturation import CONFIG_NAME, DefectKind


def check_class(root: Path, *, quick: bool = False) -> CheckReport:
    """Looks at every file of a class folder and goes on after each finding.

    Args:
        root: the class folder, in LOCO's layout or MVTec AD's.
        quick: reads masks, headers, file ends and hashes of all, but decodes the validation pictures only; misses
            damage in the middle of a picture and constant pictures in train and test.
    """
    root = Path(root)
    findings: list[Finding] = []
    folder = None
    with _noting(findings):
        refuse_other_folders(root)
        kinds: Mapping[int, DefectKind] | None = None
        with _noting(findings):
            kinds = read_kinds(root)
        folder = arrange(root, kinds or {})
    if folder is None:
        return CheckReport(root, tuple(findings))
    with ThreadPoolExecutor() as pool:
        looks = list(pool.map(lambda sample: _look(sample, decode=not quick), folder.samples))
        masks = list(pool.map(lambda sample: _inspect_masks(sample, kinds_known=kinds is not None), folder.test))
    findings += [*_splits(folder), *other_counts(root), *_strays(root), *_same_name(folder), *_orphans(folder)]
    findings += [finding for look in looks for finding in look.findings]
    findings += [*_constant(looks), *_duplicates(looks)]
    findings += [finding for found in masks for finding in found.findings]
    return CheckReport(root, tuple(findings), _split_counts(folder), _defect_counts(masks), folder.notes)


@contextmanager
def _noting(findings: list[Finding]) -> Iterator[None]:
    """Turns a DataError of the block into a finding and goes on behind the block."""
    try:
        yield
    except DataError as error:
        findings.append(Finding.of(error))


@dataclass(frozen=True)
class _Look:
    """What one picture file told."""

    sample: Sample
    findings: tuple[Finding, ...]
    content: str = ""
    constant: bool = False


@dataclass(frozen=True)
class _Masks:
    """What the masks of one anomalous picture told."""

    sample: Sample
    findings: tuple[Finding, ...] = ()
    areas: tuple[tuple[str, int, int], ...] = ()
    """(defect kind, pixel value, saturation area) of each region."""


def _look(sample: Sample, *, decode: bool) -> _Look:
    findings: list[Finding] = []
    content, constant = "", False
    with _noting(findings):
        if decode or sample.split == "validation":
            constant = _is_constant(read_picture(sample.path))
        else:
            refuse_truncated(sample.path)
            read_shape(sample.path)
        content = content_hash(sample.path)
    return _Look(sample, tuple(findings), content, constant)


def _is_constant(image: np.ndarray) -> bool:
    sparse = image[::16, ::16]
    return bool((sparse == sparse[0, 0]).all() and (image == image[0, 0]).all())


def _inspect_masks(sample: Sample, *, kinds_known: bool) -> _Masks:
    if sample.kind == GOOD:
        return _Masks(sample)
    if not sample.mask_paths:
        return _Masks(sample, (Finding.of(missing_mask(sample)),))
    findings: list[Finding] = []
    regions: list[Defect] = []
    shape = _shape_if_readable(sample)
    for path in sample.mask_paths:
        with _noting(findings):
            mask = read_mask(path)
            with _noting(findings):
                refuse_size(path, mask, shape or mask.shape)
            if kinds_known:
                regions += sample.regions(path, mask)
    areas = tuple((region.name, region.pixel_value, region.saturation_area) for region in regions)
    return _Masks(sample, tuple(findings), areas)


def _shape_if_readable(sample: Sample) -> tuple[int, ...] | None:
    """A picture that cannot be read is a finding of its own, not one of its masks."""
    try:
        return sample.shape()
    except DataError:
        return None


def _splits(folder: ClassFolder) -> Iterator[Finding]:
    root = folder.root
    if len(folder.train) < 2:
        reason = f"expected at least 2 training pictures, got {len(folder.train)}"
        yield Finding("error", root / "train" / GOOD, reason, "add normal pictures")
    if not pictures_in(root / "validation" / GOOD):
        cure = f"better move every tenth normal picture to validation/{GOOD} yourself"
        reason = f"no validation pictures; {len(folder.validation)} training pictures will take their place"
        yield Finding("warning", root / "validation" / GOOD, reason, cure)
    kinds = Counter(sample.kind for sample in folder.test)
    if not kinds[GOOD]:
        yield Finding("error", root / "test" / GOOD, "no normal test pictures", "add some that were not trained on")
    if not any(kind != GOOD for kind in kinds):
        cure = "add pictures of defects to test/logical_anomalies or test/structural_anomalies"
        yield Finding("error", root / "test", "no anomalous test pictures", cure)
    for empty in (path for path in folders_in(root / "test") if path.name != GOOD and not kinds[path.name]):
        yield Finding("warning", empty, "holds no picture", "add pictures or delete the folder")


def _strays(root: Path) -> Iterator[Finding]:
    places = [root / "train" / GOOD, root / "validation" / GOOD, *folders_in(root / "test")]
    places += [folder for kind in folders_in(root / "ground_truth") for folder in (kind, *folders_in(kind))]
    for path in (entry for place in places for entry in entries_of(place)):
        if not (path.is_dir() or (is_picture(path) and path.is_file())):
            yield Finding("warning", path, "is ignored: no PNG, JPEG, TIFF or BMP file", "convert or remove it")
    for split in ("train", "validation"):
        for other in (path for path in folders_in(root / split) if path.name != GOOD):
            cure = f"only {split}/{GOOD} is read; move normal pictures there and anomalous ones to test/"
            yield Finding("warning", other, "is ignored", cure)


def _same_name(folder: ClassFolder) -> Iterator[Finding]:
    names = Counter((sample.path.parent, sample.id) for sample in folder.samples)
    for (parent, name), count in names.items():
        if count > 1:
            reason = f"{count} pictures are called {name!r}, with different suffixes"
            yield Finding("error", parent / name, reason, "rename all but one, and their masks")


def _orphans(folder: ClassFolder) -> Iterator[Finding]:
    index = mask_index(folder.root)
    known = {(sample.kind, sample.id): sample for sample in folder.test}
    for (kind, picture_id), masks in index.items():
        sample = known.get((kind, picture_id))
        for path in masks if sample is None or sample.kind == GOOD else ():
            wanted = f"no picture {picture_id!r} in test/{kind}" if sample is None else "its picture is a good one"
            yield Finding("error", path, f"orphan mask: {wanted}", "rename, move or delete the mask")
    used = {path for masks in index.values() for path in masks}
    for path in (mask for kind in folders_in(folder.root / "ground_truth") for mask in pictures_in(kind)):
        if path not in used:
            cure = f"move it to {path.parent / path.stem.removesuffix('_mask') / '000.png'}"
            yield Finding("error", path, f"orphan mask: with {CONFIG_NAME}, masks lie in a folder per picture", cure)


def _constant(pictures: Iterable[_Look]) -> Iterator[Finding]:
    normal = [look for look in pictures if look.sample.kind == GOOD and look.content]
    for look in normal:
        if look.constant:
            yield Finding("warning", look.sample.path, "every pixel has the same value", "take the picture again")
    validation = [look for look in normal if look.sample.split == "validation"]
    if validation and all(look.constant for look in validation):
        folder = validation[0].sample.path.parent
        reason = "every validation picture is of one colour: no threshold can come from them"
        yield Finding("error", folder, reason, "take the validation pictures again")


def _duplicates(pictures: Iterable[_Look]) -> Iterator[Finding]:
    same: dict[str, list[Sample]] = defaultdict(list)
    for look in pictures:
        if look.content:
            same[look.content].append(look.sample)
    for first, *others in same.values():
        for other in others:
            twice = f"the same picture as {first.path}"
            if first.split != other.split and other.split == "test":
                cure = "keep it in one split: a test picture that was trained on proves nothing"
                yield Finding("error", other.path, f"{twice}, across splits", cure)
            elif first.kind != other.kind:
                yield Finding("error", other.path, f"{twice}, under another kind", "decide which of the two it is")
            else:
                yield Finding("warning", other.path, twice, "delete one of the two")


def _split_counts(folder: ClassFolder) -> tuple[SplitCount, ...]:
    counts = Counter((sample.split, sample.kind) for sample in folder.samples)
    return tuple(SplitCount(split, kind, pictures) for (split, kind), pictures in counts.items())


def _defect_counts(masks: Iterable[_Masks]) -> tuple[DefectCount, ...]:
    areas: dict[tuple[str, int, str], list[int]] = defaultdict(list)
    pictures: dict[tuple[str, int, str], set[Path]] = defaultdict(set)
    for found in masks:
        for name, value, area in found.areas:
            key = (found.sample.kind, -value, name)
            areas[key].append(area)
            pictures[key].add(found.sample.path)
    return tuple(
        DefectCount(kind, name, -value, len(pictures[kind, value, name]), len(found), min(found), max(found))
        for (kind, value, name), found in sorted(areas.items())
    )
