"""What a survey will take, from what finished stages took."""

from pathlib import Path

import pytest
import yaml
from loco_folder import build_class
from small_run import FUSED, PATCHCORE
from small_survey import cells_in, survey_in

from ensemble_ad.survey.forecast import Forecast, read_forecast
from ensemble_ad.survey.units import plan_of

OUTPUTS = {"name": "output_ensemble", "detectors": [PATCHCORE, FUSED], "combiner": "mean"}
DETECTORS = {"patchcore": PATCHCORE, "fused": FUSED, "outputs": OUTPUTS}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A survey of one class is done; each stage of its cache says that it took as long as its kind is here given."""
    base = tmp_path_factory.mktemp("forecast")
    build_class(base / "data" / "bolts", train=7)
    build_class(base / "data" / "pins")
    survey_in(base, cells_in(base, detectors=DETECTORS, classes=["data/pins"]))
    for path in (base / "cache").glob("*/*/stage.yaml"):
        record = yaml.safe_load(path.read_text())
        path.write_text(yaml.safe_dump(record | {"seconds": SECONDS.get(path.parts[-3], 0.0)}))
    return base


SECONDS = {
    "frozen": 1.0,
    "fit": 10.0,
    "features": 100.0,
    "head": 1000.0,
    "rules": 5.0,
    "predict": 0.25,
    "evaluate": 0.0625,
}
BY_KIND = {"frozen": 1.0, "fit": 10.0, "features": 300.0, "record": 0.0625}  # features: of three splits


@pytest.fixture(scope="module")
def forecast(base: Path) -> Forecast:
    return read_forecast(base / "cache")


def test_a_unit_takes_what_its_stages_took_for_any_class_and_seed(base: Path, forecast: Forecast) -> None:
    cells = cells_in(base, detectors=DETECTORS, classes=["data/bolts"], seeds=[7])
    units = plan_of(cells).units.values()
    assert {unit.kind: forecast.of(unit) for unit in units if unit.kind != "predict"} == BY_KIND
    predicted = {unit.content["name"]: forecast.of(unit) for unit in units if unit.kind == "predict"}
    assert predicted == {"standalone": 0.5, "feature_ensemble": 1000.5, "output_ensemble": 5.5}


def test_other_settings_and_sizes_are_unknown(base: Path, forecast: Forecast) -> None:
    for changes in ({"sizes": [96]}, {"detectors": {"a": PATCHCORE | {"coreset_ratio": 0.2}}}):
        cells = cells_in(base, **{"detectors": {"a": PATCHCORE}} | changes)
        (fit, *_) = (unit for unit in plan_of(cells).units.values() if unit.kind == "fit")
        assert forecast.of(fit) is None


def test_what_a_fit_does_not_depend_on_does_not_matter(base: Path, forecast: Forecast) -> None:
    cells = cells_in(base, detectors={"a": PATCHCORE | {"neighbours": 5}})
    (fit, *_) = (unit for unit in plan_of(cells).units.values() if unit.kind == "fit")
    assert forecast.of(fit) == 10.0


def test_an_empty_or_foreign_cache_knows_nothing(tmp_path: Path) -> None:
    assert read_forecast(tmp_path).seconds == {}
    (tmp_path / "fit" / "x").mkdir(parents=True)
    for text in ("", "[", "seconds: a", "{seconds: 1, depends_on: {}}"):
        (tmp_path / "fit" / "x" / "stage.yaml").write_text(text)
        assert read_forecast(tmp_path).seconds == {}
