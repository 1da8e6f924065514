"""Synthetic anomalies on disk: a class folder in the LOCO layout that the ordinary machinery evaluates."""

import json
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import yaml

from data_loco import ClassFolder, Sample, open_class
from data_loco.errors import DataError
from data_loco.loco import test_samples
from data_loco.picture_files import pictures_in
from data_loco.sample import GOOD
from data_loco.saturation import CONFIG_NAME, read_defects_config
from ensemble_ad.errors import ConfigError
from ensemble_ad.progress import Progress, Silent
from ensemble_ad.synthesis.edit import VISIBLE, Edit, Editor, change, in_8_bits
from ensemble_ad.synthesis.editors import make_editors
from ensemble_ad.synthesis.kinds import DEFECT_KINDS, KINDS, TYPES, chosen_kinds, turn
from extractors.components import Components

Source = Literal["validation", "train"]

RECORD = "synthesis.yaml"
"""What a folder of synthetic anomalies says about how it was made."""
ATTEMPTS = 8
"""Draws of one kind on one picture before the next picture is tried."""
PICTURES = 6
"""Pictures on which one anomaly is tried before it is given up."""


def synthesise(
    folder: ClassFolder,
    out: Path,
    *,
    kinds: Sequence[str] | None = None,
    count: int = 60,
    seed: int = 0,
    source: Source = "validation",
    finder: Components | None = None,
    progress: Progress | None = None,
) -> ClassFolder:
    """Write `count` synthetic anomalies to `out` in the LOCO layout, and return `folder` with them as its test split.

    Half of them are logical, half structural where `kinds` (all of them by default) has both; kinds take turns. The
    normal pictures that were edited, untouched, are the good ones. The same arguments give the same bytes. Train and
    validation of the result are those of `folder`. `out` appears when it is complete. `finder` looks for components, by
    default with the network of the cpu preset.

    Raises:
        ConfigError: an unknown kind, fewer than one anomaly, `out` is there and not empty, or no kind can be made.
        DataError: a normal picture cannot be read.
    """
    wanted = chosen_kinds(kinds)
    if count < 1:
        raise ConfigError(f"count: expected at least 1 synthetic anomaly, got {count}")
    progress = progress or Silent()
    pictures = _shuffled(folder.train if source == "train" else folder.validation, seed)
    with _drafted(Path(out)) as draft:
        editors, notes = make_editors(folder, wanted, pictures, seed, finder or Components(), progress)
        recipe, made = _Recipe(pictures, editors, seed), list[_Written]()
        progress.update("synthetic anomalies", 0, count)
        for anomaly in recipe.all(count, notes):
            made.append(_write(anomaly, draft, f"{len(made):03d}"))
            progress.update("synthetic anomalies", len(made), count)
        _write_rest(draft, made, {"seed": seed, "source": source, "notes": notes})
    return open_synthetic(folder, out)


def open_synthetic(folder: ClassFolder, out: Path) -> ClassFolder:
    """Return `folder` with the synthetic anomalies in `out` as its test split; raises DataError where it is damaged."""
    kinds = read_defects_config(Path(out) / CONFIG_NAME)
    notes = _record(Path(out))["notes"]
    return replace(folder, test=test_samples(Path(out), kinds), defect_kinds=kinds, notes=(*folder.notes, *notes))


def complete_class(folder: ClassFolder, out: Path) -> ClassFolder:
    """Copy normal pictures beside the synthetic anomalies in `out`, so that it is a class like any other; open it.

    A picture is in one split only: those in test/good no longer train or validate. Where no validation picture is left
    a tenth of the training pictures validates. Raises ConfigError where fewer than two training pictures are left.
    """
    out = Path(out)
    source, edited = _record(out)["source"], {path.name for path in pictures_in(out / "test" / GOOD)}
    left = {
        split: [sample.path for sample in samples if split != source or sample.path.name not in edited]
        for split, samples in (("train", folder.train), ("validation", folder.validation))
    }
    if len(left["train"]) < 2:
        raise ConfigError(f"count: {len(edited)} of {len(folder.train)} training pictures were edited; ask for fewer")
    for split, paths in left.items():
        for path in paths:
            _copy(path, out / split / GOOD)
    for sample in () if left["validation"] else open_class(out).validation:
        target = out / "validation" / GOOD / sample.path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        sample.path.replace(target)
    return open_class(out)


@dataclass(frozen=True)
class _Recipe:
    """Everything that one anomaly depends on."""

    pictures: Sequence[Sample]
    editors: Mapping[str, Editor]
    seed: int

    def all(self, count: int, notes: list[str]) -> "Iterator[_Anomaly]":
        """Up to `count` anomalies, kinds in turn; a kind that finds no place is left out from then on, with a note."""
        kinds, number = list(self.editors), 0
        while number < count and kinds:
            kind = turn(kinds, number)
            anomaly = self.make(kind, number)
            if anomaly is None:
                kinds.remove(kind)
                notes.append(f"{kind}: left out from anomaly {number} on, as no place for one was found")
            else:
                number += 1
                yield anomaly

    def make(self, kind: str, number: int) -> "_Anomaly | None":
        """The anomaly `number`; None where several pictures have no place for one of this kind."""
        rng = np.random.default_rng([self.seed, zlib.crc32(kind.encode()), number])
        for step in range(min(PICTURES, len(self.pictures))):
            sample = self.pictures[(number + step) % len(self.pictures)]
            image = sample.image()
            before = in_8_bits(image)
            for _ in range(ATTEMPTS):
                edit = self.editors[kind](before, rng)
                if edit is not None and change(before, edit) >= VISIBLE:
                    return _Anomaly(kind, sample, _in_depth(image, edit), edit.mask)
        return None


@dataclass(frozen=True, eq=False)
class _Anomaly:
    kind: str
    source: Sample
    image: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class _Written:
    """What is remembered of an anomaly once it is on disk."""

    id: str
    kind: str
    source: Sample


def _in_depth(image: np.ndarray, edit: Edit) -> np.ndarray:
    """The edited picture with as many bits as the normal one, which shows outside the mask to the last bit."""
    levels = edit.image.astype(image.dtype) * (257 if image.dtype == np.uint16 else 1)
    return np.where(edit.mask[..., None], levels, image)


def _write(anomaly: _Anomaly, draft: Path, name: str) -> _Written:
    type_ = TYPES[anomaly.kind]
    _write_png(draft / "test" / type_ / f"{name}.png", anomaly.image[..., ::-1])
    value = np.uint8(DEFECT_KINDS[anomaly.kind].pixel_value)
    _write_png(draft / "ground_truth" / type_ / name / "000.png", anomaly.mask * value)
    return _Written(f"{type_}/{name}", anomaly.kind, anomaly.source)


def _write_rest(draft: Path, made: Sequence[_Written], record: Mapping[str, Any]) -> None:
    """The good pictures, the defect kinds and the record; ConfigError where no anomaly was made."""
    if not made:
        raise ConfigError(f"kinds: none of them could be made from these pictures ({'; '.join(record['notes'][:3])})")
    for path in sorted({entry.source.path for entry in made}):
        _copy(path, draft / "test" / GOOD)
    kinds = [DEFECT_KINDS[name] for name in KINDS if any(entry.kind == name for entry in made)]
    config = [
        {
            "defect_name": kind.name,
            "pixel_value": kind.pixel_value,
            "saturation_threshold": kind.saturation_threshold,
            "relative_saturation": kind.relative,
        }
        for kind in kinds
    ]
    (draft / CONFIG_NAME).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    pictures = {entry.id: {"kind": entry.kind, "source": entry.source.id} for entry in made}
    text = yaml.safe_dump({**record, "pictures": pictures}, sort_keys=False)
    (draft / RECORD).write_text(text, encoding="utf-8")


def _record(out: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = yaml.safe_load((out / RECORD).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise DataError(out / RECORD, f"cannot be read ({error})", "make the synthetic anomalies again") from error
    return record


def _shuffled(samples: Sequence[Sample], seed: int) -> list[Sample]:
    order = np.random.default_rng(seed).permutation(len(samples))
    return [samples[place] for place in order]


@contextmanager
def _drafted(out: Path) -> Iterator[Path]:
    """A folder beside `out` that becomes `out` when the block succeeds; ConfigError where something is there."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists and is not empty: remove it, or name another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield draft
        draft.chmod(0o755)
        draft.replace(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _copy(path: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, folder / path.name)


def _write_png(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _, content = cv2.imencode(".png", image)
    path.write_bytes(content.tobytes())
