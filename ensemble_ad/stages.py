"""fit extractor -> extract features -> fit head -> predict: each a stage of the store, skipped when it is there.

An extractor is fitted once per class and setting, and its features are extracted once per split, whatever ensembles it
is part of. A detector's prediction of a split is made once, too, whatever output ensembles it is a member of. What a
stage depends on is written down in its key: the component, the pictures, the size, the weights.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from safetensors.torch import load_file
from torch import Tensor

from combiners import FEATURE_COMBINERS
from data_loco import ClassFolder, Sample
from data_loco.loading import Pictures
from ensemble_ad import output_stages
from ensemble_ad.batches import FeatureFiles, Together, TrackedPictures
from ensemble_ad.build import make
from ensemble_ad.detectors import Detector, FeatureEnsemble, Standalone
from ensemble_ad.edited import edited_pictures
from ensemble_ad.errors import naming
from ensemble_ad.labels import label_of
from ensemble_ad.methods import METHODS
from ensemble_ad.persistence import save_state
from ensemble_ad.prediction import Prediction, joined
from ensemble_ad.progress import Progress, Silent, tracked
from ensemble_ad.schema import DISCRIMINATORS
from ensemble_ad.store import Entry, Store
from ensemble_ad.tensor_file import write_tensors
from extractors.backbone import backbone_of, sharing
from extractors.protocol import Method
from extractors.training import Journal, journal

Description = Mapping[str, Any]
"""A resolved component: name and every parameter."""


@dataclass
class Stages:
    """The stages of one class at one picture size."""

    folder: ClassFolder
    size: tuple[int, int]
    """(H, W)."""
    store: Store
    progress: Progress = field(default_factory=Silent)

    def detector(self, description: Description) -> Detector:
        """Return the fitted detector of a resolved description."""
        if description["name"] == "standalone":
            return Standalone(self.method(description["method"]))
        if description["name"] == "output_ensemble":
            members = [self.detector(member) for member in description["detectors"]]
            return output_stages.with_rules(self, description, members)
        if description["name"] == "map_descriptors":
            return output_stages.with_descriptors(self, description, self.detector(description["detector"]))
        return self._with_head(description)

    def prediction(self, description: Description, split: str) -> Prediction:
        """Return what the fitted detector says about a split: `train`, `validation` or `test`."""
        depends_on = {"detector": self.identity(description), "pictures": self.fingerprint(split), "size": self.size}

        def predict(folder: Path) -> None:
            backbones = [backbone_of(entry) for entry in extractors_of(description)]
            with naming(label_of(description)), sharing(backbones):
                joined(list(self._predict(description, split))).save(folder)

        entry = self.store.stage("predict", depends_on, predict, f"{label_of(description)} on {split}")
        return Prediction.load(entry.folder)

    def method(self, description: Description) -> Method:
        """Return one fitted extractor."""
        entry = self._fitted(description)
        method: Method = make(METHODS, description)
        return method.restore(load_file(entry.folder / "state.safetensors"))

    def features(self, description: Description, split: str) -> FeatureFiles:
        """Return one fitted extractor's features of a split, read from disk batch by batch."""
        depends_on = {"extractor": self._extractor_identity(description), "pictures": self.fingerprint(split)}

        def extract(folder: Path) -> None:
            method = self.method(description)
            batches = self._tracked(split, f"features of {description['name']}, {split}")
            with naming(description["name"]):
                for number, images in enumerate(batches):
                    write_tensors(folder / f"{number:05d}.safetensors", {"features": method.features(images)})

        entry = self.store.stage("features", depends_on, extract, f"{description['name']} on {split}")
        return FeatureFiles(entry.folder)

    def synthetic(
        self,
        kinds: Sequence[str] | None = None,
        count: int = 60,
        seed: int = 0,
        source: Literal["validation", "train"] = "validation",
    ) -> ClassFolder:
        """Return this class with anomalies made from its normal pictures as its test split; see `synthesise`."""
        from ensemble_ad.synthesis import open_synthetic, synthesise

        pictures = {split: self.fingerprint(split) for split in ("train", "validation")}
        how = {"kinds": kinds, "count": count, "seed": seed, "source": source}

        def write(folder: Path) -> None:
            out = folder / "pictures"
            synthesise(self.folder, out, kinds=kinds, count=count, seed=seed, source=source, progress=self.progress)

        entry = self.store.stage("synthetic", {"pictures": pictures, **how}, write, f"from {source}")
        return open_synthetic(self.folder, entry.folder / "pictures")

    def plan(self, description: Description) -> list[tuple[str, bool]]:
        """Return the stages that `prediction` would go through, and whether each is there already."""
        steps = []
        for member in members_in(description):
            steps += [step for step in self.plan(member) if step not in steps]
        if description["name"] == "output_ensemble":
            key = output_stages.rules_key(self, description)
            steps.append((f"fit the rules of {label_of(description)}", self.store.has("rules", key)))
            return [*steps, self._plan_prediction(description)]
        if description["name"] == "map_descriptors":
            key = output_stages.descriptors_key(self, description)
            steps.append((f"fit {label_of(description)}", self.store.has("descriptors", key)))
            return [*steps, self._plan_prediction(description)]
        for extractor in extractors_of(description):
            steps.append((f"fit {extractor['name']}", self.store.has("fit", self._fit_key(extractor))))
        if description["name"] == "feature_ensemble":
            for extractor in extractors_of(description):
                key = {"extractor": self._extractor_identity(extractor), "pictures": self.fingerprint("train")}
                steps.append((f"features {extractor['name']} on train", self.store.has("features", key)))
            steps.append(("fit the head", self.store.has("head", self._head_key(description))))
        return [*steps, self._plan_prediction(description)]

    def _plan_prediction(self, description: Description) -> tuple[str, bool]:
        depends_on = {"detector": self.identity(description), "pictures": self.fingerprint("test"), "size": self.size}
        return f"predict {label_of(description)} on test", self.store.has("predict", depends_on)

    def identity(self, description: Description) -> dict[str, Any]:
        """Return all that a detector's predictions depend on: parameters, weights, pictures learned from, size."""
        if description["name"] == "output_ensemble":
            return {"description": dict(description), "rules": output_stages.rules_key(self, description)}
        if description["name"] == "map_descriptors":
            return {"description": dict(description), "rules": output_stages.descriptors_key(self, description)}
        identities = [self._extractor_identity(entry) for entry in extractors_of(description)]
        return {"description": dict(description), "extractors": identities}

    def _with_head(self, description: Description) -> FeatureEnsemble:
        depends_on = self._head_key(description)
        extractors = [self.method(entry) for entry in description["extractors"]]
        combiner = make(FEATURE_COMBINERS, description["combiner"])
        discriminator = make(DISCRIMINATORS, description["discriminator"])
        options = {key: description[key] for key in ("sigma", "image_score")}
        ensemble = FeatureEnsemble(extractors, combiner, discriminator, **options)

        def fit_head(folder: Path) -> None:
            with naming(f"head of {label_of(description)}"), self._journal("head", depends_on):
                features = Together([self.features(entry, "train") for entry in description["extractors"]])
                ensemble.fit_head(features, edited_pictures(self, description))
            save_state(combiner, folder / "combiner.safetensors")
            save_state(discriminator, folder / "discriminator.safetensors")

        folder = self.store.stage("head", depends_on, fit_head, label_of(description)).folder
        combiner.restore(load_file(folder / "combiner.safetensors"))
        discriminator.restore(load_file(folder / "discriminator.safetensors"))
        return ensemble

    def _predict(self, description: Description, split: str) -> Iterator[Prediction]:
        if description["name"] == "output_ensemble":
            yield from output_stages.predict(self, description, split)
            return
        if description["name"] == "map_descriptors":
            member = self.prediction(description["detector"], split)
            yield output_stages.with_descriptors(self, description, None).judge(member)
            return
        detector = self.detector(description)
        if isinstance(detector, FeatureEnsemble):
            together = Together([self.features(entry, split) for entry in description["extractors"]])
            for features in tracked(together, f"scores, {split}", self.progress, len(together)):
                yield detector.judge(features, self.size)
        else:
            for images in self._tracked(split, f"scores of {label_of(description)}, {split}"):
                yield detector.predict(images)

    def _fitted(self, description: Description) -> Entry:
        depends_on = self._fit_key(description)

        def fit(folder: Path) -> None:
            method: Method = make(METHODS, description)
            with naming(description["name"]), self._journal("fit", depends_on):
                method.fit(TrackedPictures(self._pictures("train"), f"fit {description['name']}", self.progress))
            save_state(method, folder / "state.safetensors")

        return self.store.stage("fit", depends_on, fit, description["name"])

    def _journal(self, stage: str, depends_on: Mapping[str, Any]) -> "_Journaled":
        return _Journaled(self.store.checkpoints(stage, depends_on), self.progress)

    def _fit_key(self, description: Description) -> dict[str, Any]:
        afterwards = getattr(METHODS[description["name"]], "AFTER_FIT", ())
        component = {key: value for key, value in description.items() if key not in afterwards}
        return {
            "component": component,
            "weights": _weights(description),
            "pictures": self.fingerprint("train"),
            "size": self.size,
        }

    def _extractor_identity(self, description: Description) -> dict[str, Any]:
        return {"fit": self._fit_key(description), "component": dict(description)}

    def _head_key(self, description: Description) -> dict[str, Any]:
        return {
            "extractors": [self._extractor_identity(entry) for entry in description["extractors"]],
            "combiner": description["combiner"],
            "discriminator": description["discriminator"],
        }

    def _pictures(self, split: str) -> Pictures:
        return Pictures(self._samples(split), self.size)

    def _tracked(self, split: str, task: str) -> Iterator[Tensor]:
        pictures = self._pictures(split)
        return tracked(pictures, task, self.progress, len(pictures))

    def _samples(self, split: str) -> tuple[Sample, ...]:
        return {"train": self.folder.train, "validation": self.folder.validation, "test": self.folder.test}[split]

    def fingerprint(self, split: str) -> str:
        """Return what names the pictures of a split by their content."""
        return self._fingerprints[split]

    @cached_property
    def _fingerprints(self) -> dict[str, str]:
        """Of each split's pictures, without the masks: they do not change a prediction."""
        empty: dict[str, Any] = {"train": (), "validation": (), "test": (), "defect_kinds": {}}
        splits = {}
        for split in ("train", "validation", "test"):
            samples = tuple(replace(sample, mask_paths=()) for sample in self._samples(split))
            splits[split] = replace(self.folder, **{**empty, split: samples}).fingerprint()
        return splits


def members_in(description: Description) -> list[Description]:
    """Return the detectors that a detector judges by; none for one that judges pictures itself.

    >>> members_in({"name": "map_descriptors", "detector": {"name": "standalone"}})
    [{'name': 'standalone'}]
    """
    if description["name"] == "map_descriptors":
        return [description["detector"]]
    return list(description.get("detectors", ()))


def extractors_of(description: Description) -> list[Description]:
    """Return the extractors that a detector consists of, those of nested members too."""
    if members := members_in(description):
        return [extractor for member in members for extractor in extractors_of(member)]
    return [description["method"]] if description["name"] == "standalone" else list(description["extractors"])


class _Journaled:
    """Checkpoints and progress of the trainings inside a `with` block; the checkpoint goes when the block succeeds."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self.folder, self.progress = folder, progress

    def __enter__(self) -> None:
        def report(name: str, done: int, epochs: int, loss: float) -> None:
            self.progress.update(f"train {name}", done, epochs, f"loss {loss:.4g}")

        self.context = journal(Journal(self.folder, report))
        self.context.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self.context.__exit__(kind, error, trace)
        if error is None and self.folder.exists():
            shutil.rmtree(self.folder)


def _weights(description: Description) -> str | None:
    backbone = backbone_of(description)
    return None if backbone is None else backbone.identity
