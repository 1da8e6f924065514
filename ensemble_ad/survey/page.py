"""A survey as one HTML file that needs nothing beside it: the summary's tables, a figure per headline metric."""

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ensemble_ad.console import HEADLINES
from ensemble_ad.survey.figures import metrics_in, page_figure
from ensemble_ad.survey.rendering import grids


def page(title: str, about: str, summary: pd.DataFrame, failed: Sequence[str]) -> str:
    """Return the page; `about` says what was surveyed, `failed` has a line for each failed cell."""
    style, script = _resource("style.css"), _resource("table.js")
    metrics = [
        (metric, list(grids(summary, [metric])), Markup(page_figure(summary, metric)))  # noqa: S704, drawn here
        for metric in HEADLINES
        if metric in metrics_in(summary)
    ]
    environment = Environment(
        loader=PackageLoader("ensemble_ad.survey", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        title=title,
        about=about,
        metrics=metrics,
        failed=failed,
        style=Markup(style),  # noqa: S704, a file of this package
        script=Markup(script),  # noqa: S704, a file of this package
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )


def _resource(name: str) -> str:
    return resources.files("ensemble_ad.report").joinpath(name).read_text(encoding="utf-8")
