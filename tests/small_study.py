"""Studies that cost nothing: a space over a small experiment, and objectives that are formulas."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from small_run import FUSED

from ensemble_ad.tuning.search import Search, attempt, begin, trials_of
from ensemble_ad.tuning.space import Point
from ensemble_ad.tuning.study_file import StudyFile, load_study
from ensemble_ad.tuning.trials import Trial

NOISE, SIGMA, RULE = "detector.discriminator.noise_std", "detector.sigma", "detector.image_score"
SPACE: dict[str, Any] = {
    NOISE: {"low": 0.1, "high": 2.0, "log": True},
    SIGMA: {"low": 0.0, "high": 8.0},
    RULE: ["maximum", "top_mean"],
}
Formula = Callable[[Point], dict[str, float]]


def write_study(path: Path, **changes: Any) -> Path:
    content = {
        "data": ["parts"],
        "experiment": {"size": 64, "detector": FUSED},
        "space": SPACE,
        "trials": 6,
        "proxy": {"count": 4, "kinds": ["perlin", "cutpaste"]},
    }
    path.write_text(yaml.safe_dump(content | changes))
    return path


def small_study(folder: Path, **changes: Any) -> StudyFile:
    return load_study(write_study(folder / "study.yaml", **changes))


def search_in(folder: Path, **changes: Any) -> Search:
    """A study that is begun, in a journal file in `folder`."""
    study = small_study(folder, **changes)
    search = Search(study, study.storage or str(folder / "study.journal"))
    begin(search, study.identity([]))
    return search


def bowl(point: Point) -> dict[str, float]:
    """Highest at sigma 6 and noise 1."""
    return {"quality": 1 - ((point[SIGMA] - 6) / 8) ** 2 - (point[NOISE] - 1) ** 2 / 4, "ms_per_picture": point[SIGMA]}


def go_on(search: Search, trials: int, formula: Formula = bowl) -> list[Trial]:
    for _ in range(trials):
        attempt(search, lambda point, report: formula(point))
    return trials_of(search)
