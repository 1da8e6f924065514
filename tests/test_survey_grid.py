"""A grid in YAML is every combination, once, or a sentence that says what is wrong with it."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from loco_folder import build_class, noise, write_picture
from small_run import FUSED, PATCHCORE, SIMPLENET
from small_survey import cells_in, write_grid

from data_loco import DataError
from ensemble_ad.errors import ConfigError
from ensemble_ad.plain import plain
from ensemble_ad.survey.grid import cells_of
from ensemble_ad.survey.units import plan_of


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("grid")
    for name in ("bolts", "pins"):
        build_class(base / "data" / name)
    return base


def test_the_cells_are_all_combinations(base: Path) -> None:
    cells = cells_in(base, seeds=[0, 3], sizes=[64, [32, 96]], detectors={"one": PATCHCORE, "two": FUSED})
    seen = [(c.surveyed.name, c.setting.label, c.setting.experiment.seed, c.setting.experiment.size) for c in cells]
    assert sorted(seen) == sorted(product(["bolts", "pins"], ["one", "two"], [0, 3], [(64, 64), (32, 96)]))
    assert len({cell.key for cell in cells}) == len(cells)


def test_an_extractors_name_stands_for_the_method_alone(base: Path) -> None:
    (cell, *_) = cells_in(base, detectors={"a": "patchcore"})
    assert cell.setting.experiment.detector["name"] == "standalone"
    assert cell.setting.experiment.detector["method"]["backbone"] == "tf_efficientnet_lite0"  # of the cpu preset


def test_the_commands_preset_replaces_the_files_and_not_a_detectors_own(base: Path) -> None:
    detectors = {"a": "patchcore", "b": {"preset": "cpu", "name": "patchcore"}}
    cells = cells_of(write_grid(base / "grid.yaml", detectors, sizes=[64]), preset="paper")
    assert {cell.setting.label: cell.setting.experiment.preset for cell in cells} == {"a": "paper", "b": "cpu"}


def test_without_sizes_a_cell_has_its_presets(base: Path) -> None:
    grid = base / "plain.yaml"
    grid.write_text(yaml.safe_dump({"classes": ["data/pins"], "detectors": {"a": "patchcore"}}))
    (cell,) = cells_of(grid)
    assert (cell.setting.experiment.size, cell.setting.experiment.seed) == ((256, 256), 0)


@pytest.mark.parametrize("classes", [["data"], ["data/*"], ["data/pins", "data/bolts"], ["data/[bp]*", "data/pins"]])
def test_classes_are_folders_folders_of_them_or_globs_each_once(base: Path, classes: list[str]) -> None:
    assert {cell.surveyed.name for cell in cells_in(base, classes=classes, detectors={"a": PATCHCORE})} == {
        "bolts",
        "pins",
    }
    assert len(cells_in(base, classes=classes, detectors={"a": PATCHCORE})) == 2


def test_folders_on_the_command_line_replace_the_files(base: Path, tmp_path: Path) -> None:
    build_class(tmp_path / "nuts")
    grid = write_grid(base / "grid.yaml", {"a": PATCHCORE})
    assert [cell.surveyed.name for cell in cells_of(grid, [tmp_path])] == ["nuts"]
    assert [cell.surveyed.name for cell in cells_of(grid, [tmp_path / "nuts", base / "data"])] == [
        "nuts",
        "bolts",
        "pins",
    ]


def test_a_cells_key_follows_pictures_and_settings_but_not_the_place(base: Path, tmp_path: Path) -> None:
    build_class(tmp_path / "data" / "pins")
    here, there = (cells_in(home, classes=["data/pins"], detectors={"a": PATCHCORE})[0] for home in (base, tmp_path))
    assert here.key == there.key
    write_picture(tmp_path / "data" / "pins" / "test" / "good" / "000.png", noise(99))
    assert cells_in(tmp_path, classes=["data/pins"], detectors={"a": PATCHCORE})[0].key != here.key
    changed = PATCHCORE | {"coreset_ratio": 0.2}
    assert cells_in(base, classes=["data/pins"], detectors={"a": changed})[0].key != here.key


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"seedss": [1]}, "unknown key 'seedss' .did you mean 'seeds'"),
    ({"seeds": [0, 0]}, "seeds: expected different ones"),
    ({"seeds": ["a"]}, "seeds: expected a list of whole numbers"),
    ({"seeds": [True]}, "seeds: expected a list of whole numbers"),
    ({"seeds": []}, "seeds: expected a list of whole numbers"),
    ({"sizes": 64}, "sizes: expected a list such as"),
    ({"sizes": [8]}, "size: expected .height, width. in pixels"),
    ({"detectors": ["patchcore"]}, "detectors: expected names with a detector each"),
    ({"detectors": {"a": "patchcor"}}, "detectors: a: unknown component 'patchcor'"),
    ({"detectors": {"a": {**PATCHCORE, "neighbors": 3}}}, "detectors: a: .*did you mean 'neighbours'"),
    ({"detectors": {"a": {**PATCHCORE, "oracle": 1}}}, "detectors: a: oracle: expected true or false"),
    ({"detectors": {"a": {**PATCHCORE, "preset": "cpuu"}}}, "detectors: a: unknown preset 'cpuu' .did you mean 'cpu'"),
    ({"quantile": 2}, "quantile: expected a number from"),
    ({"classes": []}, "no classes; add"),
    ({"classes": ["dat/*"]}, "nothing matches 'dat/\\*'"),
    ({"classes": [3]}, "classes: expected a list of paths"),
]


@pytest.mark.parametrize(("changes", "sentence"), WRONG)
def test_what_is_wrong_with_a_grid_is_said_with_file_and_key(base: Path, changes: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        cells_in(base, **changes)
    assert str(caught.value).startswith(str(base / "grid.yaml"))


def test_two_classes_of_one_name_and_a_folder_without_any_are_refused(base: Path, tmp_path: Path) -> None:
    build_class(tmp_path / "pins")
    grid = write_grid(base / "grid.yaml", {"a": PATCHCORE})
    with pytest.raises(ConfigError, match="two classes are called 'pins'"):
        cells_of(grid, [tmp_path, base / "data"])
    with pytest.raises(DataError, match="holds no class"):
        cells_of(grid, [tmp_path / "pins" / "test"])
    with pytest.raises(DataError, match="no such folder"):
        cells_of(grid, [tmp_path / "nothing"])


def test_a_class_with_faults_keeps_its_cells_and_says_why(base: Path, tmp_path: Path) -> None:
    build_class(tmp_path / "nuts")
    (tmp_path / "nuts" / "defects_config.json").write_text("{")
    (cell,) = cells_of(write_grid(base / "grid.yaml", {"a": PATCHCORE}), [tmp_path / "nuts"])
    assert "defects_config.json" in cell.surveyed.fault


def test_shared_work_is_one_unit_and_comes_first(base: Path) -> None:
    cells = cells_in(base, seeds=[0, 1], detectors={"patchcore": PATCHCORE, "simplenet": SIMPLENET, "fused": FUSED})
    plan = plan_of(cells)
    kinds = [unit.kind for unit in plan.units.values()]
    counts = {"frozen": 2, "fit": 8, "features": 8, "predict": 12, "record": 12}  # 2 classes, 2 seeds, 2 extractors
    assert {kind: kinds.count(kind) for kind in counts} == counts
    seen: set[str] = set()
    for key, unit in plan.units.items():
        assert set(unit.needs) <= seen
        seen.add(key)
    assert sorted(cell.key for cell in plan.records.values()) == sorted(cell.key for cell in cells)


def test_a_detector_under_two_names_is_recorded_once(base: Path) -> None:
    plan = plan_of(cells_in(base, detectors={"a": PATCHCORE, "b": PATCHCORE}, classes=["data/pins"]))
    assert len(plan.records) == 1


def test_members_of_an_output_ensemble_share_the_predictions_of_the_methods_alone(base: Path) -> None:
    (alone, fused) = cells_in(base, detectors={"a": PATCHCORE, "b": FUSED}, classes=["data/pins"])
    both = {"name": "output_ensemble", "detectors": [dict(c.setting.experiment.detector) for c in (alone, fused)]}
    nested = _with_detector(alone, both)
    kinds = [unit.kind for unit in plan_of([alone, fused, nested]).units.values()]
    assert kinds.count("predict") == 3
    plan = plan_of([nested])
    (last,) = (unit for unit in plan.units.values() if unit.kind == "predict" and unit.content == plain(both))
    assert [plan.units[key].content for key in last.needs] == plain(both["detectors"])


def _with_detector(cell: Any, detector: Any) -> Any:
    from dataclasses import replace

    experiment = replace(cell.setting.experiment, detector=detector)
    return replace(cell, setting=replace(cell.setting, experiment=experiment))
