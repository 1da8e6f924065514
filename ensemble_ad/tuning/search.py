"""The search itself: begin a study in a storage, do its trials one by one, read what became of them.

optuna is imported when a search is reached, not with this file.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ensemble_ad.errors import ConfigError, StoreError, is_expected
from ensemble_ad.tracking.place import without_password
from ensemble_ad.tuning.owner import this_process
from ensemble_ad.tuning.space import Point
from ensemble_ad.tuning.study_file import StudyFile
from ensemble_ad.tuning.trial import RejectedError, Report
from ensemble_ad.tuning.trials import Trial

if TYPE_CHECKING:
    import optuna

ENOUGH = 4
"""Finished trials below which nobody can say which parameter mattered."""
BASELINE = "-random"
"""Ending of the name of the study that a search is compared with."""

Evaluate = Callable[[Point, Report], dict[str, float]]


@dataclass(frozen=True)
class Search:
    """One search in a storage; plain values."""

    study: StudyFile
    storage: str
    """An Optuna URL, or the path of a journal file."""
    baseline: bool = False
    """Whether this is the random search that the study is compared with."""

    @property
    def name(self) -> str:
        """Of the study in the storage."""
        return f"{self.study.title}{BASELINE if self.baseline else ''}"

    @property
    def place(self) -> str:
        """The storage, without the name and the password that it may carry."""
        return without_password(self.storage)


def begin(search: Search, identity: str) -> None:
    """Create the study, its first trials queued, or make sure that the one there is the same; raises ConfigError."""
    import optuna

    from ensemble_ad.tuning.storage import reached

    with reached(search.storage, search.study.where) as storage:
        kinds = optuna.study.StudyDirection
        directions = [kinds.MINIMIZE if low else kinds.MAXIMIZE for low in search.study.low_is_good]
        found = optuna.create_study(storage=storage, study_name=search.name, directions=directions, load_if_exists=True)
        known = found.user_attrs.get("identity")
        if known != identity and (known is not None or found.trials):
            raise ConfigError(
                f"the study {search.name!r} exists in {search.place} with another space, objective or pictures; "
                f"give this one another `name`, or its own folder with --out"
            )
        found.set_user_attr("identity", identity)
        found.set_user_attr("objective", search.study.objective)
        for point in _first_points(search):
            found.enqueue_trial(point, skip_if_exists=True)


def attempt(search: Search, evaluate: Evaluate) -> None:
    """Draw one trial, evaluate it and write down what became of it.

    What a trial cannot help ends here: StoreError is raised, and faults of the program are kept as its reason.
    """
    from ensemble_ad.tuning.kept import announce, free_the_dead, queue_interrupted

    with _opened(search) as study:
        free_the_dead(study)
        owner = this_process()
        announce(study, owner)

        def objective(trial: "optuna.Trial") -> list[float]:
            trial.set_user_attr("owner", owner)
            return _objective(trial, search, evaluate)

        try:
            study.optimize(objective, n_trials=1, catch=(_FailedError,))
        except BaseException:  # Ctrl-C, a full disk
            queue_interrupted(study, owner)
            raise


def trials_of(search: Search) -> list[Trial]:
    """Return every trial of the study that was begun; one whose process is gone is queued again and left out."""
    from ensemble_ad.tuning.kept import begun, free_the_dead

    with _opened(search) as study:
        free_the_dead(study)
        return begun(study)


def importances(search: Search) -> dict[str, float]:
    """Return the share in the variance of the first measure of each parameter that all trials have, largest first.

    By fANOVA (Hutter et al., ICML 2014); empty where too few trials finished, or all of them alike.
    """
    import optuna

    with _opened(search) as study:
        if len(study.get_trials(states=[optuna.trial.TrialState.COMPLETE])) < ENOUGH:
            return {}
        target = None if len(search.study.optimise) == 1 else (lambda trial: trial.values[0])
        try:
            judge = optuna.importance.FanovaImportanceEvaluator(seed=search.study.seed)
            return dict(optuna.importance.get_param_importances(study, evaluator=judge, target=target))
        except (ValueError, RuntimeError):
            return {}


class _FailedError(Exception):
    """A trial that failed; its reason is written down."""


def _objective(trial: "optuna.Trial", search: Search, evaluate: Evaluate) -> list[float]:
    import optuna

    from ensemble_ad.tuning.proposals import suggested

    point = search.study.space.draw(lambda parameter: suggested(trial, parameter))

    def report(value: float, step: int) -> None:
        trial.report(value, step)
        if trial.should_prune():
            raise optuna.TrialPruned

    pruned = search.study.pruner != "none" and not search.baseline
    try:
        measured = evaluate(point, report if pruned else lambda _value, _step: None)
    except RejectedError as error:
        trial.set_user_attr("rejected", str(error))
        raise optuna.TrialPruned from error
    except (optuna.TrialPruned, StoreError):
        raise
    except Exception as error:  # the study goes on, whatever it was
        trial.set_user_attr("reason", _reason(error))
        raise _FailedError from error
    trial.set_user_attr("measured", measured)
    for name, limit in search.study.constraints.items():
        trial.set_constraint(name, measured[name] - limit)
    return [measured[name] for name in search.study.optimise]


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return "out of memory"
    return str(error) if is_expected(error) else f"{type(error).__name__}: {error}"


def _first_points(search: Search) -> list[Point]:
    """The default; for a grid all other points, too."""
    default = search.study.space.default()
    if search.study.sampler != "grid":
        return [default]
    return [default, *(point for point in search.study.space.points() if point != default)]


@contextmanager
def _opened(search: Search) -> Iterator["optuna.Study"]:
    """Yield the study in its storage, with what proposes and prunes its trials."""
    import optuna

    from ensemble_ad.tuning.proposals import pruner_of, sampler_of
    from ensemble_ad.tuning.storage import reached

    with reached(search.storage, search.study.where) as storage:
        study = optuna.load_study(study_name=search.name, storage=storage, pruner=pruner_of(search.study))
        study.sampler = sampler_of(search.study, study, baseline=search.baseline)
        yield study
