"""What proposes trials, each from a random generator of its own, and what stops them early."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
from optuna import pruners, samplers
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from ensemble_ad.tuning.kept import place_of
from ensemble_ad.tuning.parameter import Choice, Parameter
from ensemble_ad.tuning.study_file import StudyFile
from ensemble_ad.tuning.trial import RUNGS


class OwnSeeds(samplers.BaseSampler):
    """A sampler for each trial, made when its number is known.

    A generator that lives through a study cannot be resumed: started again it would draw its first points a second
    time. One seeded by how many trials there are gives two workers that ask at the same moment the same point.
    """

    def __init__(self, make: Callable[[int], samplers.BaseSampler], place: Callable[[FrozenTrial], int]) -> None:
        """Draw each trial by `make(place(trial))`; `make` fails here and now where a package is missing."""
        self._make, self._place = make, place
        self._own = make(0)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Make the sampler of a trial that has just been created."""
        self._own = self._make(self._place(trial))
        self._own.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Ask the trial's sampler."""
        return self._own.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Ask the trial's sampler."""
        return self._own.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Ask the trial's sampler."""
        return self._own.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Tell the trial's sampler; those that learn keep it in the storage."""
        self._own.after_trial(study, trial, state, values)


def sampler_of(asked: StudyFile, kept: optuna.Study, *, baseline: bool) -> OwnSeeds:
    """Return what proposes the trials of a study that is `kept` in a storage, or those of its random baseline."""

    def make(place: int) -> samplers.BaseSampler:
        seed = np.random.SeedSequence([asked.seed, int(baseline), place]).generate_state(1)[0]
        return _sampler(asked, int(seed), baseline=baseline)

    return OwnSeeds(make, lambda trial: place_of(trial, kept))


def pruner_of(asked: StudyFile) -> pruners.BasePruner:
    """Return what stops the trials of a study early."""
    if asked.pruner == "median":
        return pruners.MedianPruner(n_startup_trials=4)
    if asked.pruner == "hyperband":
        return pruners.HyperbandPruner(1, RUNGS[-1] if len(asked.data) == 1 else len(asked.data), 3)
    return pruners.WilcoxonPruner() if asked.pruner == "wilcoxon" else pruners.NopPruner()


def suggested(trial: optuna.Trial, parameter: Parameter) -> Any:
    """Return the value of a parameter in a trial."""
    if isinstance(parameter, Choice):
        return trial.suggest_categorical(parameter.key, parameter.candidates())
    if parameter.whole:
        step = {} if parameter.step is None else {"step": int(parameter.step)}
        return trial.suggest_int(parameter.key, int(parameter.low), int(parameter.high), log=parameter.log, **step)
    return trial.suggest_float(parameter.key, parameter.low, parameter.high, log=parameter.log, step=parameter.step)


def _sampler(asked: StudyFile, seed: int, *, baseline: bool) -> samplers.BaseSampler:
    if baseline or asked.sampler in ("random", "grid"):
        return samplers.RandomSampler(seed=seed)
    if asked.sampler == "cmaes":
        return samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
    if asked.sampler == "nsga2":
        return samplers.NSGAIISampler(seed=seed, population_size=max(4, min(50, asked.trials // 4)))
    return samplers.TPESampler(seed=seed, n_startup_trials=max(3, min(10, asked.trials // 4)))
