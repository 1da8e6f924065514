"""The folder that a comparison leaves: compare.md, the same as index.html, compare.csv, over_classes.csv, figures."""

from collections.abc import Iterator
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from ensemble_ad.comparison.compare import Comparison
from ensemble_ad.comparison.diagram import critical_difference_diagram
from ensemble_ad.comparison.estimates import ALL
from ensemble_ad.comparison.forest import STYLE, forest
from ensemble_ad.comparison.sampling import MEAN
from ensemble_ad.comparison.text import estimates_csv, markdown, over_classes_csv, summary
from ensemble_ad.console import HEADLINES
from ensemble_ad.errors import StoreError
from ensemble_ad.report.document import write_document
from ensemble_ad.whole import replacing

PAGE = "compare.md"
"""A folder with this file is a comparison and may be replaced by another one."""
DOCUMENT = "index.html"
"""The same page, to look at in a browser."""
FORMATS = ("png", "svg")


def refuse_foreign(out: Path) -> None:
    """Raise StoreError when `out` exists and is not a comparison that may be replaced."""
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / PAGE).exists())):
        raise StoreError(f"{out}: exists and is not a comparison; name another folder with --out")


def write_comparison(comparison: Comparison, out: Path, command: str) -> None:
    """Write the folder `out`, whole or not at all."""
    refuse_foreign(out)
    with replacing(out) as folder:
        (folder / "figures").mkdir()
        names = []
        for name, figure in _figures(comparison):
            names.append(name)
            with rc_context(STYLE):
                for suffix in FORMATS:
                    figure.savefig(folder / "figures" / f"{name}.{suffix}", dpi=150, bbox_inches="tight")
        estimates_csv(comparison).to_csv(folder / "compare.csv", index=False)
        if comparison.over_classes:
            over_classes_csv(comparison).to_csv(folder / "over_classes.csv", index=False)
        text = markdown(comparison, command, names)
        (folder / PAGE).write_text(text)
        write_document(text, folder / DOCUMENT)


def _figures(comparison: Comparison) -> Iterator[tuple[str, Figure]]:
    if comparison.differences:
        yield "differences", forest(summary(comparison), HEADLINES, comparison.level)
    several = len(comparison.classes) > 1
    values = [one for one in comparison.values if one.type == MEAN and (one.class_name == ALL or not several)]
    yield "values", forest(values or comparison.values, HEADLINES, comparison.level)
    for ranking in comparison.rankings:
        yield f"critical_difference_{_file_name(ranking.metric)}", critical_difference_diagram(ranking)


def _file_name(metric: str) -> str:
    """A metric as part of a file's name.

    >>> _file_name("AU-sPRO@0.05")
    'au_spro_0.05'
    """
    return metric.lower().replace("-", "_").replace("@", "_").replace(" ", "_")
