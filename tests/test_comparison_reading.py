"""Folders become records, and what cannot be compared is refused in a sentence."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from comparison_records import LOGICAL, STRUCTURAL, make_pictures, noisy, write_record

from ensemble_ad.comparison.compare import compare
from ensemble_ad.comparison.names import short_name, telling_apart
from ensemble_ad.comparison.reading import read_records
from ensemble_ad.errors import ConfigError
from ensemble_ad.metrics import GOOD

PICTURES = make_pictures({GOOD: 4, LOGICAL: 3, STRUCTURAL: 2})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_record(tmp_path_factory.mktemp("records") / "first", PICTURES, noisy(1.0))


@pytest.fixture
def record(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "first"))


def write_survey(root: Path, record: Path, table: str | None) -> Path:
    for key in ("aaa", "bbb"):
        shutil.copytree(record, root / "cells" / key)
    (root / "cells" / "ccc").mkdir()
    (root / "cells" / "ccc" / "failed.json").write_text('{"reason": "out of memory"}')
    experiment = root / "cells" / "bbb" / "experiment.yaml"
    experiment.write_text(experiment.read_text().replace("patchcore", "simplenet"))
    if table is not None:
        (root / "table.csv").write_text(table)
    return root


def test_a_record_says_what_was_run_on_what(record: Path) -> None:
    (found,), notes = read_records([record])
    assert (found.name, found.class_name, found.seed, notes) == ("patchcore", "parts", 0, [])
    assert found.picture_names() == [f"{picture.kind}/{picture.id}" for picture in PICTURES]
    assert {kind: scores.size for kind, scores in found.scores().items()} == {GOOD: 4, LOGICAL: 3, STRUCTURAL: 2}
    assert found.pieces().keys() == {LOGICAL, STRUCTURAL}


def test_scores_are_read_to_the_last_digit(record: Path) -> None:
    written = [line.split(",")[2] for line in (record / "per_image.csv").read_text().splitlines()[1:]]
    assert read_records([record])[0][0].pictures["score"].tolist() == [float(text) for text in written]


def test_seeds_of_one_detector_share_a_name_and_another_setting_does_not(tmp_path: Path) -> None:
    method = {"name": "patchcore", "coreset_ratio": 0.1}
    folders = [write_record(tmp_path / f"{seed}", PICTURES, noisy(1.0, seed), seed=seed) for seed in (0, 1)]
    folders.append(write_record(tmp_path / "other", PICTURES, noisy(1.0), detector=method))
    found, _ = read_records(folders)
    assert [(one.name, one.seed) for one in found] == [
        ("patchcore coreset_ratio=-", 0),
        ("patchcore coreset_ratio=-", 1),
        ("patchcore coreset_ratio=0.1", 0),
    ]


def test_a_survey_names_its_detectors_and_leaves_out_what_failed(record: Path, tmp_path: Path) -> None:
    rows = "run_id,detector,oracle,metric\naaa,mine,False,image AUROC\naaa,mine,True,F1-max\n"
    rows += "bbb,best of all,True,image AUROC\nccc,broken,False,\n"
    found, notes = read_records([write_survey(tmp_path / "survey", record, rows)])
    assert [one.name for one in found] == ["mine", "best of all (oracle)"]
    assert notes == []
    unnamed, notes = read_records([write_survey(tmp_path / "unfinished", record, None)])
    assert [one.name for one in unnamed] == ["patchcore", "simplenet"]
    assert notes == [f"{tmp_path / 'unfinished'}: 1 cells without a record are left out"]


def test_a_record_named_twice_counts_once(record: Path, tmp_path: Path) -> None:
    survey = write_survey(tmp_path / "survey", record, None)
    found, _ = read_records([record, survey, record])
    assert [one.name for one in found] == ["patchcore", "simplenet"]


def test_two_records_that_contradict_each_other_are_refused(record: Path, tmp_path: Path) -> None:
    other = write_record(tmp_path / "other", PICTURES, noisy(1.2))
    with pytest.raises(ConfigError, match="two records of patchcore on parts with seed 0 and different scores"):
        read_records([record, other])


def test_other_test_pictures_are_refused(record: Path, tmp_path: Path) -> None:
    other = write_record(tmp_path / "other", PICTURES[1:], noisy(1.0), detector="simplenet")
    with pytest.raises(ConfigError, match=r"both are about parts, but their test pictures differ \(9 and 8\)"):
        read_records([record, other])


def test_other_masks_are_refused(record: Path, tmp_path: Path) -> None:
    pictures = make_pictures({GOOD: 4, LOGICAL: 3, STRUCTURAL: 2}, seed=8)
    other = write_record(tmp_path / "other", pictures, noisy(1.0), detector="simplenet")
    with pytest.raises(ConfigError, match="the size or the masks of their pictures differ"):
        compare(read_records([record, other])[0], resamples=100)


def test_a_folder_without_records_is_refused_with_a_hint(record: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for path, text in (
        (tmp_path / "photos", "is neither a run folder"),
        (tmp_path / "nothing", "no such folder"),
        (record.parent, "it holds 1 run folders: name them"),
    ):
        with pytest.raises(ConfigError, match=text):
            read_records([path])


def test_a_survey_without_a_finished_cell_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cells" / "aaa").mkdir(parents=True)
    with pytest.raises(ConfigError, match="no finished cell yet"):
        read_records([tmp_path])


def test_a_run_from_before_says_how_to_get_what_is_missing(record: Path) -> None:
    (record / "contributions.npz").unlink()
    with pytest.raises(ConfigError, match=r"has no contributions.npz.*repeat the run .* takes seconds"):
        compare(read_records([record])[0], resamples=100)


@pytest.mark.parametrize("name", ["experiment.yaml", "result.json", "per_image.csv"])
@pytest.mark.parametrize("content", ["", "{", "a: [1"])
def test_a_damaged_record_is_named(record: Path, name: str, content: str) -> None:
    (record / name).write_text(content)
    with pytest.raises(ConfigError, match="first: is no complete run folder"):
        read_records([record])


def test_a_survey_with_a_damaged_table_is_named(record: Path, tmp_path: Path) -> None:
    survey = write_survey(tmp_path / "survey", record, "something,else\n1,2\n")
    with pytest.raises(ConfigError, match=r"table.csv: cannot be read"):
        read_records([survey])


def test_damaged_contributions_are_named(record: Path) -> None:
    (record / "contributions.npz").write_bytes(b"PK")
    with pytest.raises(ConfigError, match=r"contributions.npz: .*repeat the run"):
        compare(read_records([record])[0], resamples=100)


def test_contributions_of_another_detector_are_noticed(record: Path, tmp_path: Path) -> None:
    other = write_record(tmp_path / "other", PICTURES, noisy(3.0))
    shutil.copy(other / "contributions.npz", record)
    with pytest.raises(ConfigError, match=r"result.json and contributions.npz contradict each other \(AU-sPRO"):
        compare(read_records([record])[0], resamples=100)


def test_contributions_of_other_pictures_are_noticed(record: Path, tmp_path: Path) -> None:
    other = write_record(tmp_path / "other", PICTURES[1:], noisy(1.0))
    shutil.copy(other / "contributions.npz", record)
    with pytest.raises(ConfigError, match=r"is about other pictures than per_image\.csv"):
        compare(read_records([record])[0], resamples=100)


def test_ids_that_look_like_numbers_or_nothing_stay_texts(record: Path) -> None:
    table = pd.read_csv(record / "per_image.csv", dtype=str)
    table.loc[:1, "id"] = ["007", "NA"]
    table.to_csv(record / "per_image.csv", index=False)
    assert read_records([record])[0][0].picture_names()[:2] == ["good/007", "good/NA"]


def test_names_of_ensembles_say_members_and_rule() -> None:
    alone = {"name": "standalone", "method": {"name": "ast"}}
    fused = {
        "name": "feature_ensemble",
        "extractors": [{"name": "ast"}, {"name": "draem"}],
        "combiner": {"name": "global"},
    }
    nested = {"name": "output_ensemble", "detectors": [alone, fused], "combiner": {"name": "maximum"}}
    assert [short_name(one) for one in (alone, fused, nested)] == [
        "ast", "ast+draem global", "maximum(ast, ast+draem global)",
    ]  # fmt: skip


def test_names_are_never_alike() -> None:
    settings = [{"a": {"b": place % 2}, "members": [{"c": 0}, {"c": place}]} for place in range(3)]
    assert telling_apart(["x"] * 3, settings) == ["x b=0, c=0", "x b=1, c=1", "x b=0, c=2"]
    assert (
        telling_apart(["x", "x"], [{}, {}]) == ["x  #1", "x  #2"] or len(set(telling_apart(["x", "x"], [{}, {}]))) == 2
    )


def test_result_json_is_what_is_reported(record: Path) -> None:
    result = json.loads((record / "result.json").read_text())
    found = compare(read_records([record])[0], resamples=100)
    reported = {(one.metric, one.type): one.value for one in found.values}
    assert reported["AU-sPRO@0.05", LOGICAL] == result["au_spro"]["0.05"][LOGICAL]
    assert reported["image AUROC", "mean"] == result["image_auroc"]["mean"]
    assert len(reported) == 27
