"""The tidy table condensed: mean and deviation over seeds, by class and type and over classes, and who is best."""

from collections.abc import Iterator, Sequence

import pandas as pd

from ensemble_ad.console import TYPES

ALL = "all classes"
"""Stands for the mean over the classes of one layout."""
MEAN = "mean"
GAP = "gap"
"""Stands for the mean over MVTec AD's classes minus that over LOCO's, where a survey has both."""
COLUMNS = ["metric", "layout", "class", "type", "detector", "oracle", "mean", "sd", "seeds", "best"]
DECIMALS = 3
"""Of a mean that are shown; beyond them nobody is better."""
SAME = ["metric", "layout", "class", "type"]
"""What makes a column of a summary."""


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Return one line per metric, class, type and detector: mean, standard deviation (n - 1) and count of its seeds.

    A mean over classes is taken seed by seed, and only where no class of the survey is missing: means over different
    classes cannot be compared. `best` marks the highest mean of a column as it is shown, oracle lines apart.

    >>> both = {"layout": "LOCO", "detector": "a", "preset": "cpu", "size": "64x64", "metric": "m", "type": "mean"}
    >>> rows = [{**both, "class": name, "seed": 0, "value": value} for name, value in (("x", 0.5), ("y", 1.0))]
    >>> table = pd.DataFrame(rows).assign(defect_kind="", oracle=False)
    >>> summarise(table).set_index("class")["mean"].to_dict()
    {'x': 0.5, 'y': 1.0, 'all classes': 0.75}
    """
    values = table[(table["metric"] != "") & (table["defect_kind"] == "")].assign(detector=row_labels(table))
    values = values[["metric", "layout", "class", "type", "detector", "oracle", "seed", "value"]]
    seen = pd.concat([values, *_over_classes(values, table), *_gaps(values, table)], ignore_index=True)
    over = ["metric", "layout", "class", "type", "detector", "oracle"]
    found = seen.groupby(over, sort=False)["value"].agg(["mean", "std", "count"]).reset_index()
    found = found.rename(columns={"std": "sd", "count": "seeds"})
    shown = found["mean"].round(DECIMALS)
    highest = shown.groupby([found[key] for key in (*SAME, "oracle")], sort=False).transform("max")
    return found.assign(best=(shown == highest) & (found["layout"] != GAP))[COLUMNS]


def row_labels(table: pd.DataFrame) -> pd.Series:
    """Return what a line is called: its detector, with preset and size where the survey has several."""
    labels = table["detector"].astype(str)
    for key, text in (("preset", "{}"), ("size", "{}")):
        if table[key].nunique() > 1:
            labels = labels + table[key].map(lambda value, text=text: f", {text.format(value)}")
    return labels


def _over_classes(values: pd.DataFrame, table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The mean over the classes of each layout that has several."""
    for layout in _layouts(table):
        classes = _classes(table, layout)
        if len(classes) > 1:
            yield _mean_of(values, classes).assign(**{"layout": layout, "class": ALL})


def _gaps(values: pd.DataFrame, table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """MVTec AD minus LOCO, of the mean over types."""
    if set(_layouts(table)) != {"LOCO", "MVTec AD"}:
        return
    sides = [_mean_of(values, _classes(table, layout)) for layout in ("MVTec AD", "LOCO")]
    keys = ["metric", "type", "detector", "oracle", "seed"]
    both = sides[0].merge(sides[1], on=keys)
    both = both[both["type"] == MEAN]
    yield both[keys].assign(value=both["value_x"] - both["value_y"], layout=GAP).assign(**{"class": ALL})


def _mean_of(values: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """The mean over `classes` for each seed, where none is missing."""
    chosen = values[values["class"].isin(classes)]
    grouped = chosen.groupby(["metric", "type", "detector", "oracle", "seed"], sort=False)["value"]
    found = grouped.agg(["mean", "count"]).reset_index()
    return found[found["count"] == len(classes)].rename(columns={"mean": "value"}).drop(columns="count")


def _layouts(table: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(table["layout"]))


def _classes(table: pd.DataFrame, layout: str) -> list[str]:
    return list(dict.fromkeys(table.loc[table["layout"] == layout, "class"]))


def type_name(kind: str) -> str:
    """Return an anomaly type for people.

    >>> type_name("logical_anomalies")
    'logical'
    """
    return TYPES.get(kind, kind)
