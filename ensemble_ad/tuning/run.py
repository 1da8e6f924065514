"""A study from its file to its folder: prepare what trials share, search, search at random, and say what came out."""

from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from data_loco import GOOD, DataError, open_class
from ensemble_ad.errors import ConfigError
from ensemble_ad.executors import WorkerDiedError
from ensemble_ad.progress import Progress
from ensemble_ad.running import refuse_errors
from ensemble_ad.stages import Description
from ensemble_ad.store import key_of
from ensemble_ad.tuning.found import Found
from ensemble_ad.tuning.honesty import Resampled, resampled_on_test
from ensemble_ad.tuning.records import JOURNAL, Records, refuse_foreign
from ensemble_ad.tuning.result import write_result
from ensemble_ad.tuning.search import Search, attempt, begin, importances, trials_of
from ensemble_ad.tuning.study_file import StudyFile
from ensemble_ad.tuning.trial import Place, evaluate, judged_on, prepare, quality_on_test, shared_parts
from ensemble_ad.tuning.trials import Trial, best
from ensemble_ad.tuning.work import Work

REJECTIONS = 20
"""Points that cannot be built, for each trial of the budget, after which a study gives up."""


def tune(study: StudyFile, out: Path, work: Work, command: str) -> Found:
    """Do what is left of a study and write its folder; killed at any moment, the same call goes on.

    Raises ConfigError before anything is computed where the study cannot be searched or is another one than the
    storage has under its name, and in the end when no trial has finished.
    """
    refuse_foreign(out)
    identity = study.identity([_fingerprint(study, root) for root in study.data])
    searches = searches_of(study, out)
    for search in searches.values():
        begin(search, identity)
    records = Records(out, study)
    _prepare(study, work)
    for label, search in searches.items():
        _search(search, label, work, records)
    trials = {label: trials_of(search) for label, search in searches.items()}
    _refuse_nothing(study, trials)
    pictures = {Path(root).name: judged_on(study, work.place, root) for root in study.data}
    found = Found(study, trials, pictures, importances(searches["search"]))
    write_result(found, out, command)
    if study.check_on_test and _has_labels(study):
        found = replace(found, on_test=_on_test(study, trials, work))
        found = replace(found, intervals=_intervals(found, work))
        write_result(found, out, command)
    return found


def searches_of(study: StudyFile, out: Path) -> dict[str, Search]:
    """Return the study's searches by the name that its tables give them."""
    storage = study.storage or str(out / JOURNAL)
    storage = storage if "://" in storage else str(Path(storage).resolve())
    searches = {"search": Search(study, storage)}
    return searches | ({"random": Search(study, storage, baseline=True)} if study.baseline == "random" else {})


def do_trial(search: Search, place: Place) -> None:
    """Do one trial: what a worker is given."""
    attempt(search, lambda point, report: evaluate(search.study, place, point, report))


def _fingerprint(study: StudyFile, root: str) -> str:
    """Of a class that can be searched on."""
    labelled = study.objective == "oracle"
    refuse_errors(Path(root), unused=() if labelled else ("test", "ground_truth"))
    folder = open_class(Path(root))
    if labelled and not any(sample.kind != GOOD for sample in folder.test):
        raise DataError(folder.root, "has no anomalous test pictures", "use `objective: proxy`")
    return folder.fingerprint()


def _prepare(study: StudyFile, work: Work) -> None:
    """Make ready what trials share, so that the first ones cost what all others do."""
    parts: dict[str, Description] = {}
    for point in study.space.member_points():
        for part in shared_parts(study.space.experiment(point).detector):
            parts.setdefault(key_of(part), part)
    calls = [(study, work.place, root, part) for root in study.data for part in parts.values()]
    for _ in work.each("members and their features", prepare, calls):
        pass


def _search(search: Search, label: str, work: Work, records: Records) -> None:
    """Have trials done until the budget is used up."""
    running: set[Future] = set()
    while True:
        trials = trials_of(search)
        for folder in records.write(label, trials):
            work.recorded(folder)
        _tell(search, label, trials, work.progress)
        _refuse_impossible(search, trials)
        spent = sum(one.counts and one.state != "running" for one in trials)
        elsewhere = max(0, sum(one.state == "running" for one in trials) - len(running))
        room = min(work.workers, search.study.trials - spent - elsewhere) - len(running)
        running |= {work.executor.submit(do_trial, search, work.place) for _ in range(room)}
        if not running:
            return
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            with suppress(WorkerDiedError):  # its trial is written down as failed
                future.result()


def _tell(search: Search, label: str, trials: Sequence[Trial], progress: Progress) -> None:
    name, low = search.study.optimise[0], search.study.low_is_good[0]
    leader = best(trials, name, low_is_good=low)
    detail = "" if leader is None else f"best {name} {leader.measured[name]:.3f}"
    done = sum(one.counts and one.state != "running" for one in trials)
    progress.update("trials" if label == "search" else f"trials, {label}", done, search.study.trials, detail)


def _refuse_impossible(search: Search, trials: Sequence[Trial]) -> None:
    rejected = [one for one in trials if one.state == "rejected"]
    if len(rejected) > REJECTIONS * search.study.trials:
        raise ConfigError(
            f"{search.study.where}: space: {len(rejected)} of {len(trials)} points cannot be built "
            f"({rejected[-1].reason}); restrict the space with `when`, or make it smaller"
        )


def _refuse_nothing(study: StudyFile, trials: Mapping[str, Sequence[Trial]]) -> None:
    if not any(one.state == "finished" for one in trials["search"]):
        reasons = dict.fromkeys(one.reason for one in trials["search"] if one.reason)
        why = "; ".join(list(reasons)[:3]) or "all were pruned"
        raise ConfigError(f"{study.where}: none of {len(trials['search'])} trials finished: {why}")


def _on_test(study: StudyFile, trials: Mapping[str, Sequence[Trial]], work: Work) -> dict[str, dict[int, float]]:
    """Test quality of every finished trial, by search and number, now that nothing can be chosen by it any more."""
    finished = {(label, one.number): one for label, some in trials.items() for one in some if one.state == "finished"}
    calls = [(study, work.place, one.point) for one in finished.values()]
    reached = work.each("finished trials on the test split", quality_on_test, calls)
    found: dict[str, dict[int, float]] = {label: {} for label in trials}
    for (label, number), scores in zip(finished, reached):
        found[label][number] = scores["quality"]
    return found


def _intervals(found: Found, work: Work) -> dict[str, Resampled]:
    judged = found.judged()
    calls = [(found.study, work.place, trial.point) for _, trial in judged.values()]
    return dict(zip(judged, work.each("intervals", resampled_on_test, calls)))


def _has_labels(study: StudyFile) -> bool:
    """Whether every class has good and anomalous test pictures."""
    kinds = [{sample.kind for sample in open_class(Path(root)).test} for root in study.data]
    return all(GOOD in found and len(found) > 1 for found in kinds)
