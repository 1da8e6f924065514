"""summary.md of a study: what was gained, what mattered, and how far the objective can be trusted."""

import math
from collections.abc import Mapping, Sequence

from ensemble_ad.tuning.found import Found
from ensemble_ad.tuning.honesty import LEVEL, RESAMPLES, Agreement
from ensemble_ad.tuning.trials import Trial

WHO = {
    "default": "the default",
    "search": "the search's choice",
    "random": "the random search's choice",
    "oracle": "oracle: the best on test",
}


def summary(found: Found, command: str, figures: Sequence[str]) -> str:
    """Return the page."""
    parts = [
        f"# {found.study.name}{' - ORACLE' if found.study.objective == 'oracle' else ''}",
        _about(found),
        f"```\n{command}\n```",
        "## What was reached",
        _reached(found),
    ]
    if len(found.study.optimise) > 1:
        parts += ["## Pareto front", _front(found)]
    if found.importance:
        parts += ["## What mattered", _importance(found)]
    parts += ["## How far to trust it", *_honesty(found)]
    if failed := _failures(found.trials):
        parts += ["## Trials that did not finish", failed]
    parts += ["## Figures", "\n\n".join(f"![{name}](figures/{name}.svg)" for name in figures)]
    return "\n\n".join(parts) + "\n"


def _about(found: Found) -> str:
    study = found.study
    judge = {
        "proxy": f"the proxy: synthetic anomalies (seed {study.proxy.seed}) on normal validation pictures",
        "oracle": "**the oracle: labels of the test split**, which no honest choice may see",
    }[study.objective]
    limits = "".join(f"; {name} at most {limit:g}" for name, limit in study.constraints.items())
    lines = [f"judged by {judge}"]
    for name, kinds in found.pictures.items():
        lines.append(f"{name}: {', '.join(f'{count} {kind}' for kind, count in kinds.items())}")
    lines.append(f"optimised: {', '.join(study.optimise)}{limits}")
    lines.append(f"sampler {study.sampler}, pruner {study.pruner}, seed {study.seed}")
    for label, some in found.trials.items():
        finished = sum(trial.state == "finished" for trial in some)
        lines.append(f"{label}: {finished} of {sum(trial.counts for trial in some)} trials finished")
    return "\n".join(f"- {line}" for line in lines)


def _reached(found: Found) -> str:
    picks = found.picks()
    names = list(dict.fromkeys((*found.study.measures, *next(iter(picks.values()))[1].measured)))
    rows = [[WHO[who], str(trial.number), *_numbers(trial, names)] for who, (_, trial) in picks.items()]
    return grid(["", "trial", *names], rows)


def _front(found: Found) -> str:
    names = found.study.optimise
    rows = [[f"search-{trial.number:04d}", *_numbers(trial, names)] for trial in found.front()]
    return grid(["trial", *names], rows)


def _importance(found: Found) -> str:
    rows = [[key, f"{share:.2f}"] for key, share in found.importance.items()]
    what = f"Share of each key that all trials have in the variance of {found.name} (fANOVA over the search's trials)."
    return f"{what}\n\n{grid(['key', 'share'], rows)}"


def _honesty(found: Found) -> list[str]:
    if not any(found.on_test.values()):
        return ["The trials were not scored on the test split."]
    agreements = {"all finished trials": found.agreement(*found.trials)}
    if "random" in found.trials:
        agreements["those drawn at random"] = found.agreement("random")
    lines = [f"- {name}: {_agreement(one)}" for name, one in agreements.items()]
    return [
        f"Does quality by the {found.study.objective} rank trials as quality on the test split does? "
        "Worked out when the study was over; nothing was chosen by it.",
        "\n".join(lines),
        _chosen(found),
        f"Intervals: {100 * LEVEL:g} %, {RESAMPLES} resamples of the test pictures, the same for all rows. "
        "The oracle's row was chosen by the test labels themselves: an upper bound, not a result.",
    ]


def _agreement(one: Agreement | None) -> str:
    if one is None:
        return "too few trials, or all alike"
    return f"Spearman {one.spearman:+.2f}, Kendall {one.kendall:+.2f} (n = {one.trials})"


def _chosen(found: Found) -> str:
    rows, default = [], found.intervals.get("default")
    for who, resampled in found.intervals.items():
        label, trial = found.judged()[who]
        gain = "" if default is None or who == "default" else _between(resampled.above(default), "+.3f")
        value, around = found.on_test[label][trial.number], _between(resampled.interval(), ".3f")
        rows.append([WHO[who], f"{label} {trial.number}", f"{value:.3f}", around, gain])
    return grid(["", "trial", "test quality", "interval", "minus the default"], rows)


def _between(ends: tuple[float, float], form: str) -> str:
    return "too few pictures" if math.isnan(ends[0]) else f"{ends[0]:{form}} to {ends[1]:{form}}"


def _failures(trials: Mapping[str, Sequence[Trial]]) -> str:
    reasons: dict[str, int] = {}
    for trial in (trial for some in trials.values() for trial in some):
        if trial.state in ("failed", "rejected", "pruned"):
            reason = f"{trial.state}{': ' if trial.reason else ''}{trial.reason}"
            reasons[reason] = reasons.get(reason, 0) + 1
    return "\n".join(f"- {count} x {reason}" for reason, count in reasons.items())


def _numbers(trial: Trial, names: Sequence[str]) -> list[str]:
    return [f"{trial.measured[name]:.3f}" if name in trial.measured else "-" for name in names]


def grid(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table.

    >>> print(grid(["a", "b"], [["1", "2"]]))
    | a | b |
    |---|---|
    | 1 | 2 |
    """
    lines = ["| " + " | ".join(cells) + " |" for cells in (headings, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(headings), *lines[1:]])
