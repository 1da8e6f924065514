"""The grid of a survey: classes x detectors x seeds x picture sizes, from YAML to cells.

preset: cpu
seeds: [0, 1, 2]
sizes: [256, [256, 384]]
classes: [../data/*]
detectors:
  patchcore: patchcore
  fused: {name: feature_ensemble, extractors: [patchcore, draem], combiner: global}
  published: {preset: paper, name: standalone, method: simplenet}
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ensemble_ad import __version__
from ensemble_ad.errors import ConfigError
from ensemble_ad.experiment import DEFAULTS, Experiment, check_keys, load_experiment, read_yaml
from ensemble_ad.methods import METHODS
from ensemble_ad.plain import plain
from ensemble_ad.store import key_of
from ensemble_ad.survey.classes import SurveyedClass, surveyed_classes

KEYS = ("preset", "seeds", "sizes", "quantile", "classes", "detectors", "tracking")
OWN_KEYS = ("preset", "oracle")
"""What an entry under `detectors` may say besides the component."""


@dataclass(frozen=True)
class Setting:
    """One detector at one seed and size, by the name that the grid gives it."""

    label: str
    experiment: Experiment
    oracle: bool
    """Whether its settings were chosen by looking at test pictures."""


@dataclass(frozen=True)
class Cell:
    """One setting on one class: a line of the survey."""

    surveyed: SurveyedClass
    setting: Setting

    @property
    def key(self) -> str:
        """32 hexadecimal digits of all that its numbers depend on: the pictures, the experiment, the version."""
        content = {"class": self.surveyed.name, "pictures": self.surveyed.fingerprint, "version": __version__}
        return key_of(content | {"experiment": self.setting.experiment.to_yaml()})

    @property
    def label(self) -> str:
        """Class, detector and seed, for people."""
        height, width = self.setting.experiment.size
        size = f"{height} px" if height == width else f"{height} x {width} px"
        return f"{self.surveyed.name}, {self.setting.label}, seed {self.setting.experiment.seed}, {size}"


def cells_of(path: Path, data: Sequence[Path] = (), preset: str | None = None) -> list[Cell]:
    """Return the cells of the grid in a YAML file, class by class.

    Args:
        path: the file; its classes are relative to it.
        data: class folders, or folders of them, in place of the file's classes.
        preset: in place of the file's; a detector's own preset stays.

    Raises:
        ConfigError: the grid cannot be run as written; names the file and the key.
        DataError: a folder of classes without any.
    """
    content = read_yaml(path)
    check_keys(content, KEYS, str(path))
    settings = _settings(content, preset, str(path))
    classes = surveyed_classes(data or _class_paths(content, path))
    return [Cell(surveyed, setting) for surveyed in classes for setting in settings]


def _class_paths(content: Mapping[str, Any], path: Path) -> list[Path]:
    patterns = content.get("classes")
    if not patterns:
        raise ConfigError(f"{path}: no classes; add `classes: [FOLDER, ...]`, or name folders with --data")
    patterns = _list_of(str, patterns, f"{path}: classes")
    found: list[Path] = []
    for pattern in patterns:
        matches = _matches(path.parent, pattern)
        if not matches:
            raise ConfigError(f"{path}: classes: nothing matches {pattern!r} (paths are relative to the file)")
        found += matches
    return found


def _matches(home: Path, pattern: str) -> list[Path]:
    """The folders that a path or glob names, relative to `home` unless absolute."""
    if not any(sign in pattern for sign in "*?["):
        return [home / pattern]
    whole = Path(pattern)
    start = Path(whole.anchor) if whole.is_absolute() else home
    rest = str(whole.relative_to(whole.anchor)) if whole.is_absolute() else pattern
    return sorted(match for match in start.glob(rest) if match.is_dir() and not match.name.startswith("."))


def _settings(content: Mapping[str, Any], preset: str | None, where: str) -> list[Setting]:
    entries = content.get("detectors")
    if not isinstance(entries, Mapping) or not entries:
        raise ConfigError(f"{where}: detectors: expected names with a detector each, got {entries!r}")
    seeds = _list_of(int, content.get("seeds", [DEFAULTS["seed"]]), f"{where}: seeds")
    sizes = content.get("sizes", [None])
    if not isinstance(sizes, list) or not sizes:
        raise ConfigError(f"{where}: sizes: expected a list such as [256, [256, 384]], got {sizes!r}")
    shared = {"preset": preset or content.get("preset", DEFAULTS["preset"])}
    shared |= {"quantile": content["quantile"]} if "quantile" in content else {}
    return [
        _setting(str(label), entry, shared | {"seed": seed} | ({} if size is None else {"size": size}), where)
        for label, entry in entries.items()
        for size in sizes
        for seed in seeds
    ]


def _setting(label: str, entry: Any, shared: Mapping[str, Any], where: str) -> Setting:
    where = f"{where}: detectors: {label}"
    own = {key: entry[key] for key in OWN_KEYS if key in entry} if isinstance(entry, Mapping) else {}
    oracle = own.pop("oracle", False)
    if not isinstance(oracle, bool):
        raise ConfigError(f"{where}: oracle: expected true or false, got {oracle!r}")
    content = {**shared, **own, "detector": _component(entry)}
    try:
        return Setting(label, load_experiment(content, where), oracle)
    except ConfigError as error:
        text = str(error)
        raise ConfigError(text if text.startswith(where) else f"{where}: {text}") from error


def _component(entry: Any) -> Any:
    """An entry without its own keys; an extractor's name stands for that method alone."""
    if not isinstance(entry, Mapping):
        return {"name": "standalone", "method": entry} if entry in METHODS else entry
    component = {key: value for key, value in entry.items() if key not in OWN_KEYS}
    return {"name": "standalone", "method": component} if component.get("name") in METHODS else component


def _list_of(kind: type, value: Any, key: str) -> list[Any]:
    entries = value if isinstance(value, list) else [value]
    wrong = [entry for entry in entries if not isinstance(entry, kind) or isinstance(entry, bool)]
    if wrong or not entries:
        name = {int: "whole numbers", str: "paths"}[kind]
        raise ConfigError(f"{key}: expected a list of {name}, got {value!r}")
    if len(set(entries)) < len(entries):
        raise ConfigError(f"{key}: expected different ones, got {value!r}")
    return plain(entries)
