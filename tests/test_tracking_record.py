"""What MLflow is told about a record, and what makes two records the same one."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from ensemble_ad.errors import ConfigError, StoreError
from ensemble_ad.tracking.flat import clean, metrics_of, name_of, params_of
from ensemble_ad.tracking.record import find_records, read_record

EXPERIMENT: dict[str, Any] = {
    "preset": "cpu",
    "size": [64, 96],
    "seed": 3,
    "quantile": 0.99,
    "detector": {
        "name": "feature_ensemble",
        "extractors": [{"name": "patchcore", "layers": ["layer1"]}, {"name": "draem", "weights": None}],
        "combiner": {"name": "global"},
    },
}
RESULT: dict[str, Any] = {
    "image_auroc": {"logical_anomalies": 0.75, "structural_anomalies": None, "mean": 0.75},
    "f1_max": {"logical_anomalies": 0.25},
    "au_spro": {"0.05": {"logical_anomalies": 0.5}, "0.3": {"logical_anomalies": 0.625}},
    "per_defect": {
        "a+b": {"type": "logical_anomalies", "regions": 2, "au_spro": {"0.05": 0.5, "0.3": 1.0}, "image_auroc": None}
    },
    "class": "parts",
    "preset": "cpu",
    "seed": 3,
    "size": [64, 96],
    "seconds": {"fit patchcore": 2.0, "head patchcore+draem global": 0.5},
    "ms_per_picture": 11.5,
    "peak_memory_mb": 900.0,
    "threshold": 1.25,
    "parameters": {"seed": 3},
    "notes": ["A note."],
}


def write_record(folder: Path, result: dict[str, Any] = RESULT, **experiment: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "experiment.yaml").write_text(yaml.safe_dump({**EXPERIMENT, **experiment}))
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "per_image.csv").write_text("kind,id,score\n")
    return folder


def write_failure(folder: Path, reason: str = "out of memory") -> Path:
    folder.mkdir(parents=True)
    (folder / "failed.json").write_text(json.dumps({"reason": reason}))
    return folder


def write_survey(out: Path) -> Path:
    """Two classes, one cell each, and one that failed."""
    rows = [
        {"key": "k1", "class": "parts", "detector": "fused", "preset": "cpu", "seed": 3, "oracle": False},
        {"key": "k2", "class": "bolts", "detector": "tuned", "preset": "cpu", "seed": 3, "oracle": True},
        {"key": "k3", "class": "bolts", "detector": "big", "preset": "paper", "seed": 0, "oracle": False},
    ]
    write_record(out / "cells" / "k1")
    write_record(out / "cells" / "k2", {**RESULT, "class": "bolts"})
    write_failure(out / "cells" / "k3")
    (out / "survey.yaml").write_text(yaml.safe_dump({"cells": rows}))
    (out / "table.csv").write_text("class\n")
    (out / "figures").mkdir()
    (out / "figures" / "au_spro.svg").write_text("<svg/>")
    return out


def test_parameters_are_flat_and_short() -> None:
    params = params_of({**EXPERIMENT, "note": "x" * 501, "empty": []})
    assert params["detector.extractors.0.layers.0"] == "layer1"
    assert params["detector.extractors.1.weights"] == "null"
    assert params["detector.combiner.name"] == "global"
    assert (params["quantile"], params["size.1"], params["empty"]) == ("0.99", "96", "[]")
    assert len(params["note"]) == 500
    assert params["note"].endswith("x...")


def test_metrics_have_the_names_of_the_field() -> None:
    assert metrics_of(RESULT) == {
        "image_auroc/logical": 0.75,
        "image_auroc/mean": 0.75,
        "oracle_f1_max/logical": 0.25,
        "au_spro_0.05/logical": 0.5,
        "au_spro_0.3/logical": 0.625,
        "per_defect/a_b/au_spro_0.05": 0.5,
        "seconds/fit patchcore": 2.0,
        "seconds/head patchcore_draem global": 0.5,
        "seconds/total": 2.5,
        "ms_per_picture": 11.5,
        "peak_memory_mb": 900.0,
        "threshold": 1.25,
    }


@pytest.mark.parametrize("name", ["plain/name 0.05", "a+b", "größe=3", "x" * 300, "a'b\"c`d"])
def test_a_cleaned_name_is_one_that_is_allowed(name: str) -> None:
    cleaned = clean(name)
    assert len(cleaned) == min(len(name), 250)
    assert not set(cleaned) & set("+='\"`")
    assert clean(cleaned) == cleaned


@pytest.mark.parametrize(
    ("detector", "name"),
    [
        ({"name": "standalone", "method": {"name": "draem"}}, "draem"),
        (EXPERIMENT["detector"], "patchcore+draem global"),
        ({"name": "output_ensemble", "detectors": ["patchcore", EXPERIMENT["detector"]], "combiner": "mean"},
         "patchcore+patchcore+draem global mean"),
    ],
)  # fmt: skip
def test_detectors_are_named_by_their_members(detector: Any, name: str) -> None:
    assert name_of(detector) == name


def test_a_run_belongs_to_its_class(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "run")
    (folder / "environment.yaml").write_text(yaml.safe_dump({"commit": "abc+", "torch": "2.9.0"}))
    record = read_record(folder)
    assert (record.series, record.within, record.name) == ("ensemble-ad/parts", (), "run")
    assert {path.name for path in record.artifacts} == {
        "experiment.yaml", "environment.yaml", "result.json", "per_image.csv",
    }  # fmt: skip
    expected = {"class": "parts", "preset": "cpu", "seed": "3", "size": "[64, 96]", "oracle": "false"}
    expected |= {"detector": "patchcore+draem global", "version.torch": "2.9.0", "mlflow.source.git.commit": "abc+"}
    assert record.tags == expected | {"mlflow.note.content": "A note."}
    assert record.cost == 2500
    assert record.model is None


def test_a_cell_belongs_to_its_survey_and_class(tmp_path: Path) -> None:
    out = write_survey(tmp_path / "loco")
    first, second, failed = (read_record(out / "cells" / key) for key in ("k1", "k2", "k3"))
    assert (first.series, first.within, first.name) == ("ensemble-ad/loco", ("loco", "parts"), "fused, seed 3")
    assert (second.within[1], second.tags["oracle"], second.tags["detector"]) == ("bolts", "true", "tuned")
    assert (failed.failed, failed.tags["reason"], failed.name) == (True, "out of memory", "big, seed 0")
    assert (failed.metrics, failed.within) == ({}, ("loco", "bolts"))
    whole = read_record(out)
    assert (whole.series, whole.within, whole.name) == ("ensemble-ad/loco", (), "loco")
    assert [path.name for path in whole.artifacts] == ["survey.yaml", "table.csv", "au_spro.svg"]


def test_a_trial_belongs_to_its_study(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "study" / "trials" / "tpe-0007")
    rows = [{"key": "tpe-0007", "detector": "tpe 7", "oracle": True}]
    (tmp_path / "study" / "study.yaml").write_text(yaml.safe_dump({"study": {}, "cells": rows}))
    record = read_record(folder)
    assert (record.series, record.within) == ("ensemble-ad/study", ("study", "parts"))
    assert (record.name, record.tags["oracle"]) == ("tpe 7, seed 3", "true")


def test_the_same_record_elsewhere_or_timed_anew_is_the_same(tmp_path: Path) -> None:
    first = read_record(write_record(tmp_path / "a"))
    timed = {**RESULT, "seconds": {"fit patchcore": 9.0}, "ms_per_picture": 1.0, "peak_memory_mb": 1.0}
    assert read_record(write_record(tmp_path / "b", timed)).key == first.key


@pytest.mark.parametrize(
    "changes", [{"result": {**RESULT, "threshold": 1.0}}, {"seed": 4}, {"result": {**RESULT, "class": "bolts"}}]
)
def test_another_result_is_another_record(tmp_path: Path, changes: dict[str, Any]) -> None:
    first = read_record(write_record(tmp_path / "a"))
    assert read_record(write_record(tmp_path / "b", **changes)).key != first.key


def test_failures_of_two_cells_are_two_records(tmp_path: Path) -> None:
    out = write_survey(tmp_path / "loco")
    assert read_record(write_failure(out / "cells" / "k4")).key != read_record(out / "cells" / "k3").key


def test_all_records_are_found_and_no_copy_of_one(tmp_path: Path) -> None:
    run = write_record(tmp_path / "runs" / "parts" / "one")
    out = write_survey(tmp_path / "loco")
    write_record(run / "model")
    for copy in ("mlartifacts/1/artifacts", ".one.partial", "cache/evaluate/k/inside"):
        shutil.copytree(run, tmp_path / copy)
    (tmp_path / "cache" / "evaluate" / "k" / "stage.yaml").write_text("")
    (tmp_path / "again").symlink_to(tmp_path / "runs")
    cells = [out / "cells" / key for key in ("k1", "k2", "k3")]
    assert list(find_records(tmp_path)) == [*cells, out, run]
    assert list(find_records(run)) == [run]


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_a_damaged_record_is_refused_in_words(tmp_path: Path, text: str) -> None:
    folder = write_record(tmp_path / "run")
    (folder / "result.json").write_text(text)
    with pytest.raises(StoreError, match=r"result\.json: .*; run the experiment again"):
        read_record(folder)


def test_damaged_yaml_and_foreign_folders_are_refused_in_words(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "run")
    (folder / "experiment.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match=r"experiment\.yaml: not valid YAML"):
        read_record(folder)
    with pytest.raises(StoreError, match=r"expected a record folder with experiment\.yaml"):
        read_record(tmp_path)
