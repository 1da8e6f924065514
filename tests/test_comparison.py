"""From records to verdicts: the same pictures for all, and silence where nothing can be told."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from comparison_records import LOGICAL, STRUCTURAL, make_pictures, noisy, write_record
from typer.testing import CliRunner

from ensemble_ad.cli_compare import compare as compare_command
from ensemble_ad.comparison.compare import Comparison, compare
from ensemble_ad.comparison.diagram import critical_difference_diagram
from ensemble_ad.comparison.estimates import ALL, BETTER, CANNOT_TELL, WORSE, Estimate
from ensemble_ad.comparison.over_classes import Ranking, pairs_over_classes, rankings, too_little_data
from ensemble_ad.comparison.ranks import friedman
from ensemble_ad.comparison.reading import read_records
from ensemble_ad.comparison.text import summary
from ensemble_ad.comparison.writing import write_comparison
from ensemble_ad.errors import ConfigError, StoreError
from ensemble_ad.metrics import GOOD

ENOUGH = {GOOD: 14, LOGICAL: 12, STRUCTURAL: 12}
STRENGTHS = {"weak": 0.4, "strong": 1.2}
CLASSES = ("plates", "screws")
SEEDS = (0, 1)
RESAMPLES = 100


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two detectors on two classes with two seeds."""
    root = tmp_path_factory.mktemp("records")
    return [
        write_record(
            root / f"{name}-{class_name}-{seed}",
            make_pictures(ENOUGH, seed=place),
            noisy(strength, seed=10 * place + 2 * seed + len(name)),
            class_name,
            name,
            seed,
        )
        for name, strength in STRENGTHS.items()
        for place, class_name in enumerate(CLASSES)
        for seed in SEEDS
    ]


@pytest.fixture(scope="module")
def found(folders: list[Path]) -> Comparison:
    return compare(read_records(folders)[0], resamples=RESAMPLES)


def one(estimates: Sequence[Estimate], class_name: str, metric: str, kind: str, first: str = "weak") -> Estimate:
    (found,) = [
        each
        for each in estimates
        if (each.class_name, each.metric, each.type, each.first) == (class_name, metric, kind, first)
    ]
    return found


def test_every_metric_has_an_interval_around_it(found: Comparison) -> None:
    assert len(found.values) == 2 * 3 * 27
    assert len(found.differences) == 3 * 27
    assert all(each.low <= each.value <= each.high for each in (*found.values, *found.differences))


def test_a_difference_is_that_of_the_means_over_seeds(found: Comparison, folders: list[Path]) -> None:
    records, _ = read_records(folders)
    reached = {
        (record.name, record.class_name, record.seed): record.result["au_spro"]["0.05"][LOGICAL] for record in records
    }
    by_seed = [reached["weak", "plates", seed] - reached["strong", "plates", seed] for seed in SEEDS]
    difference = one(found.differences, "plates", "AU-sPRO@0.05", LOGICAL)
    assert difference.value == pytest.approx(np.mean(by_seed))
    assert difference.seed_sd == pytest.approx(np.std(by_seed, ddof=1))
    assert difference.seeds == 2
    assert (difference.of_first, difference.of_second) == pytest.approx(
        [np.mean([reached[name, "plates", seed] for seed in SEEDS]) for name in STRENGTHS]
    )


def test_all_classes_are_the_mean_of_each(found: Comparison) -> None:
    for metric in ("image AUROC", "AU-PR"):
        parts = [one(found.differences, name, metric, "mean") for name in CLASSES]
        together = one(found.differences, ALL, metric, "mean")
        assert together.value == pytest.approx(np.mean([part.value for part in parts]))
        assert together.high - together.low < max(part.high - part.low for part in parts)


def test_what_is_plainly_better_is_called_so(found: Comparison) -> None:
    for name in (*CLASSES, ALL):
        assert one(found.differences, name, "AU-sPRO@0.3", "mean").verdict == WORSE
    assert {each.verdict for each in found.values} == {""}


def test_the_other_way_round_everything_is_mirrored(found: Comparison, folders: list[Path]) -> None:
    mirrored = compare(read_records(folders[::-1])[0], resamples=RESAMPLES)
    opposite = {WORSE: BETTER, BETTER: WORSE, CANNOT_TELL: CANNOT_TELL}
    for each in found.differences:
        other = one(mirrored.differences, each.class_name, each.metric, each.type, "strong")
        assert (-other.value, -other.high, -other.low) == pytest.approx((each.value, each.low, each.high))
        assert other.verdict == opposite[each.verdict]
        assert other.p_delong == pytest.approx(each.p_delong)


def test_pairing_makes_differences_of_like_detectors_narrow(tmp_path: Path) -> None:
    """Both miss the same pictures: the difference is far surer than either value."""
    pictures = make_pictures(ENOUGH)
    folders = [
        write_record(tmp_path / name, pictures, noisy(strength, seed=4), detector=name)
        for name, strength in (("one", 1.0), ("two", 1.05))
    ]
    found = compare(read_records(folders)[0], resamples=RESAMPLES)
    value = one(found.values, "parts", "AU-sPRO@0.3", "mean", "one")
    difference = one(found.differences, "parts", "AU-sPRO@0.3", "mean", "one")
    assert difference.high - difference.low < (value.high - value.low) / 3


def test_a_detector_and_itself_cannot_be_told_apart(tmp_path: Path) -> None:
    pictures = make_pictures(ENOUGH)
    folders = [write_record(tmp_path / name, pictures, noisy(1.0), detector=name) for name in ("one", "two")]
    found = compare(read_records(folders)[0], resamples=RESAMPLES)
    assert {(each.value, each.low, each.high, each.verdict) for each in found.differences} == {(0, 0, 0, CANNOT_TELL)}
    assert {each.p_delong for each in found.differences} == {None}


def test_few_pictures_get_no_verdict(tmp_path: Path) -> None:
    pictures = make_pictures({GOOD: 14, LOGICAL: 4, STRUCTURAL: 12})
    folders = [
        write_record(tmp_path / name, pictures, noisy(strength, seed=3), detector=name)
        for name, strength in (("one", 3.0), ("two", 0.0))
    ]
    found = compare(read_records(folders)[0], resamples=RESAMPLES)
    verdicts = {each.type: each.verdict for each in found.differences if each.metric == "pixel AUROC"}
    assert verdicts == {LOGICAL: CANNOT_TELL, STRUCTURAL: BETTER, "mean": CANNOT_TELL}
    assert any("parts: pictures of kind logical_anomalies: 4;" in note for note in found.notes)
    assert any(note.startswith("one seed only (one, two)") for note in found.notes)


def test_a_perfect_score_is_not_taken_for_certainty(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "one", make_pictures(ENOUGH), noisy(30.0))
    found = compare(read_records([folder])[0], resamples=RESAMPLES)
    assert one(found.values, "parts", "image AUROC", LOGICAL, "patchcore").low == 1
    assert any("an interval without width is no certainty" in note for note in found.notes)
    assert found.differences == ()


def test_only_seeds_in_common_are_paired(folders: list[Path]) -> None:
    records, _ = read_records([folder for folder in folders if folder.name != "strong-plates-1"])
    found = compare(records, resamples=RESAMPLES)
    assert one(found.differences, "plates", "AU-PR", "mean").seeds == 1
    assert one(found.differences, "screws", "AU-PR", "mean").seeds == 2
    assert one(found.differences, ALL, "AU-PR", "mean").seeds == 1
    assert one(found.values, "plates", "AU-PR", "mean").seeds == 2


def test_nothing_in_common_is_refused(folders: list[Path]) -> None:
    records, _ = read_records([folders[0], folders[-1]])
    with pytest.raises(ConfigError, match=r"weak and strong have no class and seed in common.*plates with seed 0"):
        compare(records, resamples=RESAMPLES)


def test_a_class_without_anomalies_is_refused(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "one", make_pictures({GOOD: 3}), noisy(1.0))
    with pytest.raises(ConfigError, match="parts: no anomalous test pictures, so there is no metric"):
        compare(read_records([folder])[0], resamples=100)


@pytest.mark.parametrize(("option", "value"), [("resamples", 99), ("seed", -1), ("level", 1.0), ("level", 0.2)])
def test_arguments_out_of_range_are_refused(folders: list[Path], option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"--{option}: expected"):
        compare(read_records(folders[:1])[0], **{option: value})  # type: ignore[arg-type]


def test_the_seed_of_the_drawing_decides_and_the_order_of_classes_does_not(folders: list[Path]) -> None:
    records, _ = read_records([folder for folder in folders if folder.name.endswith("-0")])
    first, again = compare(records, resamples=RESAMPLES), compare(records, resamples=RESAMPLES)
    alone = compare([record for record in records if record.class_name == "screws"], resamples=RESAMPLES)
    other = compare(records, resamples=RESAMPLES, seed=1)
    assert first == again
    assert [each for each in first.values if each.class_name == "screws"] == list(alone.values)
    assert first.values != other.values


def estimates(values: dict[str, Sequence[float]], metric: str = "image AUROC") -> list[Estimate]:
    """Values of detectors on as many classes as there are values."""
    blank = Estimate("", "mean", metric, "", "", 0, None, 0, 0, 0, 1, None, None, "")
    return [
        replace(blank, class_name=f"class {place}", first=name, value=value)
        for name, of_classes in values.items()
        for place, value in enumerate(of_classes)
    ]


def differences(values: Sequence[float]) -> list[Estimate]:
    return [replace(each, second="b") for each in estimates({"a": values})]


def test_wins_on_six_classes_are_enough_and_on_five_are_not() -> None:
    for count, verdict in ((5, CANNOT_TELL), (6, BETTER)):
        (pair,) = pairs_over_classes(differences(np.linspace(0.01, 0.05, count).tolist()), 0.95)
        assert (pair.wins, pair.losses, pair.verdict) == (count, 0, verdict)
        (note, *_) = too_little_data([pair], [], 0.95)
        assert note.startswith("5 classes are too few for Wilcoxon's test") == (count == 5)
    assert note.startswith("no ranking of all detectors")


def test_a_ranking_takes_five_classes_that_all_three_detectors_have() -> None:
    values = {name: [0.9 - level, 0.8 - level, 0.7, 0.6 - level, 0.5 - level] for level, name in enumerate("abc")}
    (ranking,) = rankings(estimates(values), "abc", 0.95)
    assert ranking.friedman.average_ranks == pytest.approx((1.2, 2.0, 2.8))
    assert rankings(estimates(values | {"c": [0.1] * 4}), "abc", 0.95) == []
    assert rankings(estimates({name: values[name] for name in "ab"}), "ab", 0.95) == []


def test_the_diagram_names_all_detectors_and_joins_those_that_cannot_be_told_apart() -> None:
    values = np.array([[5.0, 4.0, 1.0], [4.0, 5.0, 1.0], [5.0, 4.0, 2.0], [4.0, 5.0, 3.0], [5.0, 4.0, 3.0], [5, 4, 1]])
    figure = critical_difference_diagram(Ranking("image AUROC", "mean", ("one", "two", "three"), friedman(values)))
    (axes,) = figure.axes
    texts = " ".join(text.get_text() for text in axes.texts)
    assert all(name in texts for name in ("one", "two", "three", "CD 1.35"))
    bars = [line for line in axes.lines if line.get_linewidth() > 3]
    # Average ranks 4/3, 5/3 and 3: the outer two are further apart than 1.353, the others are not.
    assert [sorted(bar.get_xdata()) for bar in bars] == [
        pytest.approx([1.293, 1.707], abs=1e-3),
        pytest.approx([1.627, 3.04], abs=1e-3),
    ]


def run(*words: object) -> tuple[int, str, Exception | None]:
    app = typer.Typer()
    app.command()(compare_command)
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "120"})
    return result.exit_code, result.output, result.exception


def test_the_command_leaves_a_page_a_table_and_figures(folders: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "compare"
    code, text, error = run(*folders, "--out", out, "--resamples", 100)
    assert (code, error) == (0, None)
    assert "AU-sPRO@0.05" in text
    assert "worse" in text
    assert "note: 2 classes are too few" in text
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*")) == [
        "compare.csv", "compare.md", "figures/differences.png", "figures/differences.svg",
        "figures/values.png", "figures/values.svg", "index.html", "over_classes.csv",
    ]  # fmt: skip
    with (out / "compare.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 9 * 27
    assert {row["difference"] == "" for row in rows if row["second"] == ""} == {True}
    page = (out / "compare.md").read_text()
    assert "## Differences" in page
    assert "all classes" in page


def test_a_comparison_is_replaced_and_anything_else_is_not(folders: list[Path], tmp_path: Path) -> None:
    records, _ = read_records(folders[:1])
    found = compare(records, resamples=100)
    write_comparison(found, tmp_path / "out", "ensemble-ad compare")
    write_comparison(found, tmp_path / "out", "ensemble-ad compare again")
    assert "again" in (tmp_path / "out" / "compare.md").read_text()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.png").write_bytes(b"")
    assert isinstance(run(folders[0], "--out", tmp_path / "photos")[2], StoreError)
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["mine.png"]


def test_many_pairs_are_summarised_by_their_means(found: Comparison) -> None:
    many = replace(found, differences=found.differences * 40)
    assert len(summary(found)) == 6
    assert {each.type for each in summary(many)} == {"mean"}
    assert {each.class_name for each in summary(many)} == {ALL}
