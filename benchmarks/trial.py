"""What does a trial of a study cost beside the same experiment from nothing?

Question: how much do trials save by sharing fitted members and their features?
Command:  python benchmarks/trial.py --data CLASS_DIR [--members patchcore,simplenet] [--trials 3]
Cost:     the experiment once (with the default four members a few minutes on two cores), and a few heads
Expected: on screw_rack with the default four members at most 30 s per trial on two cores, and at most a tenth of the
          experiment from nothing

Both are measured in one run, on one class, with a store that is thrown away afterwards. From nothing is what
`ensemble-ad run` computes before it draws its report. A trial draws a new noise, block and smoothing, trains the head
and is judged on synthetic anomalies; those, and the members' features of them, are made before, as in a study.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does

import torch
import yaml

from data_loco import open_class
from ensemble_ad.running import measure
from ensemble_ad.stages import Stages
from ensemble_ad.store import Store
from ensemble_ad.tuning.space import Point
from ensemble_ad.tuning.study_file import StudyFile, load_study
from ensemble_ad.tuning.trial import Place, evaluate, prepare, shared_parts
from extractors.runtime import Runtime, using

MEMBERS = "patchcore,draem,cs_flow,simplenet"
GOAL_SECONDS, GOAL_SHARE = 30.0, 0.1
NOISE, SIGMA, COMPONENTS = "detector.discriminator.noise_std", "detector.sigma", "detector.combiner.components"
SPACE = {
    NOISE: {"low": 0.1, "high": 2.0},
    SIGMA: {"low": 0.0, "high": 8.0},
    COMPONENTS: {"low": 16, "high": 512},
}


def seconds_of(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def study_of(folder: Path, data: Path, members: list[str]) -> StudyFile:
    detector = {"name": "feature_ensemble", "extractors": members, "combiner": "global"}
    content: dict[str, Any] = {"experiment": {"preset": "cpu", "detector": detector}, "space": SPACE}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_study(path, [data])


def from_nothing(study: StudyFile, cache: Path) -> None:
    experiment = study.space.experiment(study.space.default())
    with using(Runtime(cache=cache / "backbone")):
        measure(Stages(open_class(Path(study.data[0])), experiment.size, Store(cache)), experiment, timed=False)


def made_ready(study: StudyFile, place: Place) -> None:
    for part in shared_parts(study.space.experiment(study.space.default()).detector):
        prepare(study, place, study.data[0], part)


def other_points(count: int) -> list[Point]:
    return [{NOISE: 0.3 + 0.2 * number, SIGMA: 2.0 + number, COMPONENTS: 96 + 32 * number} for number in range(count)]


def main(data: Path, members: list[str], trials: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        study, cache = study_of(Path(folder), data, members), Path(folder) / "cache"
        place = Place(str(cache))
        whole = seconds_of(lambda: from_nothing(study, cache))
        ready = seconds_of(lambda: made_ready(study, place))
        each = [
            seconds_of(lambda point=point: evaluate(study, place, point, lambda *_: None))  # type: ignore[misc]
            for point in other_points(trials)
        ]
    one = statistics.median(each)
    print(f"{data.name}, {'+'.join(members)}, 256 x 256 pixels, {torch.get_num_threads()} threads")
    print(f"the experiment from nothing       {whole:7.1f} s")
    print(f"synthetic anomalies and features  {ready:7.1f} s, once per study")
    print(f"a trial, median of {len(each)}              {one:7.1f} s (goal {GOAL_SECONDS:.0f} s)")
    print(f"ratio                             {one / whole:7.3f} (goal {GOAL_SHARE})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="class folder")
    parser.add_argument("--members", default=MEMBERS, help="comma-separated")
    parser.add_argument("--trials", type=int, default=3, help="of which the median counts")
    options = parser.parse_args()
    main(options.data, options.members.split(","), options.trials)
