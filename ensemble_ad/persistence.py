"""A fitted detector as one folder: the experiment as YAML, everything learned as safetensors, and nothing else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ensemble_ad.detectors import DescribedMaps, Detector, FeatureEnsemble, OutputEnsemble, Standalone
from ensemble_ad.errors import ConfigError
from ensemble_ad.experiment import Experiment, load_experiment, read_yaml
from ensemble_ad.schema import build_detector
from ensemble_ad.tensor_file import write_tensors


class Learned(Protocol):
    """An extractor, a combiner or a discriminator."""

    def state(self) -> dict[str, Tensor]:
        """All that was learned, as named tensors."""
        ...

    def restore(self, state: Mapping[str, Tensor]) -> Any:
        """Take it back."""
        ...


class Saved(NamedTuple):
    """What a model folder holds."""

    experiment: Experiment
    detector: Detector
    threshold: float
    """Above it a picture is anomalous."""
    scale: tuple[float, float]
    """Map scores shown as dark and as bright: `report.normal_scale` of the validation maps."""


def save_detector(folder: Path, saved: Saved) -> Path:
    """Write a fitted detector into the new folder `folder`."""
    folder.mkdir(parents=True)
    (folder / "experiment.yaml").write_text(saved.experiment.to_yaml())
    verdict = {"threshold": saved.threshold, "scale": list(saved.scale)}
    (folder / "verdict.yaml").write_text(yaml.safe_dump(verdict))
    for name, part in parts_of(saved.detector).items():
        save_state(part, folder / f"{name}.safetensors")
    return folder


def load_detector(folder: Path) -> Saved:
    """Read what `save_detector` wrote; raises ConfigError when the folder is not one, or is damaged."""
    if not (folder / "experiment.yaml").is_file():
        raise ConfigError(f"{folder}: expected a run folder or its model folder, with experiment.yaml; found none")
    experiment = load_experiment(read_yaml(folder / "experiment.yaml"), str(folder / "experiment.yaml"))
    detector = build_detector(experiment.detector)
    for name, part in parts_of(detector).items():
        path = folder / f"{name}.safetensors"
        try:
            part.restore(load_file(path))
        except (OSError, SafetensorError, KeyError, RuntimeError, ValueError) as error:
            raise ConfigError(f"{path}: cannot be restored ({str(error)[:200]}); run the experiment again") from error
    return Saved(experiment, detector, *_verdict(folder / "verdict.yaml"))


def _verdict(path: Path) -> tuple[float, tuple[float, float]]:
    verdict = read_yaml(path)
    try:
        low, high = verdict["scale"]
        return float(verdict["threshold"]), (float(low), float(high))
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: expected threshold and scale, got {verdict}; run the experiment again") from error


def save_state(part: Learned, path: Path) -> None:
    """Write what a component learned."""
    write_tensors(path, part.state())


def parts_of(detector: Detector) -> dict[str, Learned]:
    """Return everything in a detector that learns, by file name."""
    if isinstance(detector, Standalone):
        return {"method": detector.method}
    if isinstance(detector, FeatureEnsemble):
        members = {f"extractor{number}": member for number, member in enumerate(detector.extractors)}
        return members | {"combiner": detector.combiner, "discriminator": detector.discriminator}
    if isinstance(detector, DescribedMaps):
        member = {f"detector.{name}": part for name, part in parts_of(detector.detector).items()}
        return member | {"descriptors": detector.descriptors_}
    if isinstance(detector, OutputEnsemble):
        nested = {
            f"detector{number}.{name}": part
            for number, member in enumerate(detector.detectors)
            for name, part in parts_of(member).items()
        }
        return nested | {"maps": detector.maps_, "scores": detector.scores_}
    raise TypeError(f"expected a detector of this package, got {type(detector).__name__}")
