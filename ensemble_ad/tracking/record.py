"""What MLflow is told about a record folder: parameters, metrics, tags and files."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import xxhash

from ensemble_ad.errors import StoreError
from ensemble_ad.experiment import read_yaml
from ensemble_ad.store import RECORD as STAGE
from ensemble_ad.store import key_of
from ensemble_ad.tracking.flat import clean, metrics_of, name_of, params_of, text_of

EXPERIMENT, RESULT, FAILED, ENVIRONMENT = "experiment.yaml", "result.json", "failed.json", "environment.yaml"
SERIES = {"cells": "survey.yaml", "trials": "study.yaml"}
"""Folder of the records of a survey or a study -> the file beside it that says what it is."""
MEASURED = ("seconds", "ms_per_picture", "peak_memory_mb")
"""What differs between two runs of the same experiment."""
ARTIFACTS = (EXPERIMENT, ENVIRONMENT, RESULT, FAILED, "per_image.csv", "report.html", "curves.*")
SERIES_ARTIFACTS = (*SERIES.values(), "*.csv", "*.md", "*.tex", "*.html", "best*.yaml", "figures/*")
COPIES = "mlartifacts"
"""Folder beside an SQLite store in which MLflow keeps what it is given."""
PREFIX = "ensemble-ad/"
"""Of the names of MLflow experiments."""


@dataclass(frozen=True)
class Record:
    """A record folder, or the folder of a whole survey or study, as MLflow will show it."""

    folder: Path
    key: str
    """32 hexadecimal digits of all that was found and where it belongs, measured times apart: its identity."""
    series: str
    """The MLflow experiment: a survey, a study, or a class."""
    within: tuple[str, ...]
    """Names of the runs it is nested in, outermost first."""
    name: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    artifacts: tuple[Path, ...]
    ended: int
    """Milliseconds since 1970, when the result was written."""
    cost: int
    """Milliseconds that it took."""
    failed: bool = False
    content: str = ""
    """Of the folder of a survey or study, whose tables grow: a hash of them; empty for a record, which is final."""

    @property
    def model(self) -> Path | None:
        """The fitted detector, where the record has one."""
        return self.folder / "model" if (self.folder / "model").is_dir() else None


def is_record(folder: Path) -> bool:
    """Whether `folder` is what a run or a cell leaves, finished or failed."""
    return ((folder / EXPERIMENT).is_file() and (folder / RESULT).is_file()) or (folder / FAILED).is_file()


def is_series(folder: Path) -> bool:
    """Whether `folder` is that of a survey or a study."""
    return any((folder / inside).is_dir() and (folder / file).is_file() for inside, file in SERIES.items())


def find_records(root: Path) -> Iterator[Path]:
    """Yield every record in `root`, and each survey or study after its records.

    Links are not followed; hidden folders, MLflow's copies and finished stages hold none.
    """
    if is_record(root):
        yield root
        return
    for inside in sorted(path for path in root.iterdir() if path.is_dir() and not path.is_symlink()):
        if not inside.name.startswith(".") and inside.name != COPIES and not (inside / STAGE).is_file():
            yield from find_records(inside)
    if is_series(root):
        yield root


def read_record(folder: Path) -> Record:
    """Return what a folder holds; raises StoreError or ConfigError when it is not a record, or a damaged one."""
    folder = folder.resolve()
    if is_series(folder):
        return _series_record(folder)
    if not is_record(folder):
        raise StoreError(f"{folder}: expected a record folder with {EXPERIMENT} and {RESULT}; found none")
    failed = not (folder / RESULT).is_file()
    result = _json(folder / (FAILED if failed else RESULT))
    experiment, environment = _yaml(folder / EXPERIMENT), _yaml(folder / ENVIRONMENT)
    row = _row(folder)
    about = {key: {**experiment, **result, **row}.get(key) for key in ("class", "preset", "seed", "size")}
    label = row.get("detector") or name_of(experiment.get("detector", {}))
    series, within = _place(folder, str(about["class"]))
    stable = json.dumps({key: value for key, value in result.items() if key not in MEASURED}, sort_keys=True)
    cell = folder.name if within else ""
    return Record(
        folder,
        key=key_of({"series": series, "within": within, "cell": cell, "experiment": experiment, "result": stable}),
        series=series,
        within=within,
        name=f"{label}, seed {about['seed']}" if within else folder.name,
        params=params_of(experiment),
        metrics={} if failed else metrics_of(result),
        tags=_tags(about | {"detector": label, "oracle": row.get("oracle", False)}, result, environment),
        artifacts=_files(folder, ARTIFACTS),
        ended=_milliseconds(folder / (FAILED if failed else RESULT)),
        cost=int(sum(result.get("seconds", {}).values()) * 1000),
        failed=failed,
    )


def _place(folder: Path, class_name: str) -> tuple[str, tuple[str, ...]]:
    """The MLflow experiment of a record, and the runs above it: a survey or a study, then the class."""
    home = folder.parents[1]
    if folder.parent.name in SERIES and is_series(home):
        return f"{PREFIX}{home.name}", (home.name, class_name)
    return f"{PREFIX}{class_name}", ()


def _series_record(folder: Path) -> Record:
    """The run above all records of a survey or study: its tables and figures."""
    series, name = f"{PREFIX}{folder.name}", folder.name
    files = _files(folder, SERIES_ARTIFACTS)
    content = key_of({str(file.relative_to(folder)): xxhash.xxh3_128_hexdigest(file.read_bytes()) for file in files})
    ended = max(map(_milliseconds, files))
    key = parent_key(series, (name,))
    return Record(folder, key, series, (), name, {}, {}, {}, files, ended, cost=0, content=content)


def parent_key(series: str, names: tuple[str, ...]) -> str:
    """Return the identity of a run that others are nested in, by its own and its parents' names."""
    return key_of({"series": series, "names": names})


def _row(folder: Path) -> dict[str, Any]:
    """What a survey or a study says about the record in `folder`; nothing for any other."""
    file = folder.parents[1] / SERIES.get(folder.parent.name, "")
    return _rows(file, file.stat().st_mtime_ns).get(folder.name, {}) if file.is_file() else {}


@lru_cache(maxsize=8)
def _rows(file: Path, _changed: int) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in read_yaml(file).get("cells", [])}


def _tags(about: Mapping[str, Any], result: Mapping[str, Any], environment: Mapping[str, Any]) -> dict[str, str]:
    tags = {key: text_of(value) for key, value in about.items()}
    tags |= {f"version.{clean(str(key))}": str(value) for key, value in environment.items() if key != "commit"}
    if commit := environment.get("commit"):
        tags["mlflow.source.git.commit"] = str(commit)
    if "reason" in result:
        tags["reason"] = str(result["reason"])
    if notes := result.get("notes"):
        tags["mlflow.note.content"] = "\n\n".join(notes)
    return tags


def _files(folder: Path, patterns: tuple[str, ...]) -> tuple[Path, ...]:
    return tuple(path for pattern in patterns for path in sorted(folder.glob(pattern)) if path.is_file())


def _milliseconds(path: Path) -> int:
    return int(path.stat().st_mtime * 1000)


def _yaml(path: Path) -> dict[str, Any]:
    return read_yaml(path) if path.is_file() else {}


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read ({error}); run the experiment again") from error
    if not isinstance(content, dict):
        raise StoreError(f"{path}: expected keys and values, got {type(content).__name__}; run the experiment again")
    return content
