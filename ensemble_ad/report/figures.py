"""Curves and histograms as inline SVG that takes its colours and its font from the page, light or dark."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ensemble_ad.report.tables import plain

WIDTH, HEIGHT = 5.0, 3.4
"""Inches of 72 SVG units: small, so that the lettering stays legible where the page makes a figure narrower."""
PAINT = {
    "#0a0a01": "var(--ink)",
    "#0a0a02": "var(--muted)",
    "#0a0a03": "var(--line)",
    "#0a0a04": "var(--good)",
    "#0a0a05": "var(--logical)",
    "#0a0a06": "var(--structural)",
    "#0a0a07": "var(--other)",
    "#0a0a08": "var(--accent)",
}
"""Stand-in colours that are drawn with, and what the page knows them as."""
INK, MUTED, LINE, GOOD, LOGICAL, STRUCTURAL, OTHER, ACCENT = PAINT
KIND_PAINT = {"good": GOOD, "validation": MUTED, "logical_anomalies": LOGICAL, "structural_anomalies": STRUCTURAL}
LARGEST_RATE = 0.3
"""Of false positives shown in an sPRO curve: beyond it a map marks most of the picture."""
POINTS = 400
"""Of a curve that are drawn; more cannot be told apart at this size."""
BINS = 32
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.size": 11,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
}


def spro_figure(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], limit: float = 0.05) -> str:
    """Curves of sPRO over the false positive rate, one per type, with the `limit` of integration marked -> SVG.

    `curves` holds, per type, rates and sPRO values [points], both rising from 0.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        axes = figure.subplots()
        axes.grid(visible=True)
        axes.axvspan(0, limit, color=ACCENT, alpha=0.08, linewidth=0)
        axes.text(limit, 0.02, f" FPR {limit:g}", color=MUTED, fontsize=9)
        for kind, (rates, spro) in curves.items():
            shown = np.linspace(0, LARGEST_RATE, POINTS)
            paint = KIND_PAINT.get(kind, OTHER)
            axes.plot(shown, np.interp(shown, rates, spro, right=np.nan), color=paint, linewidth=2, label=plain(kind))
        axes.set(xlim=(0, LARGEST_RATE), ylim=(0, 1.01), xlabel="False positive rate", ylabel="sPRO")
        if curves:
            axes.legend(frameon=False, loc="lower right", labelcolor=INK, bbox_to_anchor=(1, 0.06))
        return inline_svg(figure, "spro", "sPRO over the false positive rate: " + ", ".join(map(plain, curves)))


def score_figure(scores: Mapping[str, Sequence[float]], validation_scores: Sequence[float], threshold: float) -> str:
    """Histograms of image scores, one above the other on one axis: validation, then each kind -> SVG."""
    rows = {"validation": validation_scores, **scores}
    edges = np.histogram_bin_edges(np.concatenate([[threshold], *map(np.asarray, rows.values())]), BINS)
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, max(HEIGHT, 0.85 * len(rows) + 0.5)), layout="constrained")
        stack = figure.subplots(len(rows), sharex=True, squeeze=False)[:, 0]
        for axes, (kind, values) in zip(stack, rows.items(), strict=True):
            _histogram(axes, kind, np.asarray(values, float), edges, threshold)
        stack[-1].set_xlabel(f"Image score; the line is the threshold, {threshold:.4g}")
        stack[-1].tick_params(bottom=True)
        return inline_svg(figure, "scores", "Histograms of image scores: " + ", ".join(map(plain, rows)))


def _histogram(axes: Axes, kind: str, values: np.ndarray, edges: np.ndarray, threshold: float) -> None:
    counts, _ = np.histogram(values, edges)
    axes.stairs(counts, edges, fill=True, color=KIND_PAINT.get(kind, OTHER), alpha=0.85)
    axes.axvline(threshold, color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
    axes.set_title(f"{plain(kind)} · {len(values)}", loc="left", fontsize=10, pad=2)
    axes.set_yticks([int(counts.max(initial=0))] if counts.any() else [])
    axes.tick_params(bottom=False)
    axes.set_ylim(0, 1.3 * max(1, counts.max(initial=0)))


def inline_svg(figure: Figure, name: str, description: str) -> str:
    """A figure as an SVG element for a page: no document around it, unique ids, the page's colours and font."""
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = text.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    size = re.search(r'viewBox="[^"]*"', svg)
    label = re.sub(r"[^\w ,:.-]", " ", description)
    svg = re.sub(
        r"<svg[^>]*>", f'<svg class="figure" role="img" aria-label="{label}" {size and size[0]}>', svg, count=1
    )
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1; font-family: inherit", svg)
    for paint, variable in PAINT.items():
        svg = svg.replace(paint, variable)
    return svg.strip()
