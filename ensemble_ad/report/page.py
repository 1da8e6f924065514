"""A run as one HTML file that needs nothing beside it: no network, no folder, no server."""

import base64
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ensemble_ad.report import tables
from ensemble_ad.report.choice import NORMAL
from ensemble_ad.report.figures import score_figure, spro_figure
from ensemble_ad.report.pictures import data_uri, heat_map, outlined, overlay, thumbnail

PICTURE_HEIGHT = 240
"""Pixels of a picture in the page: twice what its table shows, so that a fine screen and the enlarged view gain."""
FUSED = "fused"
VERDICTS = {(True, True): "detected", (True, False): "missed", (False, True): "false alarm", (False, False): "passed"}
"""(anomalous, above the threshold) -> what became of the picture."""


@dataclass(frozen=True)
class PictureRow:
    """One picture of the test split with everything that the page shows of it."""

    id: str
    kind: str
    """"good" or an anomaly type."""
    defects: tuple[str, ...]
    score: float
    """Higher is more anomalous."""
    image: np.ndarray
    """RGB uint8 [H, W, 3], of any size."""
    truth: np.ndarray
    """bool [H, W], True on defects."""
    maps: Mapping[str, np.ndarray]
    """Column name -> anomaly map [h, w] of any size; the ensemble's own is named "fused"."""
    explanation: tuple[str, ...] = ()
    """Sentences that say why the picture is anomalous, by those members that can."""


@dataclass(frozen=True)
class RunReport:
    """What one run has to say, in the order in which the page says it."""

    title: str
    class_name: str
    result: Mapping[str, Any]
    """In the schema of `ensemble-ad evaluate --json`; what is absent or null shows as a dash. `per_defect` holds
    {defect: {metric: value or {limit: value}}}."""
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]]
    """Anomaly type -> false positive rates and sPRO values, [points] each, both rising."""
    scores: Mapping[str, Sequence[float]]
    """Kind -> image scores of the whole test split."""
    validation_scores: Sequence[float]
    threshold: float
    """From normal validation pictures; a score above it (strictly) is the verdict "anomalous"."""
    scales: Mapping[str, tuple[float, float]]
    """Column name -> `normal_scale` of that detector's maps of validation pictures; the columns' order, too."""
    rows: Callable[[], Iterable[PictureRow]]
    """Gives the chosen pictures in their order, one at a time, so that they are never in memory together."""
    experiment_yaml: str
    environment: Mapping[str, str]
    cost: Mapping[str, float]
    """"what [unit]" -> value, such as {"fit patchcore [s]": 12.3, "predict, per picture [ms]": 5.6}."""
    notes: Sequence[str]
    """Warnings and remarks in plain text."""
    command: str


def write_report(report: RunReport, path: Path) -> Path:
    """Write the page and return `path`; the file appears whole or not at all.

    Raises ValueError, naming picture and column, for a row without a map for each of `report.scales`, or with one that
    is not finite or not [h, w].
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.writelines(_pieces(report))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _pieces(report: RunReport) -> Iterator[str]:
    """The page in pieces, each picture encoded when its turn comes."""
    script = _resource("table.js")
    return (
        _environment()
        .get_template("template.html")
        .generate(
            report=report,
            style=Markup(_resource("style.css")),  # noqa: S704 - a file of this package
            script=Markup(script),  # noqa: S704 - a file of this package
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
            tiles=_tiles(report),
            headline=tables.headline_table(report.result),
            defects=tables.defect_table(report.result),
            verdicts=tables.verdict_table(report.scores, report.threshold),
            figures=_figures(report),
            columns=list(report.scales),
            colours=data_uri(np.repeat(heat_map(np.linspace(0, 1, 256)[None], 0, 1), 12, axis=0)),
            pictures=_pictures(report),
            cost=tables.cost_rows(report.cost),
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("ensemble_ad.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = tables.plain
    return environment


def _resource(name: str) -> str:
    return resources.files("ensemble_ad.report").joinpath(name).read_text(encoding="utf-8")


def _tiles(report: RunReport) -> list[tuple[str, str, str]]:
    """The few figures that a reader wants first: name, value, remark."""
    means = {metric: (report.result.get(metric) or {}) for metric in ("image_auroc", "au_spro")}
    verdicts = [(kind, score > report.threshold) for kind, scores in report.scores.items() for score in scores]
    anomalous = [above for kind, above in verdicts if kind != NORMAL]
    normal = [above for kind, above in verdicts if kind == NORMAL]
    return [
        ("AU-sPRO@0.05", _written((means["au_spro"].get("0.05") or {}).get("mean")), "localisation, mean of types"),
        ("Image AUROC", _written(means["image_auroc"].get("mean")), "detection, mean of types"),
        ("Missed", f"{anomalous.count(False)}", f"of {len(anomalous)} anomalous pictures"),
        ("False alarms", f"{normal.count(True)}", f"of {len(normal)} good pictures"),
    ]


def _written(value: object) -> str:
    number = tables.number(value)
    return tables.ABSENT if number is None else f"{number:.3f}"


def _figures(report: RunReport) -> list[tuple[str, Markup]]:
    spro = spro_figure(report.curves)
    scores = score_figure(report.scores, report.validation_scores, report.threshold)
    captions = ("Saturated per-region overlap, by anomaly type", "Image scores of validation and test pictures")
    return [(caption, Markup(svg)) for caption, svg in zip(captions, (spro, scores), strict=True)]  # noqa: S704


@dataclass(frozen=True)
class _Shot:
    """One image of a row."""

    column: str
    alt: str
    uri: str | None
    height: int = 0
    width: int = 0


def _pictures(report: RunReport) -> Iterator[tuple[PictureRow, str, list[_Shot]]]:
    """Rows, each with its verdict and its images: input, ground truth, a map per column."""
    for row in report.rows():
        verdict = VERDICTS[row.kind != NORMAL, row.score > report.threshold]
        yield row, verdict, list(_shots(row, report.scales))


def _shots(row: PictureRow, scales: Mapping[str, tuple[float, float]]) -> Iterator[_Shot]:
    missing = [column for column in scales if column not in row.maps]
    if missing:
        raise ValueError(
            f"picture {row.kind}/{row.id}: expected a map for {', '.join(scales)}; {missing[0]} is missing"
        )
    small = thumbnail(row.image, PICTURE_HEIGHT)
    yield _shot(row, "input", small)
    if row.truth.any():
        yield _shot(row, "ground truth", outlined(small, row.truth))
    else:
        yield _Shot("ground truth", "no defect", None)
    for column, (low, high) in scales.items():
        try:
            shown = (
                overlay(small, row.maps[column], low, high)
                if column == FUSED
                else heat_map(row.maps[column], low, high)
            )
        except ValueError as error:
            raise ValueError(f"picture {row.kind}/{row.id}, map {column!r}: {error}") from error
        yield _shot(row, column, thumbnail(shown, PICTURE_HEIGHT))


def _shot(row: PictureRow, column: str, image: np.ndarray) -> _Shot:
    alt = f"{tables.plain(row.kind)} {row.id}, {column}"
    return _Shot(column, alt, data_uri(image), *image.shape[:2])
