"""A comparison in words and tables: for a terminal, as Markdown and as CSV."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from math import isnan

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from ensemble_ad.comparison.compare import Comparison
from ensemble_ad.comparison.estimates import ALL, BETTER, WORSE, Estimate
from ensemble_ad.comparison.over_classes import PairOverClasses, Ranking
from ensemble_ad.comparison.sampling import MEAN
from ensemble_ad.console import HEADLINES, TYPES

MOST_ROWS = 40
"""Of a table on a terminal; where there are more pairs, only means over types are shown."""
COLOURS = {BETTER: "green", WORSE: "red"}
PLAIN = "-"
"""In a cell without a value."""
VERDICT = "first is"
"""Heading of better, worse, cannot tell."""
SCOPE = ("metric", "class", "type")
"""What an estimate is about."""
FOLDING = ("class", "first", "second", "detector")
"""Columns that give way on a narrow terminal."""
SHORT = 24
"""Letters of two names together that can head columns of numbers in 80 columns; ten fewer beside seeds."""
ESCAPED = "\\|"
"""A bar inside a cell of a Markdown table."""

Row = dict[str, str]
"""Heading -> cell."""


def summary(comparison: Comparison) -> list[Estimate]:
    """Return the differences (values, with one detector) that matter first: headline metrics, over all classes."""
    rows = [one for one in comparison.differences or comparison.values if one.metric in HEADLINES]
    together = [one for one in rows if one.class_name == ALL]
    rows = sorted(together or rows, key=lambda one: HEADLINES.index(one.metric))
    return rows if len(rows) <= MOST_ROWS else [one for one in rows if one.type == MEAN]


def terminal_tables(comparison: Comparison) -> Iterator[Table]:
    """Yield what a terminal shows: the summary, the tests over classes, the average ranks."""
    rows = _estimate_rows(summary(comparison), several_seeds=_several_seeds(comparison))
    what = "first minus second" if comparison.differences else "values"
    for metric in dict.fromkeys(row["metric"] for row in rows):
        of_metric = [row for row in rows if row["metric"] == metric]
        yield _terminal(of_metric, f"{what}, {100 * comparison.level:g} % intervals")
    if tested := [pair for pair in comparison.over_classes if pair.type == MEAN]:
        yield _terminal(_pair_rows(tested), "Wilcoxon's signed ranks over classes, Holm-corrected")
    for ranking in comparison.rankings:
        yield _terminal(_rank_rows(ranking), _rank_title(ranking))


def markdown(comparison: Comparison, command: str, figures: Sequence[str]) -> str:
    """Return the page that explains itself: notes, differences, tests over classes, values, figures."""
    seeds = _several_seeds(comparison)
    differences = _estimate_rows(_headlines(comparison.differences), several_seeds=seeds)
    values = _estimate_rows(_headlines(comparison.values), several_seeds=seeds)
    sections = {
        "Keep in mind": "\n".join(f"- {note}" for note in comparison.notes),
        "Differences": _markdown(differences),
        "Over classes: Wilcoxon's signed ranks, Holm-corrected": _markdown(_pair_rows(comparison.over_classes)),
        **{_rank_title(ranking): _markdown(_rank_rows(ranking)) for ranking in comparison.rankings},
        "Values": _markdown(values),
        "Figures": "\n\n".join(f"![{name}](figures/{name}.svg)" for name in figures),
    }
    parts = ["# Comparison", f"`{command}`", _explanation(comparison)]
    parts += [f"## {title}\n\n{content}" for title, content in sections.items() if content]
    return "\n\n".join(parts) + "\n"


def estimates_csv(comparison: Comparison) -> pd.DataFrame:
    """Return every value and difference, one line each; `second` is empty for a value."""
    rows = [asdict(one) for one in (*comparison.values, *comparison.differences)]
    names = {"class_name": "class", "of_first": "value_first", "of_second": "value_second", "value": "difference"}
    table = pd.DataFrame(rows).rename(columns=names)
    return table.assign(difference=table["difference"].where(table["second"] != ""))


def over_classes_csv(comparison: Comparison) -> pd.DataFrame:
    """Return the tests over classes, one line each."""
    return pd.DataFrame([asdict(one) for one in comparison.over_classes])


def _explanation(comparison: Comparison) -> str:
    return (
        f"Detectors: {', '.join(comparison.detectors)}. Classes: {', '.join(comparison.classes)}.\n"
        f"Intervals hold the truth in {100 * comparison.level:g} % of cases: test pictures are drawn again "
        f"{comparison.resamples} times within their kind, the same ones for all detectors and seeds.\n"
        "A difference is the first detector minus the second; *better* and *worse* mean that its interval leaves out 0."
        "\nEvery metric is in compare.csv."
    )


def _headlines(estimates: Sequence[Estimate]) -> list[Estimate]:
    return [one for one in estimates if one.metric in HEADLINES]


def _several_seeds(comparison: Comparison) -> bool:
    return any(one.seeds > 1 for one in comparison.values)


def _estimate_rows(estimates: Sequence[Estimate], *, several_seeds: bool) -> list[Row]:
    pairs = {(one.first, one.second) for one in estimates}
    heads = len(pairs) == 1 and sum(map(len, *pairs)) <= SHORT - 10 * several_seeds
    return [_estimate_row(one, several_seeds=several_seeds, heads=heads) for one in estimates]


def _estimate_row(one: Estimate, *, several_seeds: bool, heads: bool) -> Row:
    """`heads`: the two names head their columns."""
    row = {"class": one.class_name, "metric": one.metric, "type": TYPES.get(one.type, one.type)}
    sd = {"sd, seeds": PLAIN if one.seed_sd is None else f"{one.seed_sd:.3f}, {one.seeds}"} if several_seeds else {}
    if one.of_second is None:
        return row | {"detector": one.first, "value": _with_interval(one, "")} | sd
    first, second = f"{one.of_first:.3f}", f"{one.of_second:.3f}"
    if heads:
        row |= {one.first: first, one.second: second}
    else:
        row |= {"first": f"{one.first} {first}", "second": f"{one.second} {second}"}
    p_delong = PLAIN if one.p_delong is None else f"{one.p_delong:.2g}"
    row |= {"difference": _with_interval(one, "+")}
    return row | sd | {"DeLong p": p_delong, VERDICT: one.verdict}


def _with_interval(one: Estimate, sign: str) -> str:
    if isnan(one.low):
        return f"{one.value:{sign}.3f} {PLAIN}"
    return f"{one.value:{sign}.3f} [{one.low:{sign}.3f}, {one.high:{sign}.3f}]"


def _pair_rows(pairs: Sequence[PairOverClasses]) -> list[Row]:
    return [
        {
            "metric": pair.metric,
            "type": TYPES.get(pair.type, pair.type),
            "first": pair.first,
            "second": pair.second,
            "first wins": f"{pair.wins} of {pair.classes}",
            "median": f"{pair.median:+.3f}",
            "p": f"{pair.p:.2g}",
            "p, Holm": f"{pair.p_holm:.2g}",
            VERDICT: pair.verdict,
        }
        for pair in pairs
    ]


def _rank_rows(ranking: Ranking) -> list[Row]:
    ranks = sorted(zip(ranking.friedman.average_ranks, ranking.detectors))
    return [{"detector": name, "average rank": f"{rank:.2f}"} for rank, name in ranks]


def _rank_title(ranking: Ranking) -> str:
    found = ranking.friedman
    return (
        f"{ranking.metric}: ranks over {found.classes} classes, Friedman p = {found.p:.2g}, "
        f"critical difference {found.critical_difference:.2f}"
    )


def _terminal(rows: Sequence[Row], title: str) -> Table:
    """As narrow as it can be: what is the same in all rows goes into the title, what is of second rank is left out."""
    same = [name for name in SCOPE if name in rows[0] and len({row[name] for row in rows}) == 1]
    shown = [name for name in rows[0] if name not in (*same, "DeLong p")]
    heading = f"{', '.join(rows[0][name] for name in same)}: {title}" if same else title
    table = Table(title=heading, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in shown:
        right = rows[0][name].lstrip("+-")[:1].isdecimal()
        table.add_column(name, no_wrap=name not in FOLDING, overflow="fold", justify="right" if right else "left")
    for row in rows:
        table.add_row(*(Text(row[name], style=COLOURS.get(row[name], "")) for name in shown))
    return table


def _markdown(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(cell.replace('|', ESCAPED) for cell in line)} |" for line in lines)
