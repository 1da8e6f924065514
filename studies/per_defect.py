"""Which defects are still missed? A survey's table.csv -> a Markdown table: defect kinds x detectors, hardest first.

python studies/per_defect.py out/surveys/9_metal_parts/table.csv [METRIC]
"""

import sys
from pathlib import Path

import pandas as pd


def per_defect(table: pd.DataFrame, metric: str = "AU-sPRO@0.05") -> pd.DataFrame:
    """Return mean ± standard deviation over seeds, a row per class, type and defect kind, a column per detector.

    The first row is the kind that the best detector for it finds worst. A metric chosen by looking at one table of test
    pictures is no ground for choosing a detector: this says where to look next.
    """
    rows = table[(table["metric"] == metric) & table["defect_kind"].notna() & ~table["oracle"]]
    grouped = rows.groupby(["class", "type", "defect_kind", "detector"], sort=False)["value"]
    means, spreads = grouped.mean().unstack(sort=False), grouped.std().unstack(sort=False)
    text = means.map("{:.3f}".format) + spreads.map(lambda sd: "" if pd.isna(sd) else f" ± {sd:.3f}")
    return text.loc[means.max(axis=1).sort_values(kind="stable").index]


def markdown(table: pd.DataFrame) -> str:
    """Return a table as Markdown."""
    heads = [*table.index.names, *table.columns]
    lines = [heads, ["---"] * table.index.nlevels + ["---:"] * len(table.columns)]
    lines += [[*index, *row] for index, row in zip(table.index, table.to_numpy())]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines)


if __name__ == "__main__":
    sys.stdout.write(markdown(per_defect(pd.read_csv(Path(sys.argv[1])), *sys.argv[2:3])) + "\n")
