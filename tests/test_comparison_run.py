"""What a run leaves can be compared, and a cache from before comparisons existed is kept."""

import shutil
from pathlib import Path

import pytest
from loco_folder import build_class
from small_run import ALONE, small_experiment

from data_loco import open_class
from ensemble_ad.comparison.compare import compare
from ensemble_ad.comparison.estimates import CANNOT_TELL
from ensemble_ad.comparison.reading import read_records
from ensemble_ad.comparison.text import markdown, terminal_tables
from ensemble_ad.comparison.writing import write_comparison
from ensemble_ad.running import Run, run
from ensemble_ad.stages import Stages
from ensemble_ad.store import Store


def run_in(base: Path, coreset_ratio: float = 0.1) -> tuple[Run, dict[str, bool]]:
    """The run, and for every stage whether it was there already."""
    detector = {**ALONE, "method": {**ALONE["method"], "coreset_ratio": coreset_ratio}}
    experiment = small_experiment(detector)
    store = Store(base / "cache")
    done = run(
        Stages(open_class(base / "parts"), experiment.size, store), experiment, base / f"run-{coreset_ratio}", ""
    )
    return done, {name.split()[0]: entry.reused for name, entry in store.log}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("base")
    build_class(base / "parts")
    return base


def test_runs_of_two_settings_are_compared_and_few_pictures_said_to_be_few(base: Path) -> None:
    folders = [run_in(base, ratio)[0].folder for ratio in (0.1, 0.5)]
    records, _ = read_records(folders)
    assert [record.name for record in records] == ["patchcore coreset_ratio=0.1", "patchcore coreset_ratio=0.5"]
    found = compare(records, resamples=100)
    assert {one.verdict for one in found.differences} == {CANNOT_TELL}
    assert all(one.value == records[0].result["pixel_auroc"][one.type] for one in found.values[3:6])
    assert any("parts: pictures of kind logical_anomalies: 1;" in note for note in found.notes)
    write_comparison(found, base / "compare", "ensemble-ad compare")
    assert "nan" not in markdown(found, "", [])
    assert sum(table.row_count for table in terminal_tables(found)) == 6


def test_a_cache_without_contributions_gets_them_and_keeps_the_rest(base: Path) -> None:
    run_in(base)
    shutil.rmtree(base / "cache" / "contributions")
    again, reused = run_in(base)
    assert {name for name, there in reused.items() if not there} == {"contributions"}
    assert (again.folder / "contributions.npz").exists()
    assert run_in(base)[0].reused
