"""The report page and its pictures."""

import base64
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensemble_ad.report import PictureRow, RunReport, choose_pictures, contact_sheet, heat_map, overlay, write_report
from ensemble_ad.report.figures import score_figure, spro_figure
from ensemble_ad.report.pictures import GAP, OUTLINE, normal_scale, outlined, thumbnail
from ensemble_ad.report.tables import cost_rows, defect_table, headline_table, verdict_table

VOID = {"meta", "link", "img", "input", "br", "hr", "wbr"}
HOSTILE = "<script>alert('x')</script>\"'&.png"


class Page(HTMLParser):
    """Collects tags, attributes and text, and checks that what is opened is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], Counter(), [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def values(self, name):
        return [value for key, value in self.attributes if key == name]


def picture(number, kind="good", score=0.5, defects=(), columns=("patchcore", "fused"), size=(30, 40)):
    rng = np.random.default_rng(number)
    truth = np.zeros(size, bool)
    truth[5:9, 5:9] = kind != "good"
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    return PictureRow(
        f"{number:03}", kind, defects, score, image, truth, {name: rng.random((8, 8)) for name in columns}
    )


@pytest.fixture
def report():
    rows = [
        picture(0, "logical_anomalies", 0.4, ("missing_hole",)),
        picture(1, "good", 0.9),
        picture(2, "logical_anomalies", 1.5, ("missing_hole", "additional_hole")),
        picture(3, "good", 0.2),
    ]
    rates = np.linspace(0, 1, 50)
    types = {"logical_anomalies": 0.75, "structural_anomalies": None, "mean": 0.75}
    return RunReport(
        title="A run",
        class_name="flat_connector",
        result={"image_auroc": types, "au_spro": {"0.05": types}, "per_defect": {"missing_hole": {"au_pr": 0.25}}},
        curves={"logical_anomalies": (rates, np.sqrt(rates))},
        scores={"good": [0.9, 0.2], "logical_anomalies": [0.4, 1.5]},
        validation_scores=[0.1, 0.3],
        threshold=0.8,
        scales={"patchcore": (0.0, 1.0), "fused": (0.0, 1.0)},
        rows=lambda: iter(rows),
        experiment_yaml="seed: 0\n",
        environment={"Python": "3.11"},
        cost={"fit patchcore [s]": 3.0},
        notes=["one note"],
        command="ensemble-ad run",
    )


def written(report, folder):
    return write_report(report, folder / "report.html").read_text(encoding="utf-8")


# Pictures


def test_heat_map_gets_lighter_as_scores_rise():
    lightness = heat_map(np.linspace(0, 1, 64)[None], 0, 1).astype(float) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness[0]) >= -0.5).all()
    assert lightness[0, -1] > 200 > 10 > lightness[0, 0]


def test_heat_map_of_one_scale_shows_equal_scores_alike_and_clips_the_rest():
    colours = heat_map(np.array([[-5.0, 2.0, 3.0, 4.0, 99.0]]), 2, 4)[0]
    assert (colours[0] == colours[1]).all()
    assert (colours[3] == colours[4]).all()
    assert (colours[2] == heat_map(np.array([[0.5]]), 0, 1)[0, 0]).all()


def test_scale_of_constant_normal_maps_still_shows_what_exceeds_them():
    low, high = normal_scale(np.full((3, 4, 4), 0.25))
    dark, bright = heat_map(np.array([[0.25, 0.26]]), low, high)[0]
    assert dark.sum() < 20
    assert bright.sum() > 500


@pytest.mark.parametrize(("image", "cells"), [((40, 60), (10, 15)), ((31, 7), (4, 4)), ((8, 8), (32, 64))])
def test_overlay_has_the_size_of_its_picture(image, cells):
    shown = overlay(np.zeros((*image, 3), np.uint8), np.random.default_rng(0).random(cells), 0, 1)
    assert shown.shape == (*image, 3)
    assert shown.dtype == np.uint8


def test_overlay_leaves_the_picture_where_scores_are_usual_and_colours_it_where_high():
    image = np.full((20, 20, 3), 128, np.uint8)
    anomaly_map = np.zeros((20, 20))
    anomaly_map[10:] = 1
    shown = overlay(image, anomaly_map, 0, 1)
    assert (shown[:10] == 128).all()
    assert (shown[10:, :, 0].astype(int) - shown[10:, :, 2] > 50).all()


def test_outline_shows_a_defect_of_one_pixel_and_touches_nothing_else():
    truth = np.zeros((400, 400), bool)
    truth[200, 100] = True
    shown = outlined(np.zeros((100, 100, 3), np.uint8), truth)
    rows, columns = np.nonzero((shown == OUTLINE).all(axis=-1))
    assert 0 < len(rows) < 30
    assert abs(rows - 50).max() <= 3
    assert abs(columns - 25).max() <= 3
    assert np.count_nonzero(shown.any(axis=-1)) == len(rows)


def test_thumbnail_keeps_proportions_and_never_enlarges():
    assert thumbnail(np.zeros((480, 200, 3), np.uint8), 240).shape == (240, 100, 3)
    assert thumbnail(np.zeros((10, 20, 3), np.uint8), 240).shape == (10, 20, 3)


def test_contact_sheet_places_pictures_row_by_row():
    images = [np.full((4, 6, 3), value, np.uint8) for value in (10, 20, 30)]
    sheet = contact_sheet(images, columns=2)
    assert sheet.shape == (8 + GAP, 12 + GAP, 3)
    assert (sheet[:4, :6] == 10).all()
    assert (sheet[:4, 6 + GAP :] == 20).all()
    assert (sheet[4 + GAP :, :6] == 30).all()
    assert (sheet[4 + GAP :, 6:] == 255).all()


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (lambda: heat_map(np.zeros((1, 2, 2)), 0, 1), r"expected an anomaly map \[h, w\], got \[1, 2, 2\]"),
        (lambda: heat_map(np.array([[np.nan]]), 0, 1), "expected finite scores"),
        (lambda: heat_map(np.zeros((2, 2)), 1, 0), "low <= high, both finite, got 1 and 0"),
        (lambda: heat_map(np.zeros((2, 2)), 0, np.inf), "low <= high"),
        (lambda: overlay(np.zeros((4, 4)), np.zeros((2, 2)), 0, 1), r"uint8 \[H, W, 3\], got float64 \[4, 4\]"),
        (lambda: contact_sheet([], 3), "expected pictures and at least one column, got 0 and 3"),
    ],
)
def test_pictures_refuse_wrong_input_in_words(act, reason):
    with pytest.raises(ValueError, match=reason):
        act()


# The choice of pictures


def frame(rows):
    return pd.DataFrame(rows, columns=["id", "kind", "score", "defects"])


def test_missed_anomalies_and_false_alarms_come_before_the_best_cases():
    pictures = frame(
        [
            ("easy good", "good", 0.0, ()),
            ("false alarm", "good", 0.9, ()),
            ("missed", "logical_anomalies", 0.1, ("a",)),
            ("easy anomaly", "logical_anomalies", 1.0, ("a",)),
        ]
    )
    order = [pictures["id"][position] for position in choose_pictures(pictures, 4)]
    assert set(order[:2]) == {"false alarm", "missed"}
    assert set(order[2:]) == {"easy good", "easy anomaly"}


def test_one_rare_defect_is_shown_among_many_pictures():
    rows = [(f"{number}", "structural_anomalies", 1 + number / 100, ("scratch",)) for number in range(90)]
    rows[45] = ("45", "structural_anomalies", 1.45, ("rare",))
    rows += [(f"{number}", "good", number / 100, ()) for number in range(50)]
    chosen = choose_pictures(frame(rows), 8)
    assert len(chosen) == 8
    assert 45 in chosen
    assert any(position >= 90 for position in chosen)


@given(
    st.lists(st.tuples(st.sampled_from(["good", "logical_anomalies"]), st.floats(-5, 5)), max_size=30),
    st.integers(1, 40),
)
def test_choice_is_distinct_and_as_many_as_the_limit_allows(rows, limit):
    pictures = frame([(str(number), kind, score, ()) for number, (kind, score) in enumerate(rows)])
    chosen = choose_pictures(pictures, limit)
    assert len(chosen) == len(set(chosen)) == min(limit, len(rows))
    if limit >= 2:
        assert {pictures["kind"][position] for position in chosen} == set(pictures["kind"])


def test_choice_refuses_a_limit_below_one():
    with pytest.raises(ValueError, match="at least one picture, got 0"):
        choose_pictures(frame([]), 0)


# Tables and figures


def test_headline_has_a_row_per_type_and_gaps_where_nothing_was_measured():
    table = headline_table({"image_auroc": {"logical_anomalies": 0.9, "mean": 0.9}, "au_spro": {"0.05": None}})
    rows = dict(table.rows)
    assert list(rows) == ["logical_anomalies", "structural_anomalies", "mean"]
    assert rows["logical_anomalies"] == [0.9] + [None] * 8
    assert rows["structural_anomalies"] == [None] * 9
    assert [column.name for column in table.columns][3:6] == ["AU-PRO@0.3", "AU-sPRO@0.01", "AU-sPRO@0.05"]


def test_headline_shows_types_that_loco_does_not_have_before_the_mean():
    table = headline_table({"au_pr": {"scratch": 0.5, "mean": 0.5}})
    assert [name for name, _ in table.rows] == ["logical_anomalies", "structural_anomalies", "scratch", "mean"]


def test_defect_table_flattens_limits_fills_gaps_and_counts_regions():
    per_defect = {
        "a": {"type": "logical_anomalies", "regions": 7, "au_spro": {"0.05": 0.5}},
        "b": {"f1_max": float("nan")},
    }
    table = defect_table({"per_defect": per_defect})
    assert [column.name for column in table.columns] == ["Regions", "AU-sPRO@0.05", "F1-max"]
    assert [column.decimals for column in table.columns] == [0, 3, 3]
    assert table.rows == [("a", [7, 0.5, None]), ("b", [None, None, None])]


def test_a_score_at_the_threshold_is_not_above_it():
    assert verdict_table({"good": [1.0, 1.1, 0.9]}, 1.0).rows == [("good", [3, 1, 1 / 3])]


def test_cost_without_a_unit_is_a_plain_number():
    assert cost_rows({"pictures": 190, "fit [s]": 0.5}) == [("pictures", "190", ""), ("fit", "0.50", "s")]


def test_figures_stand_the_degenerate_cases():
    for svg in (
        spro_figure({}),
        spro_figure({"odd $name <b>": (np.array([0.0, 0.1]), np.array([0.0, 1.0]))}),
        score_figure({"good": [], "logical_anomalies": [1.0, 1.0]}, [], 1.0),
    ):
        assert svg.startswith("<svg")
        Page(svg)
        assert "<b>" not in svg


def test_figures_of_one_page_share_no_id_and_take_the_colours_of_the_page():
    svg = spro_figure({"a": (np.array([0.0, 1.0]), np.array([0.0, 1.0]))}) + score_figure({"good": [1.0]}, [2.0], 1.5)
    ids = Page(svg).values("id")
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]*)\)", svg)) <= set(ids)
    assert "var(--ink)" in svg
    assert "#0a0a" not in svg


# The page


def test_page_is_well_formed_and_every_picture_in_it_decodes(report, tmp_path):
    page = Page(written(report, tmp_path))
    sources = page.values("src")
    # Four rows of input, two maps; two of them with a ground truth; the colour bar.
    assert len(sources) == page.tags["img"] - 1 == 4 * 3 + 2 + 1
    for source in sources:
        kind, _, encoded = source.partition(",")
        assert kind == "data:image/jpeg;base64"
        image = cv2.imdecode(np.frombuffer(base64.b64decode(encoded), np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
    assert all(page.values("alt")[1:-1])


def test_page_asks_for_nothing_outside_itself(report, tmp_path):
    text = written(report, tmp_path)
    assert not re.search(r"https?:|//[a-z]|@import", re.sub(r"base64,[A-Za-z0-9+/=]*", "", text).replace("// ", ""))
    page = Page(text)
    assert all(value.startswith(("#", "data:")) for value in page.values("href") + page.values("xlink:href"))
    assert page.tags["script"] == 1
    assert any("default-src 'none'" in value for value in page.values("content"))


def test_hostile_names_stay_text(report, tmp_path):
    row = replace(picture(0), id=HOSTILE, defects=(HOSTILE,), kind=HOSTILE)
    hostile = replace(
        report,
        title=HOSTILE,
        class_name=HOSTILE,
        rows=lambda: [row],
        notes=[HOSTILE],
        command=HOSTILE,
        experiment_yaml=HOSTILE,
        environment={HOSTILE: HOSTILE},
        cost={HOSTILE: 1.0},
        scores={HOSTILE: [1.0]},
        result={"au_pr": {HOSTILE: 0.5}, "per_defect": {HOSTILE: {HOSTILE: 0.5}}},
        curves={HOSTILE: (np.array([0.0, 1.0]), np.array([0.0, 1.0]))},
    )
    page = Page(written(hostile, tmp_path))
    assert page.tags["script"] == 1
    assert f"{HOSTILE}/{HOSTILE}" in page.values("data-value")
    assert not [name for name, _ in page.attributes if name.startswith("on")]


def test_what_was_not_measured_is_a_dash(report, tmp_path):
    text = written(report, tmp_path)
    row = re.search(r"<tr>\s*<th scope=\"row\">Structural anomalies</th>(.*?)</tr>", text, re.DOTALL)[1]
    assert row.count('<abbr title="not measured">\N{EN DASH}</abbr>') == row.count("<td") == 9


def test_verdicts_name_missed_anomalies_and_false_alarms(report, tmp_path):
    assert Page(written(report, tmp_path)).values("data-verdict") == ["missed", "false alarm", "detected", "passed"]


def test_page_says_everything_it_was_given(report, tmp_path):
    text = " ".join(" ".join(Page(written(report, tmp_path)).text).split())
    for expected in ("A run", "Flat connector", "ensemble-ad run", "one note", "seed: 0", "3.11", "Fit patchcore"):
        assert expected in text
    assert "Missed 1 of 2 anomalous pictures" in text
    assert "False alarms 1 of 2 good pictures" in text


def test_same_report_gives_the_same_bytes(report, tmp_path):
    assert written(report, tmp_path) == written(report, tmp_path)


def test_a_run_without_pictures_curves_or_results_is_still_a_page(report, tmp_path):
    empty = replace(
        report, rows=list, curves={}, result={}, scores={}, validation_scores=[], notes=[], cost={}, environment={}
    )
    assert Page(written(empty, tmp_path)).tags["img"] == 2


@pytest.mark.parametrize(
    ("maps", "reason"),
    [
        ({"fused": np.zeros((4, 4))}, r"picture good/007: expected a map for patchcore, fused; patchcore is missing"),
        (
            {"patchcore": np.zeros((4, 4)), "fused": np.full((4, 4), np.nan)},
            "picture good/007, map 'fused': expected finite",
        ),
    ],
)
def test_failure_names_the_picture_and_leaves_the_old_page_alone(report, tmp_path, maps, reason):
    before = written(report, tmp_path)
    broken = replace(report, rows=lambda: [replace(picture(7), maps=maps)])
    with pytest.raises(ValueError, match=reason):
        write_report(broken, tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == before
