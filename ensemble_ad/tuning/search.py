"""The search itself: what proposes trials, what stops them early, and where they are kept. Only this file has optuna.

Each trial draws from a random generator of its own, seeded by the study and by how many trials came before. So one
worker that was stopped, killed and started again proposes what it would have proposed anyway.
"""

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ensemble_ad.errors import ConfigError, StoreError, is_expected
from ensemble_ad.tracking.place import without_password
from ensemble_ad.tuning.owner import is_gone, this_process
from ensemble_ad.tuning.parameter import Choice, Parameter
from ensemble_ad.tuning.space import Point
from ensemble_ad.tuning.study_file import StudyFile
from ensemble_ad.tuning.trial import RUNGS, RejectedError, Report
from ensemble_ad.tuning.trials import State, Trial

if TYPE_CHECKING:
    import optuna

log = logging.getLogger(__name__)

HEARTBEAT = 15
"""Seconds between two signs of life of a trial, where the storage is a database."""
ENOUGH = 4
"""Finished trials below which nobody can say which parameter mattered."""
GRACE = 120
"""Seconds without one after which another process takes a trial for dead."""
RETRIES = 2
"""Times that a trial whose process died is tried again."""
PATIENCE = 10
"""Seconds within which a database server has to answer."""
EXTRAS = {"cmaes": "cmaes", "psycopg": "postgres", "psycopg2": "postgres"}
"""Package -> the extra of ours that installs it."""
BASELINE = "-random"
"""Ending of the name of the study that a search is compared with."""

DEADLY = f"its process died {RETRIES + 1} times: killed, or out of memory"

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

    with _reached(search) as storage:
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
    with _reached(search) as storage:
        _free_the_dead(search, storage)
        study = _opened(search, storage, len(_begun(search, storage)))
        owner = this_process()

        def objective(trial: "optuna.Trial") -> list[float]:
            trial.set_user_attr("owner", owner)
            return _objective(trial, search, evaluate)

        try:
            study.optimize(objective, n_trials=1, catch=(_FailedError,))
        except BaseException:  # Ctrl-C, a full disk
            for trial in study.get_trials():
                if _state(trial) == "killed" and trial.user_attrs.get("owner") == owner:
                    study.enqueue_trial(trial.params)
            raise


def trials_of(search: Search) -> list[Trial]:
    """Return every trial of the study that was begun; one whose process is gone is queued again and left out."""
    with _reached(search) as storage:
        _free_the_dead(search, storage)
        return [_plain(trial) for trial in _begun(search, storage)]


def importances(search: Search) -> dict[str, float]:
    """Return the share in the variance of the first measure of each parameter that all trials have, largest first.

    By fANOVA (Hutter et al., ICML 2014); empty where too few trials finished, or all of them alike.
    """
    import optuna

    with _reached(search) as storage:
        study = _opened(search, storage, 0)
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

    point = search.study.space.draw(lambda parameter: _suggest(trial, parameter))

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


def _suggest(trial: "optuna.Trial", parameter: Parameter) -> Any:
    if isinstance(parameter, Choice):
        return trial.suggest_categorical(parameter.key, parameter.candidates())
    if parameter.whole:
        step = {} if parameter.step is None else {"step": int(parameter.step)}
        return trial.suggest_int(parameter.key, int(parameter.low), int(parameter.high), log=parameter.log, **step)
    return trial.suggest_float(parameter.key, parameter.low, parameter.high, log=parameter.log, step=parameter.step)


def _first_points(search: Search) -> list[Point]:
    """The default; for a grid all other points, too."""
    default = search.study.space.default()
    if search.study.sampler != "grid":
        return [default]
    return [default, *(point for point in search.study.space.points() if point != default)]


def _opened(search: Search, storage: "optuna.storages.BaseStorage", drawn: int) -> "optuna.Study":
    import optuna

    seed = int(np.random.SeedSequence([search.study.seed, int(search.baseline), drawn]).generate_state(1)[0])
    return optuna.load_study(
        study_name=search.name, storage=storage, sampler=_sampler(search, seed), pruner=_pruner(search.study)
    )


def _sampler(search: Search, seed: int) -> "optuna.samplers.BaseSampler":
    from optuna import samplers

    study = search.study
    if search.baseline or study.sampler in ("random", "grid"):
        return samplers.RandomSampler(seed=seed)
    if study.sampler == "cmaes":
        return samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
    if study.sampler == "nsga2":
        return samplers.NSGAIISampler(seed=seed, population_size=max(4, min(50, study.trials // 4)))
    return samplers.TPESampler(seed=seed, n_startup_trials=max(3, min(10, study.trials // 4)))


def _pruner(study: StudyFile) -> "optuna.pruners.BasePruner":
    from optuna import pruners

    if study.pruner == "median":
        return pruners.MedianPruner(n_startup_trials=4)
    if study.pruner == "hyperband":
        return pruners.HyperbandPruner(1, RUNGS[-1] if len(study.data) == 1 else len(study.data), 3)
    return pruners.WilcoxonPruner() if study.pruner == "wilcoxon" else pruners.NopPruner()


def _begun(search: Search, storage: "optuna.storages.BaseStorage") -> list["optuna.trial.FrozenTrial"]:
    """Every trial that was begun and not given up by the death of its process."""
    import optuna

    study = optuna.load_study(study_name=search.name, storage=storage)
    trials = study.get_trials(deepcopy=False)
    return [trial for trial in trials if trial.state != optuna.trial.TrialState.WAITING and _state(trial) != "killed"]


def _state(trial: "optuna.trial.FrozenTrial") -> State:
    if trial.state.name == "PRUNED":
        return "rejected" if "rejected" in trial.user_attrs else "pruned"
    if trial.state.name == "FAIL":
        return "failed" if "reason" in trial.user_attrs or _tries(trial) > RETRIES else "killed"
    return "finished" if trial.state.name == "COMPLETE" else "running"


def _tries(trial: "optuna.trial.FrozenTrial") -> int:
    from optuna.storages import RetryHeartbeatStaleTrialCallback

    return len(RetryHeartbeatStaleTrialCallback.retry_history(trial)) + 1


def _plain(trial: "optuna.trial.FrozenTrial") -> Trial:
    state, duration, attrs = _state(trial), trial.duration, trial.user_attrs
    return Trial(
        number=trial.number,
        state=state,
        point=dict(trial.params),
        measured=attrs["measured"] if state == "finished" else {},
        feasible=all(value <= 0 for value in trial.constraints.values()),
        seconds=None if duration is None else round(duration.total_seconds(), 3),
        reason=attrs.get("reason", attrs.get("rejected", DEADLY if state == "failed" else "")),
    )


def _free_the_dead(search: Search, storage: "optuna.storages.BaseStorage") -> None:
    """Fail the running trials whose process on this machine is gone, and queue them again.

    A database also notices those of other machines, by their heartbeat.
    """
    import optuna

    study = optuna.load_study(study_name=search.name, storage=storage)
    for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        if _is_dead(trial):
            with suppress(optuna.exceptions.UpdateFinishedTrialError):  # another process was quicker
                study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
                _try_again(study, trial)


def _try_again(study: "optuna.Study", trial: "optuna.trial.FrozenTrial") -> None:
    from optuna.storages import RetryHeartbeatStaleTrialCallback

    trial.user_attrs = {}
    RetryHeartbeatStaleTrialCallback(max_retry=RETRIES)(study, trial)


def _is_dead(trial: "optuna.trial.FrozenTrial") -> bool:
    owner = trial.user_attrs.get("owner")
    if owner is not None:
        return is_gone(owner)
    begun = trial.datetime_start  # killed before it could say whose it is
    return begun is not None and (datetime.now() - begun).total_seconds() > GRACE


@contextmanager
def _reached(search: Search) -> Iterator["optuna.storages.BaseStorage"]:
    """Yield the storage, and say in a sentence when it cannot be reached or a package is missing."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield _storage(search.storage)
    except ImportError as error:
        extra = EXTRAS.get(str(error.name), "")
        cure = f"pip install 'ensemble-ad[{extra}]'" if extra else f"pip install {error.name}"
        raise ConfigError(f"{search.study.where}: {error.name} is not installed: {cure}") from error
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, OSError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise StoreError(f"storage: {search.place} cannot be used: {reason}") from error


@lru_cache(maxsize=4)
def _storage(place: str) -> "optuna.storages.BaseStorage":
    from optuna.storages import JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
    from optuna.storages.journal import JournalFileBackend, JournalRedisBackend

    if place.startswith("redis"):
        return JournalStorage(JournalRedisBackend(place))
    if "://" not in place:
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        _mend(Path(place))
        return JournalStorage(JournalFileBackend(place))
    patience = {"connect_timeout": PATIENCE} if place.startswith("postgres") else {}
    return RDBStorage(
        place,
        engine_kwargs={"connect_args": patience},
        heartbeat_interval=HEARTBEAT,
        grace_period=GRACE,
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=RETRIES),
    )


def _mend(journal: Path) -> None:
    """Cut off a last line that a power cut or a full disk left unfinished: the lines after it could not be read."""
    from optuna.storages.journal import JournalFileSymlinkLock

    if not journal.exists() or not _torn(journal):
        return
    lock = JournalFileSymlinkLock(str(journal))
    lock.acquire()
    try:
        if torn := _torn(journal):  # nobody was only in the middle of writing it
            log.warning("%s: its last line is unfinished and is cut off", journal)
            os.truncate(journal, journal.stat().st_size - torn)
    finally:
        lock.release()


def _torn(journal: Path) -> int:
    """Bytes after the last whole line."""
    content = journal.read_bytes()
    return len(content) - content.rfind(b"\n") - 1
