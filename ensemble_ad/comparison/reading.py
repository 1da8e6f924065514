"""Run folders and survey folders -> records that can be compared, or a sentence that says why not."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from ensemble_ad.comparison.contributions import FILE_NAME, Pieces, read_contributions
from ensemble_ad.comparison.names import short_name, telling_apart, without_seed
from ensemble_ad.errors import ConfigError
from ensemble_ad.metrics import GOOD
from ensemble_ad.store import key_of

EXPERIMENT, RESULT, SCORES = "experiment.yaml", "result.json", "per_image.csv"
CELLS, TABLE = "cells", "table.csv"
"""Of a survey: the folder of its records, and the table that names their detectors."""


@dataclass(frozen=True, eq=False)
class Record:
    """What a run or a survey's cell has left about one detector, class and seed."""

    folder: Path
    class_name: str
    seed: int
    settings: Mapping[str, Any]
    """Detector and picture size without the seed: what makes two records ones of the same detector."""
    name: str
    """Of the detector."""
    result: Mapping[str, Any]
    """result.json."""
    pictures: pd.DataFrame
    """Of the test split: kind, id, score."""

    @cached_property
    def detector(self) -> str:
        """A key that records of the same detector share."""
        return key_of(self.settings)

    def picture_names(self) -> list[str]:
        """Such as "good/000", in order."""
        return [f"{kind}/{name}" for kind, name in zip(self.pictures["kind"], self.pictures["id"])]

    def scores(self) -> dict[str, np.ndarray]:
        """Image scores by kind, in order."""
        kinds = dict.fromkeys(self.pictures["kind"])
        return {kind: self.pictures.loc[self.pictures["kind"] == kind, "score"].to_numpy() for kind in kinds}

    def pieces(self) -> dict[str, Pieces]:
        """Return what each picture contributes to the pixel metrics; raises ConfigError when it cannot be used."""
        path = self.folder / FILE_NAME
        try:
            found = read_contributions(path)
        except FileNotFoundError as error:
            cure = "repeat the run or survey that made it: with its cache this takes seconds"
            raise ConfigError(f"{self.folder}: has no {FILE_NAME}, which comparisons need; {cure}") from error
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: {error}; repeat the run or survey that made it") from error
        for kind, pieces in found.items():
            expected = [name for name in self.picture_names() if name.startswith((f"{GOOD}/", f"{kind}/"))]
            if sorted(expected) != sorted(pieces.pictures.tolist()):
                raise ConfigError(f"{path}: is about other pictures than {SCORES} beside it; repeat the run")
        return found


def read_records(paths: Sequence[Path]) -> tuple[list[Record], list[str]]:
    """Return the records in `paths`, each once and with names that tell their detectors apart, and what to note.

    Raises:
        ConfigError: a folder that holds no record, a record that is damaged or lacks a file, records of one class with
            different test pictures, two different records of one detector, class and seed.
    """
    found: dict[tuple[str, str, int], Record] = {}
    notes: list[str] = []
    for path in paths:
        records, left_out = _records_in(path)
        notes += left_out
        for record in records:
            key = (record.class_name, record.detector, record.seed)
            if key in found:
                _refuse_contradiction(found[key], record)
            found.setdefault(key, record)
    _refuse_other_pictures(list(found.values()))
    return _named(list(found.values())), notes


def _records_in(path: Path) -> tuple[list[Record], list[str]]:
    if (path / EXPERIMENT).exists():
        return [_record(path, "")], []
    if (path / CELLS).is_dir():
        return _records_of_survey(path)
    if not path.is_dir():
        raise ConfigError(f"{path}: no such folder; name run folders (out/runs/CLASS/...) or the folder of a survey")
    inside = sorted(folder.parent for folder in path.glob(f"*/{EXPERIMENT}"))
    hint = f"it holds {len(inside)} run folders: name them, as in {path}/*" if inside else "name run or survey folders"
    raise ConfigError(f"{path}: is neither a run folder (no {EXPERIMENT}) nor a survey (no {CELLS}/); {hint}")


def _records_of_survey(path: Path) -> tuple[list[Record], list[str]]:
    """The cells that the survey's table names, or all where it has not come to a table yet."""
    names = _cell_names(path / TABLE)
    folders = [path / CELLS / key for key in names] if names else sorted((path / CELLS).iterdir())
    finished = [folder for folder in folders if (folder / RESULT).exists()]
    if not finished:
        raise ConfigError(f"{path}: this survey has no finished cell yet; let `ensemble-ad survey` go on")
    failed = len([folder for folder in folders if folder.is_dir()]) - len(finished)
    notes = [f"{path}: {failed} cells without a record are left out"] if failed else []
    return [_record(folder, names.get(folder.name, "")) for folder in finished], notes


def _cell_names(path: Path) -> dict[str, str]:
    """Run id -> detector, as a survey's table has them; ones chosen on test pictures say so."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        rows = table[["run_id", "detector", "oracle", "metric"]].to_numpy()
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); start the survey again to have it rewritten") from error
    names: dict[str, str] = {}
    for run_id, detector, oracle, metric in rows:
        if metric == "image AUROC":
            names.setdefault(str(run_id), f"{detector} (oracle)" if oracle == "True" else str(detector))
    return names


def _record(folder: Path, name: str) -> Record:
    try:
        experiment = yaml.safe_load((folder / EXPERIMENT).read_text())
        result = json.loads((folder / RESULT).read_text())
        table = pd.read_csv(folder / SCORES, dtype=str, keep_default_na=False)
        settings = {"detector": without_seed(experiment["detector"], experiment["seed"]), "size": experiment["size"]}
        return Record(
            folder=folder,
            class_name=str(result["class"]),
            seed=int(experiment["seed"]),
            settings=settings,
            name=name or short_name(settings["detector"]),
            result=result,
            pictures=table[["kind", "id"]].assign(score=table["score"].map(float)),
        )
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{folder}: is no complete run folder ({reason}); repeat the run that made it") from error


def _refuse_contradiction(first: Record, second: Record) -> None:
    if not first.pictures.equals(second.pictures):
        raise ConfigError(
            f"{first.folder} and {second.folder}: two records of {first.name} on {first.class_name} with seed "
            f"{first.seed} and different scores; name only one of them"
        )


def _refuse_other_pictures(records: Sequence[Record]) -> None:
    """Raise ConfigError unless all records of a class are about the same test pictures."""
    known: dict[str, Record] = {}
    for record in records:
        first = known.setdefault(record.class_name, record)
        if record.picture_names() != first.picture_names():
            raise ConfigError(
                f"{first.folder} and {record.folder}: both are about {record.class_name}, but their test pictures "
                f"differ ({len(first.pictures)} and {len(record.pictures)}); repeat one of the runs on the other's data"
            )


def _named(records: Sequence[Record]) -> list[Record]:
    detectors = {record.detector: record for record in reversed(records)}
    detectors = {record.detector: detectors[record.detector] for record in records}
    told = telling_apart(
        [record.name for record in detectors.values()], [record.settings for record in detectors.values()]
    )
    names = dict(zip(detectors, told))
    return [replace(record, name=names[record.detector]) for record in records]
