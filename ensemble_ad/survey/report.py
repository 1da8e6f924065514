"""What a survey leaves beside its cells: table.csv, the summaries, the figures, a page."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ensemble_ad.survey.figures import write_figures
from ensemble_ad.survey.grid import Cell
from ensemble_ad.survey.page import page
from ensemble_ad.survey.rendering import grids, latex, markdown
from ensemble_ad.survey.summary import summarise
from ensemble_ad.survey.table import tidy_table
from ensemble_ad.whole import adding_to


def write_report(cells: Sequence[Cell], out: Path) -> pd.DataFrame:
    """Write all files anew from the records in `out`; return the tidy table."""
    table = tidy_table(cells, out / "cells")
    summary, about, failed = summarise(table), about_survey(cells, table), failures_in(table)
    with adding_to(out) as folder:
        table.to_csv(folder / "table.csv", index=False)
        summary.to_csv(folder / "summary.csv", index=False)
        (folder / "summary.md").write_text(summary_markdown(summary, about, failed))
        (folder / "summary.tex").write_text("\n\n".join(latex(grid) for grid in grids(summary)) + "\n")
        (folder / "index.html").write_text(page(out.resolve().name, about, summary, failed))
        write_figures(summary, folder / "figures")
    return table


def about_survey(cells: Sequence[Cell], table: pd.DataFrame) -> str:
    """Return what was surveyed, and how the tables are to be read."""
    keys = {cell.key for cell in cells}
    recorded = len(keys & set(table.loc[table["failure"] == "", "run_id"]))
    seeds = ", ".join(map(str, sorted({cell.setting.experiment.seed for cell in cells})))
    presets = ", ".join(sorted({cell.setting.experiment.preset for cell in cells}))
    return (
        f"{recorded} of {len(keys)} cells; seeds {seeds}; presets {presets}. Mean ± standard deviation over seeds; "
        "bold: the best of a column. A mean over classes is given where no class is missing."
    )


def failures_in(table: pd.DataFrame) -> list[str]:
    """Return a line for each failed cell: detector, class, seed, reason."""
    failed = table[table["failure"] != ""]
    keys = ["detector", "class", "seed", "failure"]
    return [f"{detector}, {name}, seed {seed}: {reason}" for detector, name, seed, reason in failed[keys].to_numpy()]


def summary_markdown(summary: pd.DataFrame, about: str, failed: Sequence[str]) -> str:
    """Return the tables with what a reader has to know about them."""
    parts = [about, *map(markdown, grids(summary))]
    if failed:
        parts.append("\n".join(["**Failed**", "", *(f"- {line}" for line in failed)]))
    return "\n\n".join(parts) + "\n"
