"""Question  Which anomalies does a patch method pass that members that know the whole picture catch, and why?

Command   python studies/catches.py CLASS_DIR FIGURE.png [--cache out/cache]
Cost      nothing beyond `ensemble-ad run studies/10_logic.yaml --data CLASS_DIR`, which leaves all of it in the cache
Expected  missing and additional parts and pairs that do not match; nothing that happens inside a part

Both verdicts come from thresholds on normal validation pictures (their 99 % quantile). Pictures are in the order of how
far the ensemble's score is above its threshold, one per defect kind first.
"""

import argparse
import textwrap
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from data_loco import GOOD, Sample, open_class
from data_loco.loading import Pictures, to_size
from ensemble_ad.experiment import Experiment, load_experiment, read_yaml
from ensemble_ad.explaining import explained
from ensemble_ad.prediction import Prediction
from ensemble_ad.report import normal_scale, overlay
from ensemble_ad.stages import Stages
from ensemble_ad.store import Store
from ensemble_ad.verdict import threshold_of

ENSEMBLE = Path(__file__).with_name("10_logic.yaml")
ROWS = 5


@dataclass(frozen=True)
class Judge:
    """What one detector says about validation and test pictures."""

    validation: Prediction
    test: Prediction
    quantile: float

    @property
    def above(self) -> np.ndarray:
        """Float [N]: how far each test score is above the threshold."""
        return self.test.scores.numpy() - threshold_of(self.validation.scores, self.quantile)

    def drawn(self, position: int, image: np.ndarray) -> np.ndarray:
        """The map over a picture, on the scale of the normal ones."""
        return overlay(image, self.test.maps[position].numpy(), *normal_scale(self.validation.maps.numpy()))


def judge(stages: Stages, experiment: Experiment) -> Judge:
    """Fit what is not fitted yet, and predict."""
    validation, test = (stages.prediction(experiment.detector, split) for split in ("validation", "test"))
    return Judge(validation, test, experiment.quantile)


def caught(samples: tuple[Sample, ...], patches: Judge, ensemble: Judge) -> list[int]:
    """Positions of the anomalies that only the ensemble calls anomalous; a second of a kind comes after all firsts."""
    found = [
        place
        for place, sample in enumerate(samples)
        if sample.kind != GOOD and patches.above[place] <= 0 < ensemble.above[place]
    ]
    found.sort(key=lambda place: -ensemble.above[place])
    kinds = [tuple(defect.name for defect in samples[place].defects()) for place in found]
    turns = [kinds[:number].count(kind) for number, kind in enumerate(kinds)]
    return [place for _, place in sorted(zip(turns, found), key=lambda pair: pair[0])]


def draw(stages: Stages, places: list[int], patches: Judge, ensemble: Judge, sentences: dict[int, list[str]]) -> Figure:
    """Rows of picture, ground truth, both maps, and the explanation."""
    figure, rows = plt.subplots(
        len(places),
        5,
        figsize=(11, 2.1 * len(places)),
        squeeze=False,
        width_ratios=[1, 1, 1, 1, 1.4],
        layout="constrained",
    )
    for title, axes in zip(("picture", "defect", "PatchCore", "ensemble", "explanation"), rows[0]):
        axes.set_title(title, fontsize=10)
    for place, axes in zip(places, rows):
        sample = stages.folder.test[place]
        image = to_size(sample.image(), stages.size)
        defects = sample.defects()
        truth = to_size(np.logical_or.reduce([defect.mask for defect in defects]).astype(np.uint8) * 255, stages.size)
        for axis, shown in zip(axes, (image, truth, patches.drawn(place, image), ensemble.drawn(place, image))):
            axis.imshow(shown, cmap="gray")
        axes[0].set_xlabel(", ".join(sorted({defect.name for defect in defects})), fontsize=8)
        said = "\n".join(textwrap.fill(sentence, 38) for sentence in sentences[place][:3]) or "(no sentence)"
        axes[4].text(0, 1, said, fontsize=8, va="top", transform=axes[4].transAxes)
        for axis in axes:
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
    return figure


def main() -> None:
    """Print how many there are, and draw some."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("figure", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("out/cache"))
    arguments = parser.parse_args()
    whole = load_experiment(read_yaml(ENSEMBLE))
    alone = load_experiment({"preset": whole.preset, "detector": {"name": "standalone", "method": "patchcore"}})
    stages = Stages(open_class(arguments.data), whole.size, Store(arguments.cache))
    patches, ensemble = judge(stages, alone), judge(stages, whole)
    places = caught(stages.folder.test, patches, ensemble)
    anomalies = [place for place, sample in enumerate(stages.folder.test) if sample.kind != GOOD]
    normal = [place for place in range(len(stages.folder.test)) if place not in anomalies]
    for name, one in (("PatchCore", patches), ("ensemble", ensemble)):
        missed, alarms = (one.above[anomalies] <= 0).sum(), (one.above[normal] > 0).sum()
        print(f"{name}: misses {missed} of {len(anomalies)} anomalies, {alarms} false alarms on {len(normal)} pictures")
    print(f"caught by the ensemble alone: {len(places)}")
    if not places:
        return
    chosen = places[:ROWS]
    detector = stages.detector(whole.detector)
    pictures = [next(iter(Pictures([stages.folder.test[place]], stages.size))) for place in chosen]
    sentences = {place: explained(detector, picture)[0] for place, picture in zip(chosen, pictures)}
    draw(stages, chosen, patches, ensemble, sentences).savefig(arguments.figure, dpi=80)


if __name__ == "__main__":
    main()
