"""A survey gives the numbers of single runs, goes on where it stopped, and survives what fails."""

import json
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from loco_folder import build_class, truncate
from small_run import ALONE, FUSED, PATCHCORE, SIMPLENET, call, files_in, without_times
from small_survey import COST, DETECTORS, Quiet, cells_in, survey_in, without_cost, write_grid

from data_loco import open_class
from ensemble_ad.errors import StoreError
from ensemble_ad.running import RECORD, run
from ensemble_ad.stages import Stages
from ensemble_ad.store import Store
from ensemble_ad.survey.cell import FAILURE
from ensemble_ad.survey.grid import Cell
from ensemble_ad.survey.run import MARKER, Survey, missing, to_do
from ensemble_ad.survey.table import COLUMNS


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("survey")
    for name in ("bolts", "pins"):
        build_class(base / "data" / name)
    return base


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take half of a small survey's time; `first`, which is older than this, has them."""
    monkeypatch.setattr("ensemble_ad.survey.report.write_figures", lambda summary, folder: None)


@pytest.fixture(scope="module")
def cells(base: Path) -> list[Cell]:
    return cells_in(base)


@pytest.fixture(scope="module")
def handed_on() -> list[str]:
    return []


@pytest.fixture(scope="module")
def first(base: Path, cells: list[Cell], handed_on: list[str]) -> Survey:
    return survey_in(base, cells, recorded=lambda folder: handed_on.append(folder.name))


def test_the_folder_holds_all_that_is_promised(first: Survey, cells: list[Cell]) -> None:
    names = files_in(first.out)
    top = {"survey.yaml", "table.csv", "summary.md", "summary.csv", "summary.tex", "index.html"}
    assert {name for name in names if "/" not in name} == top
    assert {name for name in names if name.startswith("cells/")} == {
        f"cells/{cell.key}/{file}" for cell in cells for file in RECORD
    }
    assert {"figures/image_auroc.png", "figures/au-spro_0.05.png"} <= set(names)
    assert (first.done, first.failed) == (6, 0)


def test_a_cell_is_what_a_single_run_of_its_experiment_finds(first: Survey, cells: list[Cell], base: Path) -> None:
    cell = next(cell for cell in cells if cell.setting.label == "fused")
    stages = Stages(open_class(cell.surveyed.root), (64, 64), Store(base / "elsewhere"))
    alone = run(stages, cell.setting.experiment, base / "run", "ensemble-ad run", cell.surveyed.notes)
    folder = first.out / "cells" / cell.key
    assert without_times(json.loads((folder / "result.json").read_text())) == without_times(alone.result)
    for name in ("per_image.csv", "experiment.yaml"):
        assert (folder / name).read_bytes() == (alone.folder / name).read_bytes()
    seconds = json.loads((folder / "result.json").read_text())["seconds"]
    assert {"fit patchcore", "fit simplenet", "features patchcore on train", "evaluate test"} <= set(seconds)
    assert set(alone.result["seconds"]) <= set(seconds)


def test_every_number_of_every_record_is_in_the_table(first: Survey, cells: list[Cell]) -> None:
    table = pd.read_csv(first.out / "table.csv", keep_default_na=False)
    assert list(table.columns) == COLUMNS
    for cell in cells:
        result = json.loads((first.out / "cells" / cell.key / "result.json").read_text())
        rows = table[table["run_id"] == cell.key].astype({"value": float})
        found = {(r.metric, r.type, r.defect_kind): r.value for r in rows.itertuples()}
        assert found["AU-sPRO@0.05", "mean", ""] == result["au_spro"]["0.05"]["mean"]
        assert found["image AUROC", "logical_anomalies", ""] == result["image_auroc"]["logical_anomalies"]
        assert (
            found["AU-sPRO@0.3", "structural_anomalies", "scratch"] == result["per_defect"]["scratch"]["au_spro"]["0.3"]
        )
        numbers = sum(len(by_type) for by_type in [*result["au_spro"].values(), *result["au_pro"].values()])
        numbers += sum(len(result[name]) for name in ("image_auroc", "pixel_auroc", "au_pr", "f1_max"))
        numbers += sum(len(defect["au_spro"]) + 1 for defect in result["per_defect"].values())
        assert len(found) == len(rows) == numbers
        assert set(rows["seconds"].astype(float)) == {round(sum(result["seconds"].values()), 3)}


def test_what_chose_its_threshold_on_the_test_split_is_called_oracle(first: Survey) -> None:
    assert set(first.table.loc[first.table["oracle"], "metric"]) == {"F1-max"}


def test_the_survey_says_which_record_is_what(first: Survey, cells: list[Cell]) -> None:
    rows = yaml.safe_load((first.out / MARKER).read_text())["cells"]
    assert [(row["key"], row["class"], row["detector"]) for row in rows] == [
        (cell.key, cell.surveyed.name, cell.setting.label) for cell in cells
    ]


def test_every_finished_record_is_handed_on_once(first: Survey, cells: list[Cell], handed_on: list[str]) -> None:
    assert sorted(handed_on) == sorted(cell.key for cell in cells)


def test_a_second_time_computes_nothing_and_gives_the_same_files(first: Survey, base: Path, cells: list[Cell]) -> None:
    before = {name: (first.out / name).read_bytes() for name in files_in(first.out)}
    stages = {path: path.stat().st_mtime_ns for path in (base / "cache").rglob("stage.yaml")}
    watcher = Quiet()
    survey_in(base, cells, watcher=watcher)
    assert watcher.done == []
    assert {name: (first.out / name).read_bytes() for name in files_in(first.out)} == before
    assert {path: path.stat().st_mtime_ns for path in (base / "cache").rglob("stage.yaml")} == stages


def test_a_lost_record_is_written_again_from_the_store(first: Survey, base: Path, cells: list[Cell]) -> None:
    lost = first.out / "cells" / cells[2].key / "per_image.csv"
    before, stages = (first.out / "table.csv").read_bytes(), len(list((base / "cache").rglob("stage.yaml")))
    lost.unlink()
    assert missing(cells, first.out) == [cells[2]]
    survey_in(base, cells)
    assert lost.exists()
    assert len(list((base / "cache").rglob("stage.yaml"))) == stages
    assert without_cost(pd.read_csv(first.out / "table.csv")).equals(
        without_cost(pd.read_csv(pd.io.common.BytesIO(before)))
    )


def test_more_seeds_add_cells_and_keep_the_others(first: Survey, base: Path) -> None:
    cells = cells_in(base, seeds=[0, 1], detectors={"patchcore": PATCHCORE}, classes=["data/pins"])
    assert [cell.setting.experiment.seed for cell in to_do(cells, first.out, retry_failed=False)] == [1]


def test_two_surveys_at_once_on_one_folder_end_alike(first: Survey, base: Path) -> None:
    cells = cells_in(base, detectors={"patchcore": PATCHCORE, "simplenet": SIMPLENET}, classes=["data/pins"])
    found: list[Survey] = []
    threads = [
        threading.Thread(target=lambda: found.append(survey_in(base, cells, "both", "both_cache"))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [survey.done for survey in found] == [2, 2]
    expected = first.table[first.table["class"].eq("pins") & first.table["detector"].ne("fused")]
    for survey in found:
        assert without_cost(survey.table).reset_index(drop=True).equals(without_cost(expected).reset_index(drop=True))
    kinds = [path.parts[-3] for path in (base / "both_cache").rglob("stage.yaml")]
    assert {kind: kinds.count(kind) for kind in ("frozen", "fit", "predict", "evaluate")} == {
        "frozen": 1,
        "fit": 2,
        "predict": 4,
        "evaluate": 2,
    }


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two classes one has a picture that ends in the middle."""
    base = tmp_path_factory.mktemp("spoiled")
    for name in ("bolts", "pins"):
        build_class(base / "data" / name)
    truncate(base / "data" / "pins" / "train" / "good" / "002.png")
    return base


def test_a_class_with_a_damaged_picture_fails_alone_and_says_why(spoiled: Path) -> None:
    found = survey_in(spoiled, cells_in(spoiled, detectors={"patchcore": PATCHCORE}))
    assert (found.done, found.failed) == (1, 1)
    (row,) = found.table[found.table["failure"] != ""].to_dict("records")
    assert (row["class"], row["metric"]) == ("pins", "")
    assert "002.png" in row["failure"]
    assert "002.png" in (found.out / "summary.md").read_text()
    assert set(found.table.loc[found.table["failure"] == "", "class"]) == {"bolts"}


def test_a_mended_class_is_done_without_being_asked(spoiled: Path) -> None:
    (spoiled / "data" / "pins" / "train" / "good" / "002.png").unlink()
    found = survey_in(spoiled, cells_in(spoiled, detectors={"patchcore": PATCHCORE}))
    assert (found.done, found.failed) == (2, 0)


def test_failed_cells_wait_for_retry_failed(base: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.pth"
    broken = PATCHCORE | {"weights": str(weights)}
    cells = cells_in(
        base, detectors={"a": broken, "b": FUSED | {"extractors": [broken, SIMPLENET]}}, classes=["data/pins"]
    )
    found = survey_in(base, cells, "retry")
    assert (found.done, found.failed) == (0, 2)
    assert set(found.table["failure"].str.contains("weights.pth")) == {True}
    _save_weights(weights)
    again = Quiet()
    assert survey_in(base, cells, "retry", watcher=again).failed == 2
    assert again.done == []
    found = survey_in(base, cells, "retry", retry_failed=True)
    assert (found.done, found.failed) == (2, 0)
    assert not list((base / "retry" / "cells").rglob(FAILURE))


def _save_weights(path: Path) -> None:
    import torch

    from extractors.weights import create_network

    torch.save(create_network("test_resnet", "random").state_dict(), path)


def test_a_fault_of_the_program_is_a_row_with_a_trace(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("ensemble_ad.survey.cell.measure", faulty)
    cells = cells_in(base, detectors={"a": PATCHCORE}, classes=["data/pins"])
    found = survey_in(base, cells, "faulty")
    assert found.table["failure"].tolist() == ["ZeroDivisionError: oh"]
    failure = json.loads((base / "faulty" / "cells" / cells[0].key / FAILURE).read_text())
    assert "faulty" in failure["trace"]


def test_pictures_that_change_meanwhile_fail_their_cells(base: Path, tmp_path: Path) -> None:
    build_class(tmp_path / "data" / "nuts")
    cells = cells_in(tmp_path, detectors={"a": PATCHCORE})
    (tmp_path / "data" / "nuts" / "train" / "good" / "000.png").unlink()
    found = survey_in(tmp_path, cells)
    assert "its files changed while the survey ran" in found.table["failure"][0]


def test_a_folder_of_something_else_is_refused(base: Path, cells: list[Cell], tmp_path: Path) -> None:
    (tmp_path / "survey").mkdir()
    (tmp_path / "survey" / "mine.txt").write_text("mine")
    with pytest.raises(StoreError, match="is not a survey's folder; name another one with --out"):
        survey_in(tmp_path, cells)
    assert files_in(tmp_path) == ["survey/mine.txt"]


def test_ctrl_c_leaves_tables_of_what_is_done(base: Path, cells: list[Cell], tmp_path: Path) -> None:
    class Impatient(Quiet):
        def ended(self, unit: Any, failure: Any) -> None:
            super().ended(unit, failure)
            if unit.kind == "record":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        survey_in(base, cells, "stopped", watcher=Impatient())
    assert pd.read_csv(base / "stopped" / "table.csv")["run_id"].nunique() == 1


def test_the_command_plans_does_and_repeats(base: Path, first: Survey) -> None:
    grid = write_grid(base / "grid.yaml", {"patchcore": ALONE, "fused": FUSED})
    where = ["--cache", base / "cache", "--out", base / "commanded"]
    plan = call("survey", grid, *where, "--dry-run")
    assert plan.code == 0
    assert "bolts, fused, seed 0, 64 px: 6 of 6 stages there" in plan.out
    assert "4 cells; about 0 min" in plan.out
    assert not (base / "commanded").exists()
    done = call("survey", grid, *where)
    assert done.code == 0
    assert "4 cells done, 0 failed" in done.out
    table = pd.read_csv(base / "commanded" / "table.csv")
    expected = pd.read_csv(first.out / "table.csv").query("detector != 'simplenet'").reset_index(drop=True)
    assert without_cost(table).equals(without_cost(expected))
    assert "done" in call("survey", grid, *where, "--dry-run").out


def test_the_command_says_in_a_sentence_what_is_wrong(base: Path, tmp_path: Path) -> None:
    grid = write_grid(base / "grid.yaml", {"a": "patchcor"})
    said = call("survey", grid, "--cache", base / "cache", "--out", tmp_path / "out")
    assert said.code == 2
    assert "unknown component 'patchcor'" in said.err
    assert call("survey", tmp_path / "no.yaml").code == 2
    good = write_grid(base / "grid.yaml", DETECTORS)
    assert (
        "--device cuda:7"
        in call("survey", good, "--cache", tmp_path / "c", "--device", "cuda:7", "--out", tmp_path / "o").err
    )
    assert set(COST) < set(COLUMNS)
