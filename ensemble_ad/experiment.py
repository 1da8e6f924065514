"""An experiment: everything that its numbers depend on besides the data, as a frozen dataclass and as YAML.

    preset: cpu
    seed: 0
    detector:
      name: feature_ensemble
      extractors: [patchcore, {name: simplenet, epochs: 20}]
      combiner: global

Device, workers and paths are no part of it: they do not change the answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from ensemble_ad.build import did_you_mean
from ensemble_ad.errors import ConfigError
from ensemble_ad.key_path import put
from ensemble_ad.plain import plain

Preset = dict[str, Any]


@dataclass(frozen=True)
class Experiment:
    """Resolved: the preset's values are filled in, so that the YAML says everything."""

    preset: str
    """Where the values that nobody set came from; named in every table."""
    size: tuple[int, int]
    """(H, W) to which pictures are resized, never cropped."""
    seed: int
    """Given to every component that has a `seed` and does not set it."""
    quantile: float
    """Share of normal validation pictures below the threshold of a verdict, in (0, 1]."""
    detector: Mapping[str, Any]
    """The component to fit, by name and parameters, nested."""

    def to_yaml(self) -> str:
        """Return the text that `load_experiment` turns into an equal experiment."""
        content = {
            "preset": self.preset,
            "size": list(self.size),
            "seed": self.seed,
            "quantile": self.quantile,
            "detector": self.detector,
        }
        return yaml.safe_dump(plain(content), sort_keys=False, allow_unicode=True)


DEFAULT_MEMBERS = ["patchcore", "draem", "cs_flow", "simplenet"]
"""A memory of patches, a repairer, a flow and a discriminator: four different ideas of what is abnormal."""
DEFAULTS: dict[str, Any] = {
    "preset": "cpu",
    "seed": 0,
    "quantile": 0.99,
    "detector": {"name": "feature_ensemble", "extractors": DEFAULT_MEMBERS, "combiner": "global"},
}
KEYS = ("preset", "size", "seed", "quantile", "detector")


def preset_names() -> list[str]:
    """Return the presets in the package."""
    folder = resources.files("ensemble_ad") / "presets"
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_preset(name: str) -> Preset:
    """Return a preset by name, or from a YAML file's path; raises ConfigError when there is none."""
    if name.endswith((".yaml", ".yml")):
        return read_yaml(Path(name))
    if name not in preset_names():
        raise ConfigError(
            f"unknown preset {name!r}{did_you_mean(name, dict.fromkeys(preset_names()))}; there are "
            f"{', '.join(preset_names())}, or name a YAML file"
        )
    return plain(_packaged_preset(name))


@lru_cache
def _packaged_preset(name: str) -> Preset:
    content: Preset = yaml.safe_load((resources.files("ensemble_ad") / "presets" / f"{name}.yaml").read_text())
    return content


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file; ConfigError names the file and, for a syntax error, the line."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected keys and values, got {type(content).__name__}")
    return content


def with_settings(content: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Return `content` with `key.path=value` settings applied; see `key_path` for paths.

    >>> with_settings({"detector": "feature_ensemble"}, ["seed=3", "detector.combiner.components=32"])["seed"]
    3
    """
    result = plain(content)
    for setting in settings:
        path, separator, text = setting.partition("=")
        if not separator or not path:
            raise ConfigError(f"--set {setting!r}: expected key.path=value, for example seed=1")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {setting!r}: {text!r} is not valid YAML") from error
        put(result, path, value, f"--set {setting!r}")
    return result


def check_keys(content: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """Raise ConfigError for the first key that is not among `known`."""
    for key in content:
        if key not in known:
            hint = did_you_mean(str(key), dict.fromkeys(known))
            raise ConfigError(f"{where}: unknown key {key!r}{hint}; it takes {', '.join(known)}")


def load_experiment(content: Mapping[str, Any], where: str = "experiment") -> Experiment:
    """Return the resolved experiment of a mapping such as a YAML file holds; raises ConfigError.

    >>> load_experiment({"seed": 2}).detector["extractors"][0]["name"]
    'patchcore'
    """
    from ensemble_ad.schema import resolve_detector  # torch comes with it

    check_keys(content, KEYS, where)
    merged = {**DEFAULTS, **content}
    preset = load_preset(str(merged["preset"]))
    size = merged.get("size", preset.get("size"))
    seed = _number(merged["seed"], int, 0, 2**31 - 1, f"{where}: seed")
    return Experiment(
        preset=str(merged["preset"]),
        size=_size(size, where),
        seed=seed,
        quantile=_number(merged["quantile"], float, 0.0, 1.0, f"{where}: quantile"),
        detector=resolve_detector(merged["detector"], preset.get("components", {}), seed),
    )


def _size(size: Any, where: str) -> tuple[int, int]:
    pair = [size, size] if isinstance(size, int) else size
    if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(isinstance(n, int) and n >= 32 for n in pair):
        raise ConfigError(f"{where}: size: expected [height, width] in pixels, each at least 32, got {size!r}")
    return pair[0], pair[1]


def _number(value: Any, kind: type, low: float, high: float, key: str) -> Any:
    allowed = (int,) if kind is int else (int, float)
    if isinstance(value, bool) or not isinstance(value, allowed) or not low <= value <= high:
        raise ConfigError(f"{key}: expected a number from {low} to {high}, got {value!r}")
    return kind(value)
