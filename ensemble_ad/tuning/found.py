"""Everything that a finished study has to say, worked out of its trials."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ensemble_ad.tuning.honesty import Agreement, Resampled, agreement
from ensemble_ad.tuning.study_file import StudyFile
from ensemble_ad.tuning.trials import Trial, best, pareto

Pick = tuple[str, Trial]
"""The search that a trial belongs to, and the trial."""


@dataclass(frozen=True)
class Found:
    """Everything that a finished study has to say."""

    study: StudyFile
    trials: Mapping[str, Sequence[Trial]]
    """By search: `search` and, with a baseline, `random`."""
    pictures: Mapping[str, Mapping[str, int]]
    """By class, how many pictures of each kind the trials were judged on."""
    importance: Mapping[str, float]
    """Share of each key in the variance of the first measure."""
    on_test: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    """Test quality by search and trial number; empty where it was not asked for."""
    intervals: Mapping[str, Resampled] = field(default_factory=dict)
    """Of some test qualities, by the name of who chose the trial."""

    @property
    def name(self) -> str:
        """The first measure."""
        return self.study.optimise[0]

    @property
    def suffix(self) -> str:
        """What file names end with."""
        return "_oracle" if self.study.objective == "oracle" else ""

    @property
    def default(self) -> Trial | None:
        """The trial of the hand-made default."""
        point = self.study.space.default()
        return next((trial for trial in self.trials["search"] if trial.point == point and trial.measured), None)

    def best(self, label: str) -> Trial | None:
        """Return the best trial of a search by the first measure; None where none finished within the constraints."""
        return best(self.trials[label], self.name, low_is_good=self.study.low_is_good[0])

    def front(self) -> list[Trial]:
        """Return the trials of the search that none beats in every measure."""
        return pareto(self.trials["search"], self.study.optimise, self.study.low_is_good)

    def agreement(self, *labels: str) -> Agreement | None:
        """Return how the trials of some searches rank by quality as the study saw it, and by test quality."""
        pairs = [
            (trial.measured["quality"], self.on_test[label][trial.number])
            for label in labels
            for trial in self.trials[label]
            if trial.number in self.on_test.get(label, {})
        ]
        return agreement([pair[0] for pair in pairs], [pair[1] for pair in pairs])

    def picks(self) -> dict[str, Pick]:
        """Return the trials that results are told by: the default, and what each search chose by the objective."""
        found = {"default": ("search", self.default)} | {label: (label, self.best(label)) for label in self.trials}
        return {who: (label, trial) for who, (label, trial) in found.items() if trial is not None}

    def judged(self) -> dict[str, Pick]:
        """Return the trials whose test quality is told: the picks, and the best one by the test split."""
        oracle = self.oracle_choice()
        return self.picks() | ({} if oracle is None else {"oracle": oracle})

    def oracle_choice(self) -> Pick | None:
        """Return the search and the trial with the best test quality."""
        scored = [(value, label, number) for label, some in self.on_test.items() for number, value in some.items()]
        if not scored:
            return None
        _, label, number = max(scored, key=lambda entry: entry[0])
        return label, next(trial for trial in self.trials[label] if trial.number == number)
