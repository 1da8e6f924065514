"""A study as a YAML file: what is searched, on which classes, by which objective and with which budget.

    data: [../data/screw_rack]                          # class folders, relative to the file
    experiment: {preset: cpu, detector: {...}}          # the hand-made default, as for `ensemble-ad run`
    space: {detector.sigma: {low: 0.0, high: 8.0}, ...} # see `space`

and any of the `Settings`, by their names. `tracking`, as in an experiment, says where trials are mirrored; it is no
part of the study.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from ensemble_ad.build import checked, parameter_defaults
from ensemble_ad.errors import ConfigError
from ensemble_ad.experiment import check_keys, read_yaml
from ensemble_ad.plain import plain
from ensemble_ad.store import key_of
from ensemble_ad.synthesis import KINDS
from ensemble_ad.synthesis.kinds import chosen_kinds
from ensemble_ad.tuning.measures import LOW_IS_GOOD, Limited, Measure
from ensemble_ad.tuning.space import Space, parse_space

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class Proxy:
    """The synthetic anomalies that stand for a test split."""

    count: Count = 60
    """Anomalous pictures."""
    seed: Seed = 1000
    """Draws them; not an experiment's, so that no stacker has learned from the same ones."""
    kinds: tuple[str, ...] = KINDS
    """Of anomalies; see `ensemble-ad data synthesise --help`."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a study file may say besides its classes, its default and its space."""

    name: str = ""
    """Of the study in its storage; empty is the file's name."""
    objective: Literal["proxy", "oracle"] = "proxy"
    """What trials are judged on: synthetic anomalies made from normal validation pictures, or the test labels."""
    optimise: tuple[Measure, ...] = ("quality",)
    """One measure, or several; figures show the first."""
    constraints: Mapping[Limited, Positive] = field(default_factory=dict)
    """Largest value of a measure that the result may have."""
    proxy: Proxy = field(default_factory=Proxy)
    """The synthetic anomalies."""
    trials: Count = 50
    """Trials to evaluate; combinations that cannot be built do not count."""
    sampler: Literal["tpe", "random", "grid", "cmaes", "nsga2"] | None = None
    """What proposes trials; None is tpe for one measure, nsga2 for several."""
    pruner: Literal["none", "median", "hyperband", "wilcoxon"] = "none"
    """What stops bad trials early: class by class, or for a single class after parts of the head's epochs."""
    seed: Seed = 0
    """Of the search."""
    baseline: Literal["random", "none"] = "random"
    """A search with the same budget that the gain is measured against."""
    storage: str | None = None
    """An Optuna URL such as postgresql://HOST/NAME; None is a journal file in the study's folder."""
    check_on_test: bool = True
    """Score the finished trials on the test split when the study is over, to see how well the proxy ranks."""


@dataclass(frozen=True, kw_only=True)
class StudyFile(Settings):
    """A study, checked; plain values that travel to other processes."""

    where: str
    """The file."""
    data: tuple[str, ...]
    """Class folders, absolute."""
    space: Space

    @property
    def title(self) -> str:
        """The name, and whether the test labels are the judge."""
        return f"{self.name}-oracle" if self.objective == "oracle" else self.name

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Every measure that a trial takes."""
        return tuple(dict.fromkeys((*self.optimise, *self.constraints)))

    @property
    def low_is_good(self) -> tuple[bool, ...]:
        """For each of `optimise`."""
        return tuple(name in LOW_IS_GOOD for name in self.optimise)

    def identity(self, fingerprints: Sequence[str]) -> str:
        """Return 32 hexadecimal digits of what makes trials comparable: space, default, objective, pictures."""
        content = {
            "experiment": self.space.content,
            "space": [vars(parameter) for parameter in self.space.parameters],
            "objective": [self.objective, self.optimise, self.constraints],
            "proxy": vars(self.proxy) if self.objective == "proxy" else None,
            "pictures": list(fingerprints),
        }
        return key_of(content)


def load_study(path: Path, data: Sequence[Path] = (), **changes: Any) -> StudyFile:
    """Return the study in a YAML file; `data` replaces its classes, `changes` its settings where they are not None.

    Raises ConfigError, naming file and key, before anything is computed.
    """
    content = read_yaml(path)
    check_keys(content, ("data", "experiment", "space", "tracking", *parameter_defaults(Settings)), str(path))
    content.pop("tracking", None)
    content |= {key: value for key, value in changes.items() if value is not None}
    folders = [str(folder.resolve()) for folder in data] or _folders(content.pop("data", None), path)
    entries, experiment = content.pop("space", None), content.pop("experiment", None) or {}
    if not isinstance(experiment, Mapping):
        raise ConfigError(f"{path}: experiment: expected keys and values, got {experiment!r}")
    settings = _settings(content, path)
    space = parse_space(entries, experiment, str(path))
    return _fitting(StudyFile(**settings, where=str(path), data=tuple(folders), space=space))


def _folders(given: Any, path: Path) -> list[str]:
    folders = given if isinstance(given, list) else [given]
    if not folders or not all(isinstance(folder, str) for folder in folders):
        raise ConfigError(f"{path}: data: expected class folders, got {given!r}; or name them with --data")
    return [str((path.parent / folder).resolve()) for folder in folders]


def _settings(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    given = {"name": path.stem, **content}
    if isinstance(given.get("optimise"), str):
        given["optimise"] = [given["optimise"]]
    if given.get("pruner", "none") is None:
        given["pruner"] = "none"
    try:
        if "proxy" in given:
            given["proxy"] = _proxy(given["proxy"])
        return checked(Settings, given)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _proxy(given: Any) -> Proxy:
    if not isinstance(given, Mapping):
        raise ConfigError(f"proxy: expected keys and values, got {given!r}")
    values = checked(Proxy, plain(given))
    return Proxy(**values | ({"kinds": chosen_kinds(values["kinds"])} if "kinds" in values else {}))


def _fitting(study: StudyFile) -> StudyFile:
    """The study with sampler, baseline and budget decided; raises ConfigError where settings do not go together."""
    several = len(study.optimise) > 1
    if several and study.pruner != "none":
        raise ConfigError(f"{study.where}: pruner: {study.pruner} needs one measure to optimise")
    if several and study.sampler == "cmaes":
        raise ConfigError(f"{study.where}: sampler: cmaes needs one measure to optimise; nsga2 and tpe take several")
    if study.pruner == "wilcoxon" and len(study.data) < 2:
        raise ConfigError(f"{study.where}: pruner: wilcoxon compares class by class; name several classes")
    sampler = study.sampler or ("nsga2" if several else "tpe")
    if sampler == "grid":
        points = sum(1 for _ in islice(study.space.points(), study.trials + 1))
        if points > study.trials:
            raise ConfigError(f"{study.where}: sampler: the grid has more than {study.trials} points; raise `trials`")
        study = replace(study, trials=points)
    return replace(study, sampler=sampler, baseline="none" if sampler in ("grid", "random") else study.baseline)
