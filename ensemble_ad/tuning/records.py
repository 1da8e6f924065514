"""A record folder for every trial, as a run leaves one: what comparisons read and tracking mirrors."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ensemble_ad.errors import StoreError
from ensemble_ad.plain import plain
from ensemble_ad.tuning.study_file import StudyFile
from ensemble_ad.tuning.trials import Trial
from ensemble_ad.whole import replacing, write_text

MARKER = "study.yaml"
"""A folder with this file is a study's."""
JOURNAL = "study.journal"
"""The storage, where the study names no other."""
ENDED = ("finished", "failed", "pruned")


def refuse_foreign(out: Path) -> None:
    """Raise StoreError when `out` exists and is not a study's folder."""
    ours = any((out / name).exists() for name in (MARKER, JOURNAL))
    if out.exists() and not ours and (not out.is_dir() or any(out.iterdir())):
        raise StoreError(f"{out}: exists and is not the folder of a study; name another one with --out")


@dataclass
class Records:
    """The trials of one study, in `out`/trials."""

    out: Path
    study: StudyFile
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What study.yaml says about each record folder, by its name."""

    def __post_init__(self) -> None:
        (self.out / "trials").mkdir(parents=True, exist_ok=True)
        self._describe()

    def write(self, label: str, trials: Sequence[Trial]) -> list[Path]:
        """Write the records of ended trials that have none yet; return their folders."""
        new = [trial for trial in trials if trial.state in ENDED and self._name(label, trial) not in self.rows]
        folders = [folder for trial in new if (folder := self._write(label, trial)) is not None]
        if new:
            self._describe()
        return folders

    def _write(self, label: str, trial: Trial) -> Path | None:
        name = self._name(label, trial)
        oracle = self.study.objective == "oracle"
        self.rows[name] = {"key": name, "detector": f"{label} {trial.number}", "oracle": oracle, "state": trial.state}
        folder = self.out / "trials" / name
        if folder.exists():
            return None
        experiment = self.study.space.experiment(trial.point)
        about = {
            "class": "+".join(Path(root).name for root in self.study.data),
            "preset": experiment.preset,
            "seed": experiment.seed,
            "size": list(experiment.size),
            "seconds": {"trial": trial.seconds},
        }
        with replacing(folder) as partial:
            (partial / "experiment.yaml").write_text(experiment.to_yaml())
            if trial.state == "finished":
                content = about | {self.study.objective: dict(trial.measured), "parameters": trial.point}
                (partial / "result.json").write_text(json.dumps(content, indent=2))
            else:
                reason = trial.reason or "stopped early: it fell behind the others"
                (partial / "failed.json").write_text(json.dumps(about | {"reason": reason}, indent=2))
        return folder

    def _name(self, label: str, trial: Trial) -> str:
        oracle = "oracle-" if self.study.objective == "oracle" else ""
        return f"{oracle}{label}-{trial.number:04d}"

    def _describe(self) -> None:
        settings = {key: value for key, value in vars(self.study).items() if key not in ("space", "where")}
        asked = plain(settings | {"proxy": vars(self.study.proxy)})
        asked |= {"experiment": self.study.space.content, "space": self.study.space.entries}
        text = yaml.safe_dump({"study": plain(asked), "cells": list(self.rows.values())}, sort_keys=False)
        write_text(self.out / MARKER, text)
