"""A summary as tables for Markdown and LaTeX: a row per detector, the best of each column bold."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from ensemble_ad.console import HEADLINES, TYPES
from ensemble_ad.survey.summary import ALL, DECIMALS, GAP, MEAN, type_name


@dataclass(frozen=True)
class Grid:
    """One table: its title, its columns and, row by row, cells of text that may be bold."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[str, bool], ...]], ...]
    """(detector, ((text, bold), ...)); oracle rows last."""
    oracles: int = 0
    """How many of the last rows are oracles."""

    def named(self) -> Iterator[tuple[str, tuple[tuple[str, bool], ...]]]:
        """Yield the rows, oracles marked as such."""
        first = len(self.rows) - self.oracles
        for number, (name, cells) in enumerate(self.rows):
            yield name if number < first else f"{name} (oracle)", cells


def grids(summary: pd.DataFrame, metrics: Sequence[str] = HEADLINES) -> Iterator[Grid]:
    """Yield, for each metric, the table over classes and the table by class and type."""
    for metric in metrics:
        of_metric = summary[summary["metric"] == metric]
        for layout in [name for name in dict.fromkeys(of_metric["layout"]) if name != GAP]:
            part = of_metric[of_metric["layout"] == layout]
            title = f"{metric}, {layout}" if of_metric["layout"].nunique() > 1 else metric
            classes = [name for name in dict.fromkeys(part["class"]) if name != ALL]
            yield _grid(part, f"{title}: means", _mean_columns(part, classes))
            if len(classes) > 1 and any(kind in TYPES for kind in part["type"]):
                yield _grid(part, f"{title}: by class and type", _type_columns(part, classes))
        gap = of_metric[of_metric["layout"] == GAP]
        if len(gap):
            yield _grid(gap, f"{metric}: MVTec AD minus LOCO, means over classes", [("difference", ALL, MEAN)])


Column = tuple[str, str, str]
"""(heading, class, type)."""


def _mean_columns(part: pd.DataFrame, classes: Sequence[str]) -> list[Column]:
    whole = ALL if len(classes) > 1 else classes[0]
    kinds = [kind for kind in (*TYPES, MEAN) if kind in set(part.loc[part["class"] == whole, "type"])]
    overall = [(type_name(kind), whole, kind) for kind in kinds]
    return overall + ([(name, name, MEAN) for name in classes] if len(classes) > 1 else [])


def _type_columns(part: pd.DataFrame, classes: Sequence[str]) -> list[Column]:
    present = set(zip(part["class"], part["type"]))
    return [(f"{name} {type_name(kind)}", name, kind) for name in classes for kind in TYPES if (name, kind) in present]


def _grid(part: pd.DataFrame, title: str, columns: Sequence[Column]) -> Grid:
    cells = {(row["detector"], row["class"], row["type"]): _cell(row) for row in part.to_dict("records")}
    oracle = part.groupby("detector", sort=False)["oracle"].any()
    detectors = sorted(oracle.index, key=lambda name: bool(oracle[name]))  # stable: the grid's order otherwise
    rows = [(name, tuple(cells.get((name, *column[1:]), ("-", False)) for column in columns)) for name in detectors]
    return Grid(title, tuple(column[0] for column in columns), tuple(rows), int(oracle.sum()))


def _cell(row: dict) -> tuple[str, bool]:
    spread = "" if pd.isna(row["sd"]) else f" ± {row['sd']:.{DECIMALS}f}"
    return f"{row['mean']:.{DECIMALS}f}{spread}", bool(row["best"])


def markdown(grid: Grid) -> str:
    """Return a table as Markdown.

    >>> print(markdown(Grid("AUROC", ("mean",), (("a", (("0.9", True),)),))))
    **AUROC**
    <BLANKLINE>
    | detector | mean |
    |---|---:|
    | a | **0.9** |
    """
    lines = [f"**{grid.title}**", "", f"| detector | {' | '.join(map(_barless, grid.columns))} |"]
    lines.append("|---" + "|---:" * len(grid.columns) + "|")
    lines += [
        f"| {_barless(name)} | {' | '.join(_bold(cell, '**{}**') for cell in cells)} |" for name, cells in grid.named()
    ]
    return "\n".join(lines)


def latex(grid: Grid) -> str:
    """Return a table for LaTeX with the package booktabs."""
    head = " & ".join(["detector", *map(_escaped, grid.columns)])
    rows = [
        " & ".join([_escaped(name), *(_bold(cell, r"\textbf{{{}}}").replace("±", r"$\pm$") for cell in cells)]) + r" \\"
        for name, cells in grid.named()
    ]
    if grid.oracles:
        rows.insert(len(rows) - grid.oracles, r"\midrule")
    lines = [
        f"% {grid.title}",
        rf"\begin{{tabular}}{{l{'r' * len(grid.columns)}}}",
        r"\toprule",
        head + r" \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines)


def _bold(cell: tuple[str, bool], pattern: str) -> str:
    text, bold = cell
    return pattern.format(text) if bold else text


def _barless(text: str) -> str:
    return text.replace("|", r"\|")


def _escaped(text: str) -> str:
    for sign in "&%$#_{}":
        text = text.replace(sign, f"\\{sign}")
    return text
