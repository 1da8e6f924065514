"""Figures of a study: how the best value rose, what mattered, what each key did, and how well the proxy ranks."""

from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter
from matplotlib.tri import Triangulation

from ensemble_ad.tuning.parameter import Range
from ensemble_ad.tuning.study_file import StudyFile
from ensemble_ad.tuning.trials import Trial, candidates, pareto

SEARCH, RANDOM, INK = "#0072b2", "#888888", "#222222"
"""Told apart with every kind of colour vision."""
COLOURS = {"search": SEARCH, "random": RANDOM}
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "study",
    "text.parse_math": False,
}
PANELS = 3
"""Beside one another."""
LEVELS = 9

BySearch = Mapping[str, Sequence[Trial]]


def figures(trials: BySearch, importance: Mapping[str, float], study: StudyFile) -> dict[str, Figure]:
    """Return the figures by name; those that a few trials cannot fill are left out."""
    name = study.optimise[0]
    log = {one.key for one in study.space.parameters if isinstance(one, Range) and one.log}
    ended = [trial for some in trials.values() for trial in some if trial.state == "finished"]
    found = {"history": _history(trials, name, low=study.low_is_good[0]), "slice": _slices(trials, name, log)}
    if importance:
        found["importance"] = _importance(importance, name)
    numbers = [key for key in importance if all(isinstance(trial.point.get(key), (int, float)) for trial in ended)]
    if len(numbers) >= 2 and len(ended) >= LEVELS:
        found["contour"] = _contour(ended, (numbers[0], numbers[1]), name, log)
    if len(study.optimise) > 1:
        found["pareto"] = _pareto(trials, study)
    return found


def agreement_figure(trials: BySearch, on_test: Mapping[str, Mapping[int, float]]) -> Figure:
    """Return quality as the study saw it against test quality; `on_test` has that by search and trial number."""
    figure, axes = _one()
    for label, some in trials.items():
        shown = [trial for trial in some if trial.number in on_test.get(label, {})]
        x = [trial.measured["quality"] for trial in shown]
        axes.scatter(x, [on_test[label][trial.number] for trial in shown], s=16, color=COLOURS[label], label=label)
    axes.set(xlabel="quality, as the study saw it", ylabel="test quality, seen afterwards")
    axes.legend(frameon=False)
    return figure


def _history(trials: BySearch, name: str, *, low: bool) -> Figure:
    figure, axes = _one()
    for label, some in trials.items():
        shown = candidates(some)
        places = [number for number, trial in enumerate(_counting(some), 1) if trial in shown]
        values = [trial.measured[name] for trial in shown]
        best = (np.minimum if low else np.maximum).accumulate(np.array(values))
        axes.scatter(places, values, s=12, color=COLOURS[label], alpha=0.6)
        axes.step(places, best, where="post", color=COLOURS[label], label=label)
    axes.set(xlabel="trial", ylabel=name)
    axes.legend(frameon=False)
    return figure


def _counting(trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.counts]


def _importance(importance: Mapping[str, float], name: str) -> Figure:
    figure, axes = _one(height=0.8 + 0.28 * len(importance))
    keys = list(importance)[::-1]
    axes.barh(range(len(keys)), [importance[key] for key in keys], color=SEARCH)
    axes.set_yticks(range(len(keys)), [_short(key) for key in keys])
    axes.set_xlabel(f"share of the variance of {name}")
    return figure


def _slices(trials: BySearch, name: str, log: Set[str]) -> Figure:
    keys = list(dict.fromkeys(key for some in trials.values() for trial in some for key in trial.point))
    columns = min(PANELS, len(keys))
    rows = -(-len(keys) // columns)
    with rc_context(STYLE):
        figure = Figure(figsize=(3.1 * columns, 2.6 * rows), layout="constrained")
        panels = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
        for axes, key in zip(panels, keys):
            _slice(axes, trials, key, name)
            axes.set_xlabel(_short(key))
            if key in log:
                _logarithmic(axes, "x")
        for axes in panels[len(keys) :]:
            axes.set_visible(False)
        figure.supylabel(name, fontsize=9)
        return figure


def _slice(axes: Axes, trials: BySearch, key: str, name: str) -> None:
    drawn = [trial.point[key] for some in trials.values() for trial in some if key in trial.point]
    labels = sorted({one for one in drawn if isinstance(one, str)})
    for label, some in trials.items():
        shown = [trial for trial in some if trial.state == "finished" and key in trial.point]
        x = [labels.index(trial.point[key]) if labels else trial.point[key] for trial in shown]
        axes.scatter(x, [trial.measured[name] for trial in shown], s=12, color=COLOURS[label], alpha=0.6)
    if labels:
        axes.set_xticks(range(len(labels)), labels, rotation=30, ha="right", fontsize=7)
        axes.set_xlim(-0.5, len(labels) - 0.5)


def _contour(ended: Sequence[Trial], keys: tuple[str, str], name: str, log: Set[str]) -> Figure:
    figure, axes = _one()
    x, y = (np.array([float(trial.point[key]) for trial in ended]) for key in keys)
    values = np.array([trial.measured[name] for trial in ended])
    axes.set(xlabel=_short(keys[0]), ylabel=_short(keys[1]))
    for key, direction in zip(keys, ("x", "y")):
        if key in log:
            _logarithmic(axes, direction)
    if _spread_out(x, y):
        scaled = [_scaled(np.log(part) if key in log else part) for part, key in zip((x, y), keys)]
        mesh = Triangulation(x, y, Triangulation(*scaled).triangles)
        shades = axes.tricontourf(mesh, values, levels=LEVELS, cmap="cividis")
        figure.colorbar(shades, label=name)
    axes.scatter(x, y, s=8, color=INK)
    return figure


def _logarithmic(axes: Axes, direction: str) -> None:
    axis = {"x": axes.xaxis, "y": axes.yaxis}[direction]
    axes.set(**{f"{direction}scale": "log"})
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def _scaled(part: np.ndarray) -> np.ndarray:
    return (part - part.min()) / np.ptp(part)


def _spread_out(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether the points are not all on one line: triangles need that."""
    centred = np.stack([x - x.mean(), y - y.mean()])
    return bool(np.linalg.matrix_rank(centred) == 2)


def _pareto(trials: BySearch, study: StudyFile) -> Figure:
    figure, axes = _one()
    first, second = study.optimise[:2]
    for label, some in trials.items():
        shown = candidates(some)
        x, y = ([trial.measured[name] for trial in shown] for name in (second, first))
        axes.scatter(x, y, s=16, color=COLOURS[label], label=label)
        front = sorted(pareto(some, (first, second), study.low_is_good[:2]), key=lambda trial: trial.measured[second])
        ends = [[trial.measured[name] for trial in front] for name in (second, first)]
        axes.plot(*ends, color=COLOURS[label], linewidth=1)
    axes.set(xlabel=second, ylabel=first)
    axes.legend(frameon=False)
    return figure


def _one(height: float = 3.2) -> tuple[Figure, Axes]:
    with rc_context(STYLE):
        figure = Figure(figsize=(5.2, height), layout="constrained")
        return figure, figure.subplots()


def _short(key: str) -> str:
    """The end of a key that says enough.

    >>> _short("detector.discriminator.noise_std"), _short("detector.combiner.name")
    ('noise_std', 'combiner.name')
    """
    steps = key.split(".")
    return ".".join(steps[-2:]) if steps[-1] == "name" else steps[-1]
