import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from loco_folder import SHAPE, build_class

from data_loco import ClassFolder, Sample, open_class
from ensemble_ad.evaluation import Evaluation, evaluate_class
from ensemble_ad.metrics import ScoredPicture, au_spro, auroc
from ensemble_ad.submission import evaluate_submission

LIMITS = ["0.01", "0.05", "0.1", "0.3", "1.0"]
TYPES = ["logical_anomalies", "structural_anomalies", "mean"]


@pytest.fixture
def parts(tmp_path: Path) -> ClassFolder:
    return open_class(build_class(tmp_path / "parts"))


def noise(sample: Sample) -> np.ndarray:
    """A map that sees a little of every defect."""
    seed = sum(f"{sample.kind}/{sample.id}".encode())
    scores = np.random.default_rng(seed).random(SHAPE, dtype=np.float32)
    for defect in sample.defects():
        scores[defect.mask] += np.float32(0.4)
    return scores


def perfect(sample: Sample) -> np.ndarray:
    return np.sum([np.zeros(SHAPE), *(defect.mask for defect in sample.defects())], axis=0)


def test_the_json_has_every_metric_for_every_type(parts: ClassFolder) -> None:
    report = json.loads(json.dumps(evaluate_class(parts, noise).to_json(), allow_nan=False))
    assert list(report) == ["image_auroc", "pixel_auroc", "au_pr", "f1_max", "au_pro", "au_spro", "per_defect"]
    for metric in ("image_auroc", "pixel_auroc", "au_pr", "f1_max"):
        assert list(report[metric]) == TYPES
    assert list(report["au_pro"]) == ["0.3"]
    assert list(report["au_spro"]) == LIMITS
    assert all(list(values) == TYPES for values in [*report["au_pro"].values(), *report["au_spro"].values()])
    missing = report["per_defect"]["missing_hole"]
    assert (missing["type"], missing["regions"], list(missing["au_spro"])) == ("logical_anomalies", 1, LIMITS)
    assert report["per_defect"]["scratch"]["regions"] == 2


def test_perfect_maps_score_1_everywhere(parts: ClassFolder) -> None:
    report = evaluate_class(parts, perfect).to_json()
    assert [report["au_spro"][limit]["mean"] for limit in LIMITS] == [1.0] * 5
    assert [report[metric]["mean"] for metric in ("image_auroc", "pixel_auroc", "au_pr", "f1_max")] == [1.0] * 4


def test_values_are_those_of_the_metrics_alone(parts: ClassFolder) -> None:
    report = evaluate_class(parts, noise).to_json()
    for kind in TYPES[:2]:
        seen = [sample for sample in parts.test if sample.kind in ("good", kind)]
        pictures = [ScoredPicture(s.kind, s.id, noise(s), s.defects()) for s in seen]
        assert report["au_spro"]["0.3"][kind] == au_spro(pictures, 0.3)
        highest = {side: [p.scores.max() for p in pictures if p.kind == side] for side in ("good", kind)}
        assert report["image_auroc"][kind] == auroc(np.array(highest["good"]), np.array(highest[kind]))
    values = report["pixel_auroc"]
    assert values["mean"] == pytest.approx((values[TYPES[0]] + values[TYPES[1]]) / 2)


def test_an_absent_type_is_null_and_left_out_of_the_mean(parts: ClassFolder) -> None:
    present = tuple(sample for sample in parts.test if sample.kind != "logical_anomalies")
    report = evaluate_class(with_test(parts, present), noise).to_json()
    for values in (report["pixel_auroc"], report["image_auroc"], report["au_spro"]["0.05"]):
        assert values["logical_anomalies"] is None
        assert values["mean"] == values["structural_anomalies"]


def test_without_good_pictures_only_the_image_level_is_null(parts: ClassFolder) -> None:
    report = evaluate_class(with_test(parts, tuple(s for s in parts.test if s.kind != "good")), noise).to_json()
    assert set(report["image_auroc"].values()) == {None}
    assert report["per_defect"]["scratch"]["image_auroc"] is None
    assert report["pixel_auroc"]["mean"] > 0.5


def test_without_anomalous_pictures_everything_is_null(parts: ClassFolder) -> None:
    report = evaluate_class(with_test(parts, tuple(s for s in parts.test if s.kind == "good")), noise).to_json()
    assert set(report["au_spro"]["0.05"].values()) == set(report["image_auroc"].values()) == {None}
    assert report["per_defect"] == {}


def test_other_types_stand_beside_locos(tmp_path: Path) -> None:
    root = build_class(tmp_path / "parts")
    for folder in ("test", "ground_truth"):
        (root / folder / "logical_anomalies").rename(root / folder / "bent")
    report = evaluate_class(open_class(root), noise).to_json()
    assert list(report["pixel_auroc"]) == ["logical_anomalies", "structural_anomalies", "bent", "mean"]
    assert report["per_defect"]["missing_hole"]["type"] == "bent"


def test_a_defect_kind_of_two_types_is_named_by_its_type(tmp_path: Path) -> None:
    root = build_class(tmp_path / "parts")
    masks = root / "ground_truth"
    (masks / "structural_anomalies/000/000.png").replace(masks / "logical_anomalies/000/000.png")
    report = evaluate_class(open_class(root), noise).to_json()
    assert sorted(report["per_defect"]) == ["logical_anomalies/scratch", "structural_anomalies/scratch"]


def test_given_image_scores_replace_the_maps_maxima(parts: ClassFolder) -> None:
    scores = {f"{s.kind}/{s.id}": 0.0 if s.kind == "structural_anomalies" else 1.0 for s in parts.test}
    report = evaluate_class(parts, noise, scores).to_json()
    assert report["image_auroc"] == {"logical_anomalies": 0.5, "structural_anomalies": 0.0, "mean": 0.25}
    del scores["good/001"]
    with pytest.raises(ValueError, match=r"none for 1 of them: good/001"):
        evaluate_class(parts, noise, scores)


@pytest.mark.parametrize("kind", ["good", "structural_anomalies"])
def test_maps_of_another_size_or_with_nan_name_the_picture(parts: ClassFolder, kind: str) -> None:
    def half(sample: Sample) -> np.ndarray:
        return noise(sample)[::2] if sample.kind == kind else noise(sample)

    with pytest.raises(ValueError, match=rf"picture {kind}/000: expected a map of its original size \[12, 20\]"):
        evaluate_class(parts, half)
    with pytest.raises(ValueError, match=f"picture {kind}/000: .*NaN"):
        evaluate_class(parts, lambda sample: noise(sample) * (np.nan if sample.kind == kind else 1))


def test_the_error_bound_is_reported_where_there_is_one(parts: ClassFolder) -> None:
    exact = evaluate_class(parts, noise)
    assert exact.error_bound == 0
    levels = {kind: replace(level, error_bound=3e-6) for kind, level in exact.levels.items()}
    assert Evaluation(levels, exact.image_auroc, exact.per_defect).to_json()["error_bound"] == 3e-6


def test_progress_counts_every_visit(parts: ClassFolder) -> None:
    seen: list[tuple[int, int]] = []
    evaluate_class(parts, noise, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(number, 8) for number in range(1, 9)]


def test_evaluate_class_equals_evaluating_the_same_maps_on_disk(parts: ClassFolder, tmp_path: Path) -> None:
    for sample in parts.test:
        path = tmp_path / "maps" / "test" / sample.kind / f"{sample.id}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, noise(sample))
    assert evaluate_submission(tmp_path / "maps", parts).to_json() == evaluate_class(parts, noise).to_json()


def with_test(parts: ClassFolder, test: tuple[Sample, ...]) -> ClassFolder:
    return replace(parts, test=test)
