"""A class folder in the LOCO layout (Bergmann et al., IJCV 2022), or in MVTec AD's through `mvtec_ad`.

train/good/000.png                              normal pictures
validation/good/000.png                         normal pictures; split off train where absent
test/<kind>/000.png                             kind: good, logical_anomalies, structural_anomalies, ...
ground_truth/<kind>/000/000.png, 001.png, ...   one mask per defect of test/<kind>/000.png
defects_config.json                             what a mask's value means
"""

import difflib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import xxhash

from data_loco import mvtec_ad
from data_loco.errors import DataError
from data_loco.picture_files import content_hash, entries_of, folders_in, is_picture, pictures_in
from data_loco.sample import GOOD, Sample
from data_loco.saturation import CONFIG_NAME, DefectKind, read_defects_config

VALIDATION_RATIO = 0.1
"""Share of train/good that validates where the class has no validation pictures."""

MaskIndex = Mapping[tuple[str, str], tuple[Path, ...]]
"""(kind, picture id) -> mask files."""


@dataclass(frozen=True)
class ClassFolder:
    """The pictures of one class; only names are known, nothing has been read."""

    root: Path
    name: str
    train: tuple[Sample, ...]
    """Normal pictures to learn from."""
    validation: tuple[Sample, ...]
    """Normal pictures that set thresholds and scales."""
    test: tuple[Sample, ...]
    """Normal and anomalous pictures, by kind and name, good ones first."""
    defect_kinds: Mapping[int, DefectKind]
    """By pixel value."""
    notes: tuple[str, ...] = ()
    """What the reader should know about how this folder was read."""

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Every picture: train, validation, test."""
        return self.train + self.validation + self.test

    def fingerprint(self) -> str:
        """16 hexadecimal digits of what results depend on, not of where the folder lies.

        Covers names, splits, the bytes of pictures and masks, and the defect kinds. Hashing is repeated only for files
        whose size or modification time has changed.
        """
        files = [(sample, path) for sample in self.samples for path in (sample.path, *sample.mask_paths)]
        with ThreadPoolExecutor() as pool:
            contents = pool.map(content_hash, [path for _, path in files])
            lines = [
                f"{sample.split}/{_place(path, self.root)} {content}"
                for (sample, path), content in zip(files, contents)
            ]
        lines += [repr(kind) for kind in self.defect_kinds.values()]
        return xxhash.xxh3_64("\n".join(lines).encode()).hexdigest()


def open_class(root: Path) -> ClassFolder:
    """Reads the names in a class folder; LOCO's layout or MVTec AD's is told from the masks.

    Raises:
        DataError: no such folder, the parent of class folders, no training pictures, no or an invalid
            defects_config.json. The text names what was found and what to do.
    """
    root = Path(root)
    refuse_other_folders(root)
    return arrange(root, read_kinds(root))


def read_kinds(root: Path) -> Mapping[int, DefectKind]:
    """The defect kinds by pixel value; none where no picture is anomalous. Raises DataError for a faulty config."""
    if mvtec_ad.is_mvtec_ad(root):
        return mvtec_ad.type_kinds(root)
    anomalous = any(folder.name != GOOD for folder in (*folders_in(root / "test"), *folders_in(root / "ground_truth")))
    if not anomalous and not (root / CONFIG_NAME).exists():
        return {}
    return read_defects_config(root / CONFIG_NAME)


def arrange(root: Path, kinds: Mapping[int, DefectKind]) -> ClassFolder:
    """The class folder of a root that `refuse_other_folders` has passed, with these defect kinds."""
    notes = ["MVTec AD layout: one region per connected component"] if mvtec_ad.is_mvtec_ad(root) else []
    train, validation = pictures_in(root / "train" / GOOD), pictures_in(root / "validation" / GOOD)
    if not validation:
        train, validation = _split_off(root, train)
        share = f"{len(validation)} of {len(train) + len(validation)} training pictures"
        notes.append(f"no validation/{GOOD}: {share} were set aside by a hash of their names")
    test = test_samples(root, kinds)
    if not test:
        notes.append("no test pictures: nothing can be evaluated")
    return ClassFolder(
        root=root,
        name=root.resolve().name,
        train=tuple(Sample(path, "train", GOOD, path.stem, (), kinds) for path in train),
        validation=tuple(Sample(path, "validation", GOOD, path.stem, (), kinds) for path in validation),
        test=test,
        defect_kinds=kinds,
        notes=tuple(notes),
    )


def _place(path: Path, root: Path) -> str:
    """Where a picture or mask lies in its class folder, which is another one than `root` for a synthetic picture."""
    if path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    tops = [place for place, part in enumerate(path.parts) if part in ("train", "validation", "test", "ground_truth")]
    return "/".join(path.parts[tops[-1] :] if tops else path.parts[-1:])


def mask_index(root: Path) -> MaskIndex:
    """The mask files of each picture, whether or not the picture exists."""
    if mvtec_ad.is_mvtec_ad(root):
        return mvtec_ad.mask_index(root)
    folders = [(kind, folder) for kind in folders_in(root / "ground_truth") for folder in folders_in(kind)]
    return {(kind.name, folder.name): pictures_in(folder) for kind, folder in folders}


def class_folders(parent: Path) -> tuple[Path, ...]:
    """The class folders directly in `parent`, sorted by name; none where it is one itself."""
    if pictures_in(parent / "train" / GOOD):
        return ()
    return tuple(folder for folder in folders_in(parent) if pictures_in(folder / "train" / GOOD))


def refuse_other_folders(root: Path) -> None:
    """Raises DataError unless `root` is a folder with pictures in train/good; says what it is instead."""
    if root.is_dir() and pictures_in(root / "train" / GOOD):
        return
    if not root.exists():
        raise DataError(root, "no such folder", _similar_neighbour(root))
    if not root.is_dir():
        raise DataError(root, "is a file", f"name the class folder, the one that holds train/{GOOD}")
    classes = class_folders(root)
    if classes:
        found = f"it holds the classes {', '.join(folder.name for folder in classes)}"
        cure = f"name one of them, for example {classes[0]}"
        raise DataError(root, f"is the parent of class folders, not one: {found}", cure)
    reason, cure = _why_no_training_pictures(root)
    raise DataError(root, reason, cure)


def _why_no_training_pictures(root: Path) -> tuple[str, str]:
    for above in root.resolve().parents[:2]:
        if pictures_in(above / "train" / GOOD):
            return "lies inside a class folder", f"name the class folder itself, {above}"
    train = root / "train" / GOOD
    if train.is_dir():
        names = [path.name for path in entries_of(train)][:3]
        what = f"holds no picture (PNG, JPEG, TIFF, BMP){', only ' + ', '.join(names) if names else ''}"
        return f"train/{GOOD} {what}", f"put the normal training pictures into {train}"
    for folder in (root / "train", root):
        loose = [path for path in entries_of(folder) if is_picture(path)]
        if loose:
            return f"has no train/{GOOD}; {len(loose)} pictures lie in {folder}", f"move the normal ones to {train}"
    others = folders_in(root / "train") or folders_in(root)
    found = f"found {', '.join(path.relative_to(root).as_posix() for path in others[:8])}" if others else "it is empty"
    return f"has no train/{GOOD} ({found})", f"the LOCO layout keeps normal training pictures in {train}"


def _similar_neighbour(root: Path) -> str:
    names = [folder.name for folder in folders_in(root.parent)]
    close = difflib.get_close_matches(root.name, names, n=1)
    if close:
        return f"did you mean {root.parent / close[0]}?"
    return f"{root.parent} holds {', '.join(names[:8])}" if names else "check the spelling of the path"


def _split_off(root: Path, train: Sequence[Path]) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """(train, validation): the tenth of the pictures with the smallest hash of the name, at least one."""
    if len(train) < 2:
        reason = f"has one training picture and no validation/{GOOD}"
        raise DataError(root, reason, f"add pictures to train/{GOOD}: one must be left to validate")
    count = max(1, round(VALIDATION_RATIO * len(train)))
    ranked = sorted(train, key=lambda path: blake2b(path.name.encode(), digest_size=8).digest())
    chosen = set(ranked[:count])
    return tuple(path for path in train if path not in chosen), tuple(path for path in train if path in chosen)


def test_samples(root: Path, kinds: Mapping[int, DefectKind]) -> tuple[Sample, ...]:
    """The pictures below `root`/test with their masks, good ones first; none where there is no such folder."""
    sample_type = mvtec_ad.MVTecADSample if mvtec_ad.is_mvtec_ad(root) else Sample
    masks = mask_index(root)
    folders = sorted(folders_in(root / "test"), key=lambda folder: (folder.name != GOOD, folder.name))
    return tuple(
        sample_type(path, "test", folder.name, path.stem, masks.get((folder.name, path.stem), ()), kinds)
        for folder in folders
        for path in pictures_in(folder)
    )
