"""What must hold for any maps and masks: the slow definitions, other libraries, and invariances."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from data_loco.sample import Defect
from ensemble_ad.metrics import LIMITS, ScoredPicture, auroc, average_precision, evaluate_pixels, f1_max, slow
from ensemble_ad.metrics.ranked import RankedScores

Pictures = list[ScoredPicture]


@st.composite
def small_sets(draw: Callable) -> Pictures:
    """A few pictures of a few pixels: ties, overlapping regions of several components, full masks, early saturation."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([1, 2, 4, 1000]))
    shape = (draw(st.integers(2, 5)), draw(st.integers(2, 6)))
    pictures: Pictures = []
    for number in range(draw(st.integers(1, 3))):
        regions = []
        for _ in range(draw(st.integers(1, 3))):
            mask = random.random(shape) < draw(st.sampled_from([0.1, 0.4, 1.0]))
            mask[random.integers(shape[0]), random.integers(shape[1])] = True
            saturation = int(random.integers(1, mask.sum() + 1))
            regions.append(Defect(str(random.choice(["missing", "extra"])), 255, mask, saturation))
        scores = random.integers(0, levels, shape) / levels
        pictures.append(ScoredPicture("logical_anomalies", f"{number:03}", scores, regions))
    for number in range(draw(st.integers(1, 2))):
        pictures.append(ScoredPicture("good", f"{number:03}", random.integers(0, levels, shape) / levels))
    return pictures


def levels_of(pictures: Pictures, **options: object):
    return evaluate_pixels(lambda: pictures, **options)[0]["logical_anomalies"]


@given(small_sets())
@settings(max_examples=60, deadline=None)
def test_every_area_equals_the_slow_definition(pictures: Pictures) -> None:
    level = levels_of(pictures, pro_limits=LIMITS)
    for limit in LIMITS:
        assert level.au_spro[limit] == pytest.approx(slow.au_spro(pictures, limit), abs=1e-9)
        assert level.au_pro[limit] == pytest.approx(slow.au_pro(pictures, limit), abs=1e-9)
    assert level.pixel_auroc == pytest.approx(slow.pixel_auroc(pictures), abs=1e-9)
    assert level.error_bound == 0


@given(small_sets())
@settings(max_examples=40, deadline=None)
def test_pixel_metrics_equal_scikit_learns(pictures: Pictures) -> None:
    level = levels_of(pictures)
    labels = np.concatenate([p.defective().ravel() for p in pictures])
    scores = np.concatenate([p.scores.ravel() for p in pictures])
    precision, recall, _ = precision_recall_curve(labels, scores)
    assert level.pixel_auroc == pytest.approx(roc_auc_score(labels, scores), abs=1e-9)
    assert level.au_pr == pytest.approx(average_precision_score(labels, scores), abs=1e-9)
    assert level.f1_max == pytest.approx(np.max(2 * precision * recall / (precision + recall + 1e-30)), abs=1e-9)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_image_metrics_equal_scikit_learns(normal: list[int], anomalous: list[int]) -> None:
    labels, scores = np.repeat([0, 1], [len(normal), len(anomalous)]), np.array(normal + anomalous)
    sides = np.array(normal), np.array(anomalous)
    precision, recall, _ = precision_recall_curve(labels, scores)
    assert auroc(*sides) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert average_precision(*sides) == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    assert f1_max(*sides) == pytest.approx(np.max(2 * precision * recall / (precision + recall + 1e-30)), abs=1e-12)


@given(small_sets(), st.sampled_from([np.exp, np.cbrt, lambda scores: 1e6 * scores - 7]))
@settings(max_examples=30, deadline=None)
def test_any_increasing_transform_leaves_every_value_as_it_is(pictures: Pictures, transform: Callable) -> None:
    moved = [ScoredPicture(p.kind, p.name, transform(p.scores), p.regions) for p in pictures]
    before, after = levels_of(pictures), levels_of(moved)
    assert before.au_spro == after.au_spro
    assert before.au_pro == after.au_pro
    assert (before.pixel_auroc, before.au_pr, before.f1_max) == (after.pixel_auroc, after.au_pr, after.f1_max)


@given(small_sets())
@settings(max_examples=40, deadline=None)
def test_every_value_lies_between_0_and_1(pictures: Pictures) -> None:
    level = levels_of(pictures)
    values = [level.pixel_auroc, level.au_pr, level.f1_max, *level.au_pro.values(), *level.au_spro.values()]
    values += [value for kind in level.per_defect.values() for value in kind.au_spro.values()]
    assert all(0 <= value <= 1 + 1e-12 for value in values)


@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 1000]))
@settings(max_examples=20, deadline=None)
def test_au_spro_is_au_pro_where_each_component_saturates_at_its_area(seed: int, levels: int) -> None:
    random = np.random.default_rng(seed)
    regions = []
    for corner in ((0, 0), (4, 4)):
        mask = np.zeros((8, 8), bool)
        height, width = random.integers(1, 4, 2)
        mask[corner[0] : corner[0] + height, corner[1] : corner[1] + width] = True
        regions.append(Defect("defect", 255, mask, int(mask.sum())))
    picture = ScoredPicture("logical_anomalies", "000", random.integers(0, levels, (8, 8)) / levels, regions)
    level = levels_of([picture], pro_limits=LIMITS)
    assert level.au_spro == pytest.approx(level.au_pro, abs=1e-12)


@given(small_sets())
@settings(max_examples=30, deadline=None)
def test_a_type_is_the_mean_of_its_defect_kinds_weighted_by_regions(pictures: Pictures) -> None:
    level = levels_of(pictures)
    kinds = level.per_defect.values()
    for limit in LIMITS:
        mean = np.average([kind.au_spro[limit] for kind in kinds], weights=[kind.regions for kind in kinds])
        assert level.au_spro[limit] == pytest.approx(mean, abs=1e-12)


@given(small_sets())
@settings(max_examples=30, deadline=None)
def test_the_curve_encloses_the_area(pictures: Pictures) -> None:
    level = levels_of(pictures)
    assert np.trapezoid(level.curve.spro, level.curve.fpr) == pytest.approx(level.au_spro[1.0], abs=1e-9)
    assert (np.diff(level.curve.fpr) >= 0).all()
    assert (np.diff(level.curve.spro) >= -1e-12).all()


@given(st.lists(st.integers(0, 50), min_size=4, max_size=200), st.integers(2, 12))
def test_thinned_scores_keep_the_mean_of_any_monotone_function_within_their_bound(scores: list[int], kept: int) -> None:
    exact = RankedScores.of(np.array(scores, float))
    thinned = exact.thinned(kept)
    step = 1.0 * (exact.values > np.median(scores))
    mean, bound = thinned.mean(1.0 * (thinned.values > np.median(scores)))
    assert abs(mean - step.mean()) <= bound + 1e-12
    assert bound <= 1 / (2 * (kept - 1))
    assert thinned.weights().sum() == pytest.approx(len(scores))
