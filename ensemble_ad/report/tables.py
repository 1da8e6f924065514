"""Results as tables: rows of numbers under headings, ready for a page. What was not measured is None."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FIRST_TYPES = ("logical_anomalies", "structural_anomalies")
MEAN = "mean"
ABSENT = "\N{EN DASH}"
"""Stands for what was not measured."""
MAIN_METRIC = "au_spro 0.05"
"""The figure by which results on MVTec LOCO are compared."""
HEADLINE = (
    *("image_auroc", "pixel_auroc", "au_pr", "au_pro 0.3"),
    *("au_spro 0.01", "au_spro 0.05", "au_spro 0.1", "au_spro 0.3", "au_spro 1.0"),
)
COUNTS = ("regions", "pictures")
NAMES = {
    "image_auroc": "Image AUROC",
    "pixel_auroc": "Pixel AUROC",
    "au_pr": "AU-PR",
    "au_pro": "AU-PRO",
    "au_spro": "AU-sPRO",
    "f1_max": "F1-max",
    "pro": "PRO",
    "spro": "sPRO",
}


@dataclass(frozen=True)
class Column:
    """A heading, and how numbers beneath it are written."""

    name: str
    decimals: int = 3
    share: bool = True
    """In [0, 1] and the higher the better: shown with a bar."""
    main: bool = False


@dataclass(frozen=True)
class Table:
    """Numbers [rows, columns] with a label for each row; also what comparisons of several runs are shown with."""

    caption: str
    label: str
    """Heading of the row labels."""
    columns: Sequence[Column]
    rows: Sequence[tuple[str, Sequence[float | None]]]


def headline_table(result: Mapping[str, Any]) -> Table:
    """Anomaly type × metric, the mean last; `result` follows the schema of `ensemble-ad evaluate --json`."""
    by_metric = {metric: _of_types(result, metric) for metric in HEADLINE}
    types = _types(by_metric.values())
    rows = [(kind, [number(by_metric[metric].get(kind)) for metric in HEADLINE]) for kind in types]
    return Table("By anomaly type", "Type", [_column(metric) for metric in HEADLINE], rows)


def defect_table(result: Mapping[str, Any]) -> Table:
    """Defect × metric, from `result["per_defect"] = {defect: {metric: value or {limit: value}}}`; texts are skipped."""
    per_defect = {defect: dict(_flat(values)) for defect, values in (result.get("per_defect") or {}).items()}
    metrics = list(dict.fromkeys(metric for values in per_defect.values() for metric in values))
    rows = [(defect, [number(values.get(metric)) for metric in metrics]) for defect, values in per_defect.items()]
    return Table("By defect", "Defect", [_column(metric) for metric in metrics], rows)


def verdict_table(scores: Mapping[str, Sequence[float]], threshold: float) -> Table:
    """Kind × pictures, pictures above the threshold, their share."""
    columns = [
        Column("Pictures", decimals=0, share=False),
        Column("Above threshold", decimals=0, share=False),
        Column("Share above"),
    ]
    rows: list[tuple[str, Sequence[float | None]]] = []
    for kind, of_kind in scores.items():
        above = sum(score > threshold for score in of_kind)
        rows.append((kind, [len(of_kind), above, above / len(of_kind) if len(of_kind) else None]))
    return Table("Verdicts", "Kind", columns, rows)


def cost_rows(cost: Mapping[str, float]) -> list[tuple[str, str, str]]:
    """`{"fit patchcore [s]": 12.34}` -> `[("fit patchcore", "12.3", "s")]`; a name without brackets has no unit.

    >>> cost_rows({"predict, per picture [ms]": 5.678, "peak memory [MiB]": 1234.5})
    [('predict, per picture', '5.68', 'ms'), ('peak memory', '1,234', 'MiB')]
    """
    rows = []
    for name, value in cost.items():
        what, unit = re.fullmatch(r"(.*?)(?:\s*\[([^\]]*)\])?", name, re.DOTALL).groups()  # type: ignore[union-attr]
        decimals = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
        rows.append((what, f"{value:,.{decimals}f}", unit or ""))
    return rows


def metric_name(metric: str) -> str:
    """A key of the result, with the limit of integration where it has one, as the field writes it.

    >>> metric_name("au_spro 0.05"), metric_name("image_auroc")
    ('AU-sPRO@0.05', 'Image AUROC')
    """
    key, _, limit = metric.partition(" ")
    name = NAMES.get(key, plain(key))
    return f"{name}@{limit}" if limit else name


def plain(name: str) -> str:
    """A key as words.

    >>> plain("logical_anomalies")
    'Logical anomalies'
    """
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def number(value: object) -> float | None:
    """A finite number, or None for all that is not one: absent, null, NaN."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _column(metric: str) -> Column:
    if metric in COUNTS:
        return Column(metric_name(metric), decimals=0, share=False)
    return Column(metric_name(metric), main=metric == MAIN_METRIC)


def _of_types(result: Mapping[str, Any], metric: str) -> Mapping[str, Any]:
    """The values {type: value} of `result[key]`, or of `result[key][limit]` for a metric that is "key limit"."""
    key, _, limit = metric.partition(" ")
    values = result.get(key) or {}
    return (values.get(limit) or {}) if limit else values


def _types(by_metric: Iterable[Mapping[str, Any]]) -> list[str]:
    """The two types of LOCO, then others that were measured, then the mean."""
    seen = dict.fromkeys(kind for values in by_metric for kind in values if kind != MEAN)
    return [*FIRST_TYPES, *(kind for kind in seen if kind not in FIRST_TYPES), MEAN]


def _flat(values: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from ((f"{key} {limit}", inner) for limit, inner in value.items())
        elif not isinstance(value, str):
            yield key, value
