"""The rules of an output ensemble as a stage: learned once, from predictions that the store keeps."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file

from combiners import OUTPUT_COMBINERS
from combiners.protocol import Stacker
from ensemble_ad.build import make
from ensemble_ad.coverage import covered
from ensemble_ad.detectors import DescribedMaps, Detector, OutputEnsemble, folds_of
from ensemble_ad.errors import naming
from ensemble_ad.labels import label_of
from ensemble_ad.output_samples import Labelled
from ensemble_ad.persistence import save_state
from ensemble_ad.prediction import Prediction, joined
from ensemble_ad.progress import tracked
from ensemble_ad.schema import build_detector

if TYPE_CHECKING:
    from ensemble_ad.stages import Stages

Description = Mapping[str, Any]

KINDS = ("perlin", "cutpaste")
"""Synthetic anomalies that stackers learn from."""
COUNT = 60
"""Of them, on all folds together."""
RULES = ("combiner", "score_combiner", "calibration", "score_calibration", "folds")
"""Parameters of an output ensemble that say how it combines."""
BATCH = 8
"""Pictures whose maps are combined at once."""


def rules_key(stages: "Stages", description: Description) -> dict[str, Any]:
    """Return what the rules depend on: the members, the normal pictures, and the synthetic ones where there are any."""
    key = {name: description[name] for name in RULES}
    key["members"] = [stages.identity(member) for member in description["detectors"]]
    key["normal"] = stages.fingerprint("validation" if description["folds"] is None else "train")
    rules = [make(OUTPUT_COMBINERS, description[name]) for name in ("combiner", "score_combiner")]
    return key | ({"kinds": KINDS, "count": COUNT} if any(isinstance(rule, Stacker) for rule in rules) else {})


def with_rules(stages: "Stages", description: Description, members: Sequence[Detector]) -> OutputEnsemble:
    """Return the output ensemble of fitted `members` (none, where it only fuses) with its rules learned."""
    ensemble: OutputEnsemble = replace(build_detector(description), detectors=members)

    def fit_rules(folder: Path) -> None:
        with naming(label_of(description)):
            views = _views(stages, description["folds"])
            said = [
                joined([view.prediction(member, "validation") for view in views]) for member in description["detectors"]
            ]
            ensemble.fit_rules(said, lambda seed: _on_anomalies(views, description["detectors"], seed))
        save_state(ensemble.maps_, folder / "maps.safetensors")
        save_state(ensemble.scores_, folder / "scores.safetensors")

    entry = stages.store.stage("rules", rules_key(stages, description), fit_rules, label_of(description))
    ensemble.maps_.restore(load_file(entry.folder / "maps.safetensors"))
    ensemble.scores_.restore(load_file(entry.folder / "scores.safetensors"))
    return ensemble


def descriptors_key(stages: "Stages", description: Description) -> dict[str, Any]:
    """Return what map descriptors depend on: the member, the normal pictures and the parameters."""
    key = {name: description[name] for name in ("top", "quantile")}
    return key | {"members": [stages.identity(description["detector"])], "normal": stages.fingerprint("validation")}


def with_descriptors(stages: "Stages", description: Description, member: Detector | None) -> DescribedMaps:
    """Return map descriptors of a fitted `member` (None, where stored predictions are judged), learned."""
    unfitted: DescribedMaps = build_detector(description)
    detector = unfitted if member is None else replace(unfitted, detector=member)

    def fit(folder: Path) -> None:
        with naming(label_of(description)):
            if not stages.folder.validation:
                raise ValueError("expected normal validation pictures to learn map descriptors from, got none")
            detector.descriptors_.fit(stages.prediction(description["detector"], "validation").maps)
        save_state(detector.descriptors_, folder / "descriptors.safetensors")

    key = descriptors_key(stages, description)
    folder = stages.store.stage("descriptors", key, fit, label_of(description)).folder
    detector.descriptors_.restore(load_file(folder / "descriptors.safetensors"))
    return detector


def predict(stages: "Stages", description: Description, split: str) -> Iterator[Prediction]:
    """Yield what the ensemble says about a split, batch by batch, from what its members say."""
    members = [stages.prediction(member, split) for member in description["detectors"]]
    ensemble = with_rules(stages, description, ())
    starts = range(0, len(members[0].scores), BATCH)
    for start in tracked(starts, f"combine outputs, {split}", stages.progress, len(starts)):
        rows = slice(start, start + BATCH)
        yield ensemble.fuse([Prediction(member.scores[rows], member.maps[rows]) for member in members])


def _views(stages: "Stages", folds: int | None) -> list["Stages"]:
    """The class itself; or for each fold its training pictures, split into those to fit on and those to judge."""
    if folds is None:
        if not stages.folder.validation:
            raise ValueError("expected normal validation pictures to calibrate on, got none; set folds")
        return [stages]
    train = stages.folder.train
    views = []
    for numbers in folds_of(len(train), folds):
        rest, part = (tuple(train[number] for number in some) for some in numbers)
        views.append(replace(stages, folder=replace(stages.folder, train=rest, validation=part)))
    return views


def _on_anomalies(views: Sequence["Stages"], members: Sequence[Description], seed: int) -> Labelled:
    """What members say about synthetic anomalies on normal pictures that they were not fitted on."""
    said: list[list[Prediction]] = [[] for _ in members]
    masks = []
    for view in views:
        made = replace(view, folder=view.synthetic(KINDS, -(-COUNT // len(views)), seed))
        masks.append(covered(made.folder.test, view.size, 0.5))
        for parts, member in zip(said, members):
            parts.append(made.prediction(member, "test"))
    return Labelled([joined(parts) for parts in said], torch.cat(masks))
