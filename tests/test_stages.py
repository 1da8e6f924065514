"""What is computed, what is found again, and that the way through the cache gives the numbers of the direct way."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from loco_folder import build_class, noise, write_picture
from small_run import ALONE, FUSED, PATCHCORE, SIMPLENET, flip_byte, small_experiment

from data_loco import open_class
from data_loco.loading import Pictures
from ensemble_ad import stages as stages_module
from ensemble_ad.errors import ConfigError
from ensemble_ad.outcome import outcome
from ensemble_ad.prediction import Prediction
from ensemble_ad.schema import build_detector
from ensemble_ad.stages import Stages, extractors_of
from ensemble_ad.store import Store
from extractors.runtime import Runtime, using


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_class(tmp_path_factory.mktemp("data") / "parts")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory, parts: Path) -> Path:
    """Of a finished run of FUSED."""
    folder = tmp_path_factory.mktemp("cache")
    predicted(parts, folder, FUSED)
    return folder


def stages_of(parts: Path, cache: Path, size: tuple[int, int] = (64, 64)) -> Stages:
    return Stages(open_class(parts), size, Store(cache))


def predicted(parts: Path, cache: Path, detector: Mapping[str, Any], split: str = "test") -> Prediction:
    with using(Runtime(cache=cache / "backbone")):
        return stages_of(parts, cache).prediction(resolved(detector), split)


def resolved(detector: Mapping[str, Any], **changes: Any) -> Mapping[str, Any]:
    return small_experiment(detector, **changes).detector


def made(parts: Path, cache: Path, detector: Mapping[str, Any]) -> dict[str, int]:
    """How many stages of each name had to be computed."""
    stages = stages_of(parts, cache)
    stages.prediction(resolved(detector), "test")
    counts: dict[str, int] = {}
    for name, entry in stages.store.log:
        counts[name.split()[0]] = counts.get(name.split()[0], 0) + (not entry.reused)
    return counts


@pytest.mark.parametrize("detector", [ALONE, FUSED, {**FUSED, "combiner": {"name": "individual", "components": 4}}])
def test_the_cache_gives_what_fitting_and_predicting_directly_gives(
    parts: Path, cache: Path, detector: Mapping[str, Any]
) -> None:
    folder = open_class(parts)
    direct = build_detector(resolved(detector))
    direct.fit(Pictures(folder.train, (64, 64)), Pictures(folder.validation, (64, 64)))
    expected = direct.predict(torch.cat(list(Pictures(folder.test, (64, 64)))))
    staged = predicted(parts, cache, detector)
    torch.testing.assert_close(staged.scores, expected.scores, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(staged.maps, expected.maps, rtol=1e-5, atol=1e-5)


def test_the_fitted_detector_says_what_the_prediction_says(parts: Path, cache: Path) -> None:
    stages = stages_of(parts, cache)
    again = stages.detector(resolved(FUSED)).predict(next(iter(Pictures(stages.folder.test, (64, 64)))))
    torch.testing.assert_close(again.maps, predicted(parts, cache, FUSED).maps, rtol=1e-5, atol=1e-5)


def test_two_fresh_caches_give_the_same_bits(parts: Path, cache: Path, tmp_path: Path) -> None:
    first, second = predicted(parts, cache, FUSED), predicted(parts, tmp_path, FUSED)
    assert torch.equal(first.scores, second.scores)
    assert torch.equal(first.maps, second.maps)


def test_another_seed_gives_other_numbers(parts: Path, cache: Path) -> None:
    other = stages_of(parts, cache).prediction(resolved(FUSED, seed=1), "test")
    assert not torch.equal(other.scores, predicted(parts, cache, FUSED).scores)


CHANGES = {
    "nothing": (FUSED, {}),
    "the discriminator": ({**FUSED, "discriminator": {"hidden": 4, "epochs": 1}}, {"head": 1, "predict": 1}),
    "the combiner": ({**FUSED, "combiner": "none"}, {"head": 1, "predict": 1}),
    "the smoothing of the fused map": ({**FUSED, "sigma": 1.0}, {"predict": 1}),
    "the image score": ({**FUSED, "image_score": "top_mean"}, {"predict": 1}),
    "a member's cut": (
        {**FUSED, "extractors": [{**PATCHCORE, "cut": "residual"}, SIMPLENET]},
        {"features": 2, "head": 1, "predict": 1},
    ),
    "a member's smoothing": ({**ALONE, "method": {**PATCHCORE, "sigma": 2.0}}, {"predict": 1}),
    "a member's fit": (
        {**FUSED, "extractors": [PATCHCORE, {**SIMPLENET, "epochs": 1}]},
        {"fit": 1, "features": 2, "head": 1, "predict": 1},
    ),
    "one member alone": ({**ALONE, "method": SIMPLENET}, {"predict": 1}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_only_what_depends_on_a_change_is_computed_again(parts: Path, cache: Path, change: str) -> None:
    detector, expected = CHANGES[change]
    assert {name: count for name, count in made(parts, cache, detector).items() if count} == expected


def test_pictures_count_and_masks_do_not(parts: Path, cache: Path, tmp_path: Path) -> None:
    copy = build_class(tmp_path / "parts")
    (copy / "ground_truth" / "structural_anomalies" / "000" / "001.png").unlink()
    assert sum(made(copy, cache, FUSED).values()) == 0
    write_picture(copy / "test" / "good" / "000.png", noise(99))
    assert made(copy, cache, FUSED) == {"fit": 0, "features": 2, "head": 0, "predict": 1}


def test_other_weights_mean_other_predictions_and_other_metrics(
    parts: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reused() -> list[bool]:
        stages = stages_of(parts, cache)
        outcome(stages, resolved(ALONE), stages.prediction(resolved(ALONE), "test"))
        return [entry.reused for _, entry in stages.store.log]

    reused()
    assert all(reused())
    monkeypatch.setattr(stages_module, "_weights", lambda _: "other weights in the same file")
    assert not any(reused())


def test_the_plan_says_what_will_happen(parts: Path, tmp_path: Path) -> None:
    stages = stages_of(parts, tmp_path)
    names = ["fit patchcore", "fit simplenet", "features patchcore on train", "features simplenet on train"]
    names += ["fit the head", "predict patchcore+simplenet global on test"]
    plan = stages.plan(resolved(FUSED))
    assert sorted(name for name, _ in plan) == sorted(names)
    assert not any(there for _, there in plan)
    assert list(tmp_path.iterdir()) == []
    stages.prediction(resolved(FUSED), "test")
    assert all(there for _, there in stages_of(parts, tmp_path).plan(resolved(FUSED)))
    other = {**FUSED, "discriminator": {"hidden": 4}}
    assert [name for name, there in stages_of(parts, tmp_path).plan(resolved(other)) if not there] == names[-2:]


@pytest.mark.parametrize("stage", ["fit", "features", "head", "predict"])
def test_a_damaged_stage_is_computed_again_with_the_same_numbers(
    parts: Path, cache: Path, tmp_path: Path, stage: str
) -> None:
    expected = predicted(parts, tmp_path, FUSED)
    for path in (tmp_path / stage).glob("*/*.safetensors"):
        flip_byte(path)
    for path in (tmp_path / "predict").glob("*/stage.yaml"):
        path.write_text(path.read_text()[:20])
    assert made(parts, tmp_path, FUSED)[stage] > 0
    assert torch.equal(predicted(parts, tmp_path, FUSED).maps, expected.maps)


def test_trainings_leave_no_checkpoint_behind(cache: Path) -> None:
    assert list((cache / "checkpoints").iterdir()) == []


FAULTS = {
    "patchcore: expected coreset_ratio": {**ALONE, "method": {**PATCHCORE, "coreset_ratio": 2}},
    "patchcore: expected .*neighbours": {**ALONE, "method": {**PATCHCORE, "neighbours": 0}},
    "global: expected components": {
        **FUSED,
        "combiner": {"name": "global", "components": 0},
    },
}


@pytest.mark.parametrize("says", FAULTS)
def test_a_bad_value_names_the_component(parts: Path, cache: Path, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        predicted(parts, cache, FAULTS[says])


def test_a_detector_that_says_nan_is_refused(parts: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = torch.full((len(images), 64, 64), torch.nan)
        return maps, maps[:, 0, 0]

    monkeypatch.setattr("extractors.patchcore.PatchCore.detect", broken)
    with pytest.raises(ConfigError, match="patchcore: expected finite scores, got NaN"):
        predicted(parts, cache, {**ALONE, "method": {**PATCHCORE, "sigma": 3.0}})


def test_a_fault_of_the_program_keeps_its_class(parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class LibraryError(ValueError):
        pass

    def broken(self: object, images: object) -> None:
        raise LibraryError

    monkeypatch.setattr("extractors.patchcore.PatchCore.fit", broken)
    with pytest.raises(LibraryError):
        predicted(parts, tmp_path, ALONE)


def test_rectangular_pictures_keep_their_sides(parts: Path, tmp_path: Path) -> None:
    prediction = stages_of(parts, tmp_path, (64, 96)).prediction(resolved(FUSED), "test")
    assert prediction.maps.shape[1:] == (64, 96)


def test_extractors_of_both_kinds_of_detector() -> None:
    assert [entry["name"] for entry in extractors_of(ALONE)] == ["patchcore"]
    assert [entry["name"] for entry in extractors_of(FUSED)] == ["patchcore", "simplenet"]
