"""A global scorer is a member like any other: alone, in output ensembles, stages, plans, saved models and reports."""

from pathlib import Path
from typing import Any

import pytest
import torch
from loco_folder import build_class
from small_run import PATCHCORE, call, small_experiment, write_experiment

from data_loco import open_class
from data_loco.loading import Pictures
from ensemble_ad.comparison.names import short_name
from ensemble_ad.detectors import DescribedMaps
from ensemble_ad.errors import ConfigError
from ensemble_ad.labels import label_of, title_of
from ensemble_ad.persistence import Saved, load_detector, save_detector
from ensemble_ad.planning import predicted_memory_mb
from ensemble_ad.schema import build_detector
from ensemble_ad.stages import Stages
from ensemble_ad.store import Store
from extractors.runtime import Runtime, using

NETWORK: dict[str, Any] = {"backbone": "test_resnet", "weights": "random", "layers": ["layer1", "layer2"]}
POOLED: dict[str, Any] = {"name": "pooled_statistics", **NETWORK}
WORDS: dict[str, Any] = {"name": "word_histograms", **NETWORK, "words": 4}
DESCRIBED: dict[str, Any] = {"name": "map_descriptors", "detector": PATCHCORE}
KINDS: dict[str, dict[str, Any]] = {
    "alone": {"name": "standalone", "method": POOLED},
    "together": {"name": "output_ensemble", "detectors": [PATCHCORE, POOLED], "combiner": "mean"},
    "described": DESCRIBED,
    "nested": {"name": "output_ensemble", "detectors": [DESCRIBED, WORDS], "combiner": "maximum"},
}
of_every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_class(tmp_path_factory.mktemp("data") / "parts", validation=4)


@pytest.fixture(scope="module")
def stages(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Stages:
    return Stages(open_class(parts), (64, 64), Store(tmp_path_factory.mktemp("cache")))


@of_every_kind
def test_stages_give_what_the_detector_itself_gives(stages: Stages, kind: str) -> None:
    description = small_experiment(KINDS[kind]).detector
    with using(Runtime(engine="torch")):
        stored = stages.prediction(description, "test")
        detector = build_detector(description)
        detector.fit(Pictures(stages.folder.train, (64, 64)), Pictures(stages.folder.validation, (64, 64)))
        said = [detector.predict(images) for images in Pictures(stages.folder.test, (64, 64))]
        loaded = stages.detector(description).predict(next(iter(Pictures(stages.folder.test, (64, 64)))))
    torch.testing.assert_close(stored.scores, torch.cat([part.scores for part in said]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(stored.maps, torch.cat([part.maps for part in said]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(loaded.scores, stored.scores[: len(loaded.scores)], rtol=1e-4, atol=1e-4)


@of_every_kind
def test_a_plan_names_the_stages_and_ends_with_all_of_them_there(stages: Stages, kind: str) -> None:
    description = small_experiment(KINDS[kind]).detector
    with using(Runtime(engine="torch")):
        stages.prediction(description, "validation")
        stages.prediction(description, "test")
        steps = stages.plan(description)
        assert predicted_memory_mb(stages, description) > 700
    assert all(there for _, there in steps)
    assert len(dict(steps)) == len(steps) >= 2


@of_every_kind
def test_a_saved_detector_judges_as_before(stages: Stages, kind: str, tmp_path: Path) -> None:
    experiment = small_experiment(KINDS[kind])
    images = next(iter(Pictures(stages.folder.test, (64, 64))))
    with using(Runtime(engine="torch")):
        detector = stages.detector(experiment.detector)
        save_detector(tmp_path / "model", Saved(experiment, detector, 1.0, (0.0, 1.0)))
        loaded = load_detector(tmp_path / "model").detector
        assert torch.equal(loaded.predict(images).scores, detector.predict(images).scores)
        assert torch.equal(loaded.predict(images).maps, detector.predict(images).maps)


def test_map_descriptors_keep_the_member_s_maps_and_replace_its_scores(stages: Stages) -> None:
    described = small_experiment(DESCRIBED).detector
    with using(Runtime(engine="torch")):
        member, found = (stages.prediction(one, "test") for one in (described["detector"], described))
    assert torch.equal(found.maps, member.maps)
    assert not torch.equal(found.scores, member.scores)


def test_map_descriptors_need_normal_validation_pictures() -> None:
    detector = DescribedMaps(build_detector(small_experiment(KINDS["alone"]).detector))
    with using(Runtime(engine="torch")), pytest.raises(ValueError, match="expected normal validation pictures"):
        detector.fit([torch.rand(3, 3, 64, 64)], [])


def test_what_they_are_called() -> None:
    described = small_experiment(DESCRIBED).detector
    assert label_of(described) == short_name(described) == "map_descriptors(patchcore)"
    assert title_of(described) == "patchcore, scored by what its maps look like"
    assert label_of(small_experiment(KINDS["together"]).detector) == "mean(patchcore, pooled_statistics)"


@pytest.mark.parametrize("entry", ["pooled_statistics", POOLED], ids=["name", "mapping"])
def test_a_scorer_has_no_features_to_fuse(entry: Any) -> None:
    detector = {"name": "feature_ensemble", "extractors": [PATCHCORE, entry], "combiner": "global"}
    with pytest.raises(ConfigError, match="extractors: pooled_statistics judges the picture as a whole"):
        small_experiment(detector)


def test_the_command_line_takes_a_scorer_for_a_member(parts: Path, tmp_path: Path) -> None:
    alone = call(
        "run", "--data", parts, "--extractors", "pooled_statistics", "--dry-run", "--cache", tmp_path / "cache"
    )
    assert alone.code == 0
    assert "name: standalone" in alone.out
    both = "--extractors", "patchcore,pooled_statistics"
    mean = call("run", "--data", parts, *both, "--combiner", "mean", "--dry-run", "--cache", tmp_path / "cache")
    assert "name: output_ensemble" in mean.out
    fused = call("run", "--data", parts, *both, "--dry-run", "--cache", tmp_path / "cache")
    assert fused.code == 2
    assert "no features to fuse" in " ".join(fused.err.split())


def test_a_run_with_scorers_writes_a_report_with_a_column_for_each(parts: Path, tmp_path: Path) -> None:
    path = write_experiment(tmp_path / "experiment.yaml", KINDS["nested"])
    done = call(
        "run", path, "--data", parts, "--out", tmp_path / "run", "--cache", tmp_path / "cache", "--engine", "torch"
    )
    assert done.code == 0, done.err
    page = (tmp_path / "run" / "report.html").read_text()
    assert "map_descriptors(patchcore)" in page
    assert "word_histograms" in page


def test_list_shows_a_scorer_and_what_it_takes() -> None:
    shown = call("list", "set_features")
    assert "global scorer set_features" in shown.out
    assert "projections" in shown.out
