"""What an attribution leaves in its folder: tidy tables, summaries over seeds, a page and figures."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ensemble_ad.attribution.figure import member_figure, save_figure, synergy_figure
from ensemble_ad.attribution.solution import Solution, over_seeds
from ensemble_ad.console import HEADLINES, TYPES
from ensemble_ad.report.document import write_document
from ensemble_ad.whole import adding_to

PAGE = "attribution.md"
DOCUMENT = "index.html"
"""The same page, to look at in a browser."""
MEAN = "mean"


def write_attribution(solution: Solution, out: Path) -> None:
    """Write shapley.csv, synergy.csv, subsets.csv, figures/ and the page, in Markdown and HTML, into `out`."""
    shapley, synergy = over_seeds(solution.shapley), over_seeds(solution.synergy)
    with adding_to(out) as folder:
        solution.shapley.to_csv(folder / "shapley.csv", index=False)
        shapley.to_csv(folder / "shapley_summary.csv", index=False)
        solution.subsets.to_csv(folder / "subsets.csv", index=False)
        if len(synergy):
            solution.synergy.to_csv(folder / "synergy.csv", index=False)
            synergy.to_csv(folder / "synergy_summary.csv", index=False)
        drawn = _write_figures(solution.members, shapley, synergy, folder / "figures")
        text = page(solution, shapley, synergy, drawn)
        (folder / PAGE).write_text(text, encoding="utf-8")
        write_document(text, folder / DOCUMENT)


def page(solution: Solution, shapley: pd.DataFrame, synergy: pd.DataFrame, drawn: Sequence[str] = ()) -> str:
    """Return the page in Markdown: for the headline metrics who adds what, who completes whom, how few suffice.

    `drawn` are names of files in figures/, without their endings.
    """
    parts = ["# Which member matters", _preface(solution)]
    for metric in HEADLINES:
        of_metric = whole(shapley, metric)
        if of_metric.empty:
            continue
        parts += [f"## {metric}", _shapley_table(solution, of_metric, metric), _redundancy(of_metric)]
        if len(synergy):
            parts.append(_synergy_table(whole(synergy, metric)))
        parts.append(_fewest(solution.subsets, metric))
    if drawn:
        parts += ["## Figures", "\n\n".join(f"![{name}](figures/{name}.svg)" for name in drawn)]
    return "\n\n".join(parts) + "\n"


def whole(summary: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the lines of a metric that belong to an anomaly type, or their mean, and to no single defect kind."""
    return summary[(summary["metric"] == metric) & (summary["defect_kind"] == "")]


def _preface(solution: Solution) -> str:
    rows = solution.subsets
    seeds = sorted(rows["seed"].unique())
    how = (
        f"estimated from {solution.sampled} orders of coming, each walked in both directions; `standard_error` in "
        "shapley_summary.csv says what chance may have done"
        if solution.sampled
        else f"exact, from all {2 ** len(solution.members) - 1} subsets"
    )
    spread = "Brackets: 95 % interval of the mean over seeds (Student's t)." if len(seeds) > 1 else (
        "One seed: nothing is known about the spread over seeds."
    )  # fmt: skip
    return (
        f"Members: {', '.join(solution.members)}. Classes: {', '.join(rows['class'].unique())}. Seeds: "
        f"{', '.join(map(str, seeds))}. Shapley values are {how}; they sum to the ensemble's metric minus that of a "
        f"constant map. {spread}\n\nMeasured on test pictures: members chosen by these tables are chosen on the test "
        "split, and what such an ensemble reaches there is an oracle figure."
    )


def _shapley_table(solution: Solution, summary: pd.DataFrame, metric: str) -> str:
    columns = _columns(summary)
    rows = [[member, *(_cell(summary, member, column) for column in columns)] for member in solution.members]
    reached = whole(solution.subsets, metric).groupby(["members", "class", "type"])["value"].mean()
    for label, size in (("chance", 0), ("all members", len(solution.members))):
        rows.append([f"*{label}*", *(f"{reached[size, *column]:.3f}" for column in columns)])
    return _markdown(["member", *map(_heading, columns)], rows)


def _redundancy(summary: pd.DataFrame) -> str:
    """How much of a member is left when all others are there: what it adds alone, and last."""
    chosen = summary[summary["type"] == MEAN].sort_values("class", kind="stable")
    rows = [
        [row["class"], row["member"], *(_signed(row[column]) for column in ("alone", "mean", "last"))]
        for row in chosen.to_dict("records")
    ]
    return "Mean over types: what a member adds alone, on average and to all others.\n\n" + _markdown(
        ["class", "member", "alone", "Shapley", "last"], rows, text=2
    )


def _synergy_table(summary: pd.DataFrame) -> str:
    columns = _columns(summary)
    pairs = list(dict.fromkeys(zip(summary["first"], summary["second"])))
    cells = summary.set_index(["first", "second", "class", "type"])["mean"]
    rows = [[f"{a}, {b}", *(_signed(cells[a, b, *column]) for column in columns)] for a, b in pairs]
    return (
        "Synergy of pairs: positive where two complete one another, negative where one can stand in for the other.\n\n"
        + _markdown(["pair", *map(_heading, columns)], rows)
    )


def _fewest(subsets: pd.DataFrame, metric: str) -> str:
    """The best subset of each size, by the mean over types and seeds."""
    chosen = whole(subsets, metric)
    chosen = chosen[(chosen["type"] == MEAN) & (chosen["members"] > 0)]
    means = chosen.groupby(["class", "members", "subset"], sort=False)["value"].mean().reset_index()
    best = means.loc[means.groupby(["class", "members"])["value"].idxmax()]
    records = best.to_dict("records")
    rows = [[row["class"], str(row["members"]), row["subset"], f"{row['value']:.3f}"] for row in records]
    head = "How few suffice: the best subset of each size, mean over types (oracle: chosen on the test split)."
    return f"{head}\n\n" + _markdown(["class", "members", "subset", metric], rows, text=3)


def _columns(summary: pd.DataFrame) -> list[tuple[str, str]]:
    """(class, type) in the order of the table."""
    return list(dict.fromkeys(zip(summary["class"], summary["type"])))


def _cell(summary: pd.DataFrame, member: str, column: tuple[str, str]) -> str:
    chosen = summary[(summary["member"] == member) & (summary["class"] == column[0]) & (summary["type"] == column[1])]
    row = chosen.iloc[0]
    interval = "" if pd.isna(row["low"]) else f" [{row['low']:+.3f}, {row['high']:+.3f}]"
    return f"{row['mean']:+.3f}{interval}"


def _signed(value: float) -> str:
    """A gain, or a hyphen for one that was not measured."""
    return "-" if pd.isna(value) else f"{value:+.3f}"


def _heading(column: tuple[str, str]) -> str:
    return f"{column[0]} {TYPES.get(column[1], column[1])}"


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]], text: int = 1) -> str:
    """A table whose first `text` columns are words."""
    rule = ["---" if index < text else "---:" for index in range(len(headings))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [headings, rule, *rows])


def _write_figures(members: Sequence[str], shapley: pd.DataFrame, synergy: pd.DataFrame, folder: Path) -> list[str]:
    """Draw what there is to draw and return the names, without endings."""
    figures = _figures(members, shapley, synergy)
    folder.mkdir()
    for name, figure in figures.items():
        save_figure(figure, folder, name)
    return list(figures)


def _figures(members: Sequence[str], shapley: pd.DataFrame, synergy: pd.DataFrame) -> dict[str, Figure]:
    found = {}
    for metric in HEADLINES:
        name = metric.replace(" ", "_").replace("@", "_at_")
        by_defect = shapley[(shapley["metric"] == metric) & (shapley["defect_kind"] != "")]
        if len(by_type := whole(shapley, metric)):
            found[f"members_{name}"] = member_figure(by_type, f"What each member adds: {metric}")
        if len(by_defect):
            found[f"defects_{name}"] = member_figure(by_defect, f"By defect kind: {metric}")
        if len(pairs := whole(synergy, metric)):
            found[f"synergy_{name}"] = synergy_figure(pairs, members, f"Synergy of pairs: {metric}")
    return found
