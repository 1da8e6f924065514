"""The summary against means worked by hand, and its tables as a reader gets them."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ensemble_ad.console import HEADLINES
from ensemble_ad.survey.figures import metrics_in, page_figure, write_figures
from ensemble_ad.survey.page import page
from ensemble_ad.survey.rendering import Grid, grids, latex, markdown
from ensemble_ad.survey.report import failures_in, summary_markdown
from ensemble_ad.survey.summary import ALL, GAP, summarise
from ensemble_ad.survey.table import COLUMNS

LOGICAL, STRUCTURAL = "logical_anomalies", "structural_anomalies"
METRIC = HEADLINES[1]


def row(value: float | None, **changes: Any) -> dict[str, Any]:
    usual = {
        "class": "pins", "layout": "LOCO", "detector": "a", "preset": "cpu", "seed": 0, "size": "64x64", "type": "mean",
        "defect_kind": "", "metric": METRIC, "value": value, "seconds": 1.0, "mb": 1.0, "run_id": "x", "oracle": False,
        "failure": "",
    }  # fmt: skip
    return usual | changes


def table_of(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS)


def line(summary: pd.DataFrame, **where: Any) -> dict[str, Any]:
    for key, value in where.items():
        summary = summary[summary["class" if key == "class_" else key] == value]
    (found,) = summary.to_dict("records")
    return found


@pytest.fixture
def table() -> pd.DataFrame:
    """Two LOCO classes, one of MVTec AD; detectors a and b with two seeds, b without a class at seed 1, oracle c."""
    values = {
        ("pins", "a"): (0.5, 0.7), ("bolts", "a"): (0.7, 0.9), ("tile", "a"): (0.9, 1.0),
        ("pins", "b"): (0.6, 0.6), ("bolts", "b"): (0.4, None), ("tile", "b"): (0.8, 0.8),
        ("pins", "c"): (0.95, 0.97), ("bolts", "c"): (0.9, 0.9), ("tile", "c"): (1.0, 1.0),
    }  # fmt: skip
    rows = []
    for (name, detector), seeds in values.items():
        layout = "MVTec AD" if name == "tile" else "LOCO"
        where = {"class": name, "layout": layout, "detector": detector, "oracle": detector == "c"}
        for seed, value in enumerate(seeds):
            if value is None:
                rows.append(row(None, **where, seed=seed, metric="", type="", failure="out of memory"))
                continue
            rows.append(row(value, **where, seed=seed))
            kinds = ("cracked",) if layout == "MVTec AD" else (LOGICAL, STRUCTURAL)
            rows += [row(value, **where, seed=seed, type=kind) for kind in kinds]
            rows.append(row(0.123, **where, seed=seed, type=kinds[0], defect_kind="scratch"))
    return table_of(rows)


def test_mean_deviation_and_count_are_over_seeds(table: pd.DataFrame) -> None:
    found = line(summarise(table), class_="pins", detector="a", type="mean")
    assert found["mean"] == pytest.approx(0.6)
    assert found["sd"] == pytest.approx(0.1 * 2**0.5)  # n - 1: sqrt(2 * 0.1 ** 2 / 1)
    assert found["seeds"] == 2


def test_the_mean_over_classes_is_taken_seed_by_seed(table: pd.DataFrame) -> None:
    found = line(summarise(table), class_=ALL, layout="LOCO", detector="a", type=LOGICAL)
    assert found["mean"] == pytest.approx((0.6 + 0.8) / 2)
    assert found["sd"] == pytest.approx(0.2 / 2**0.5)  # seed means 0.6 and 0.8


def test_a_seed_without_one_of_the_classes_has_no_mean_over_classes(table: pd.DataFrame) -> None:
    found = line(summarise(table), class_=ALL, layout="LOCO", detector="b", type="mean")
    assert (found["mean"], found["seeds"]) == (pytest.approx(0.5), 1)
    assert pd.isna(found["sd"])


def test_mvtec_ad_and_loco_are_apart_and_their_difference_is_given(table: pd.DataFrame) -> None:
    found = line(summarise(table), layout=GAP, detector="a")
    assert found["mean"] == pytest.approx(((0.9 - 0.6) + (1.0 - 0.8)) / 2)
    assert not summarise(table[table["layout"] == "LOCO"])["layout"].eq(GAP).any()


def test_one_class_has_no_mean_over_classes(table: pd.DataFrame) -> None:
    assert ALL not in set(summarise(table[table["class"] == "pins"])["class"])


def test_the_best_of_a_column_is_marked_and_an_oracle_competes_with_oracles_only(table: pd.DataFrame) -> None:
    summary = summarise(table)
    best = summary[summary["best"] & (summary["type"] == "mean")]
    assert sorted(best.loc[best["class"] == "pins", "detector"]) == ["a", "b", "c"]  # a and b share 0.6
    assert sorted(best.loc[best["class"] == "tile", "detector"]) == ["a", "c"]


def test_single_defect_kinds_are_left_to_the_table(table: pd.DataFrame) -> None:
    assert 0.123 not in set(summarise(table)["mean"])


def test_presets_and_sizes_name_a_line_only_where_there_are_several() -> None:
    rows = [row(0.5, size="64x64"), row(0.6, size="64x96")]
    assert set(summarise(table_of(rows))["detector"]) == {"a, 64x64", "a, 64x96"}
    assert set(summarise(table_of(rows[:1]))["detector"]) == {"a"}


def test_markdown_has_the_means_first_then_the_types_and_the_failures(table: pd.DataFrame) -> None:
    text = summary_markdown(summarise(table), "About.", failures_in(table))
    assert text.startswith("About.")
    assert "| a | **0.700 ± 0.141** |" in text
    assert "| c (oracle) |" in text
    assert "| detector | pins logical | pins structural | bolts logical | bolts structural |" in text
    assert "MVTec AD minus LOCO" in text
    assert "- b, bolts, seed 1: out of memory" in text


def test_oracles_come_last(table: pd.DataFrame) -> None:
    for grid in grids(summarise(table)):
        assert [name for name, _ in grid.named()] == ["a", "b", "c (oracle)"]


def test_latex_has_a_rule_before_oracles_and_escapes_names() -> None:
    grid = Grid("t", ("100 %",), (("a_b & c", (("0.9 ± 0.1", True),)), ("best", (("1.0", False),))), oracles=1)
    assert latex(grid).splitlines() == [
        "% t",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"detector & 100 \% \\",
        r"\midrule",
        r"a\_b \& c & \textbf{0.9 $\pm$ 0.1} \\",
        r"\midrule",
        r"best (oracle) & 1.0 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_a_bar_in_a_name_does_not_break_a_markdown_table() -> None:
    assert r"a\|b" in markdown(Grid("t", ("m",), (("a|b", (("1", False),)),)))


def test_a_column_nobody_filled_is_a_dash() -> None:
    rows = [row(0.5), row(0.7, **{"class": "bolts"}), row(0.6, detector="b")]
    (means,) = (grid for grid in grids(summarise(table_of(rows))) if "means" in grid.title)
    assert dict(means.named())["b"] == (("-", False), ("0.600", True), ("-", False))


def test_figures_and_page_show_every_detector(table: pd.DataFrame, tmp_path: Path) -> None:
    summary = summarise(table)
    write_figures(summary, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["au-spro_0.05.png"]
    svg = page_figure(summary, METRIC)
    assert all(f">{name}</text>" in svg for name in ("a", "b", "c"))
    text = page("my <survey>", "About.", summary, ["b, bolts: <out>"])
    assert "my &lt;survey&gt;" in text
    assert "b, bolts: &lt;out&gt;" in text
    assert "<strong>0.700 ± 0.141</strong>" in text
    assert "src=" not in text
    assert "href=" not in text.replace('href="data:,"', "").replace('href="#', "")


def test_nothing_finished_is_no_error(tmp_path: Path) -> None:
    failed = table_of([row(None, metric="", type="", failure="no good")])
    summary = summarise(failed)
    assert metrics_in(summary) == []
    assert "no good" in summary_markdown(summary, "", failures_in(failed))
    assert len(summarise(table_of([]))) == 0
    assert "no good" in page("t", "", summary, failures_in(failed))
