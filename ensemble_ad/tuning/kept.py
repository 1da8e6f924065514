"""Trials as a storage keeps them: what became of each, whose process died, and which ones are another's second try."""

from contextlib import suppress
from datetime import datetime

import optuna
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState

from ensemble_ad.tuning.owner import announced_at, is_gone, process_of, this_process
from ensemble_ad.tuning.trials import State, Trial

GRACE = 120
"""Seconds without a sign of life after which another process takes a trial for dead."""
RETRIES = 2
"""Times that a trial whose process died is tried again."""
DEADLY = f"its process died {RETRIES + 1} times: killed, or out of memory"

_DRAWER = "drawer: "
"""Attribute of a study, one for each process that ever drew a trial: the owner of the trial it drew last."""
_AGAIN = "again"
"""Attribute of a trial that was interrupted and is tried again: the number of the first try."""


def begun(study: optuna.Study) -> list[Trial]:
    """Return every trial that was begun and not given up by the death of its process."""
    trials = study.get_trials(deepcopy=False)
    return [_plain(trial) for trial in trials if trial.state != TrialState.WAITING and _state(trial) != "killed"]


def announce(study: optuna.Study, owner: str) -> None:
    """Write down that a process is about to draw a trial, for the moment in which the trial is there and nobody's."""
    study.set_user_attr(f"{_DRAWER}{process_of(owner)}", owner)


def free_the_dead(study: optuna.Study) -> None:
    """Fail the running trials whose process on this machine is gone, and queue them again.

    A database also notices those of other machines, by their heartbeat.
    """
    for trial in study.get_trials(states=[TrialState.RUNNING]):
        if _is_dead(trial, study):
            with suppress(optuna.exceptions.UpdateFinishedTrialError, ValueError):  # another process was quicker
                study.tell(trial.number, state=TrialState.FAIL)
                try_again(study, trial)


def try_again(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queue a trial whose process died, unless it killed too many of them."""
    trial.user_attrs = {key: value for key, value in trial.user_attrs.items() if key == _AGAIN}
    RetryHeartbeatStaleTrialCallback(max_retry=RETRIES)(study, trial)


def queue_interrupted(study: optuna.Study, owner: str) -> None:
    """Queue what this owner was interrupted at: no fault of the trial's."""
    for trial in study.get_trials():
        if _state(trial) == "killed" and trial.user_attrs.get("owner") == owner:
            study.enqueue_trial(trial.params, user_attrs={_AGAIN: _first_try(trial)})


def place_of(trial: FrozenTrial, study: optuna.Study) -> int:
    """Return how many trials were drawn before this one, or before its first try; no other trial has the same place.

    Second tries are drawn by nobody, so one that was killed does not move the places of those after it.
    """
    number = _first_try(trial)
    return number - sum(_first_try(other) != other.number for other in study.get_trials(deepcopy=False)[:number])


def _first_try(trial: FrozenTrial) -> int:
    history = RetryHeartbeatStaleTrialCallback.retry_history(trial)
    return int(trial.user_attrs.get(_AGAIN, history[0] if history else trial.number))


def _state(trial: FrozenTrial) -> State:
    if trial.state.name == "PRUNED":
        return "rejected" if "rejected" in trial.user_attrs else "pruned"
    if trial.state.name == "FAIL":
        return "failed" if "reason" in trial.user_attrs or _tries(trial) > RETRIES else "killed"
    return "finished" if trial.state.name == "COMPLETE" else "running"


def _tries(trial: FrozenTrial) -> int:
    return len(RetryHeartbeatStaleTrialCallback.retry_history(trial)) + 1


def _plain(trial: FrozenTrial) -> Trial:
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


def _is_dead(trial: FrozenTrial, study: optuna.Study) -> bool:
    owner = trial.user_attrs.get("owner")
    if owner is not None:
        return is_gone(owner)
    started = trial.datetime_start  # killed before it could say whose it is
    if started is None:
        return False
    late = (datetime.now() - started).total_seconds() > GRACE
    return late or not (_may_be_owned(started, study) or _has_an_owner_by_now(trial, study))


def _may_be_owned(started: datetime, study: optuna.Study) -> bool:
    """Whether another living process had announced a trial before this one began, and has none yet."""
    announced = {owner for key, owner in study.user_attrs.items() if key.startswith(_DRAWER)}
    found = {trial.user_attrs.get("owner") for trial in study.get_trials(deepcopy=False)}
    waiting = (owner for owner in announced - found if process_of(owner) != process_of(this_process()))
    return any(announced_at(owner) <= started.timestamp() and not is_gone(owner) for owner in waiting)


def _has_an_owner_by_now(trial: FrozenTrial, study: optuna.Study) -> bool:
    """Whether the process that seemed to have no trial had this one; looked at last, for a trial keeps its owner."""
    return "owner" in study.get_trials(deepcopy=False)[trial.number].user_attrs
