from collections.abc import Iterator

import numpy as np
import pytest

from data_loco.sample import Defect
from ensemble_ad.metrics import ScoredPicture, au_spro, evaluate_pixels
from ensemble_ad.metrics.collection import collect
from ensemble_ad.metrics.counting import count
from ensemble_ad.metrics.curves import POINTS
from ensemble_ad.metrics.survival import Survival

KINDS = ("good", "logical_anomalies", "structural_anomalies")


def picture(kind: str, number: int, size: tuple[int, int] = (40, 50)) -> ScoredPicture:
    random = np.random.default_rng(number)
    scores = random.random(size, dtype=np.float32)
    if kind == "good":
        return ScoredPicture(kind, f"{number:03}", scores)
    mask = np.zeros(size, bool)
    mask[5:20, number : number + 9] = True
    scores[mask] += np.float32(0.3)
    return ScoredPicture(kind, f"{number:03}", scores, [Defect("cut", 255, mask, int(mask.sum()) // 2)])


PICTURES = [picture(kind, number) for kind in KINDS for number in range(4)]


def test_a_type_sees_its_own_pictures_and_the_good_ones() -> None:
    together, _ = evaluate_pixels(lambda: PICTURES)
    for kind in KINDS[1:]:
        alone = [p for p in PICTURES if p.kind in ("good", kind)]
        assert evaluate_pixels(lambda alone=alone: alone)[0][kind].au_spro == together[kind].au_spro


def test_types_of_any_name_are_evaluated() -> None:
    levels, _ = evaluate_pixels(lambda: [picture("good", 0), picture("scratch_neck", 1), picture("thread_top", 2)])
    assert list(levels) == ["scratch_neck", "thread_top"]


def test_counting_in_small_chunks_changes_nothing() -> None:
    collection = collect(PICTURES)
    whole, pieces = count(PICTURES, collection), count(PICTURES, collection, chunk=1500)
    for kind in whole:
        for side in ("negatives", "positives"):
            expected, counted = getattr(whole[kind], side), getattr(pieces[kind], side)
            assert counted.total == expected.total
            assert (counted.above == expected.above).all()
            assert (counted.at_least == expected.at_least).all()


def test_maps_drawn_into_the_same_memory_are_told_apart() -> None:
    memory = np.empty_like(PICTURES[0].scores)

    def reusing() -> Iterator[ScoredPicture]:
        for given in PICTURES:
            memory[:] = given.scores
            yield ScoredPicture(given.kind, given.name, memory, given.regions)

    expected, _ = evaluate_pixels(lambda: PICTURES)
    assert {kind: level.au_spro for kind, level in evaluate_pixels(reusing)[0].items()} == {
        kind: level.au_spro for kind, level in expected.items()
    }


@pytest.mark.parametrize("levels", [3, 2**20])
def test_thinned_regions_stay_within_the_printed_bound(levels: int) -> None:
    coarse = [ScoredPicture(p.kind, p.name, np.floor(p.scores * levels) / levels, p.regions) for p in PICTURES]
    exact, _ = evaluate_pixels(lambda: coarse, pro_limits=(0.1, 0.3))
    thinned, _ = evaluate_pixels(lambda: coarse, pro_limits=(0.1, 0.3), exact_bytes=100, thinned_to=20)
    for kind, level in thinned.items():
        bound = level.error_bound
        assert 0 < bound < 0.1
        assert level.au_spro == pytest.approx(exact[kind].au_spro, abs=bound)
        assert level.au_pro == pytest.approx(exact[kind].au_pro, abs=bound)
        assert level.pixel_auroc == pytest.approx(exact[kind].pixel_auroc, abs=bound)
        assert level.au_pr == pytest.approx(exact[kind].au_pr, abs=bound)
        assert level.f1_max == pytest.approx(exact[kind].f1_max, abs=bound)


def test_thinning_at_its_default_is_off_by_less_than_1e_5() -> None:
    pictures = [picture("good", 0, size=(600, 500)), picture("logical_anomalies", 1, size=(600, 500))]
    mask = np.ones((600, 500), bool)
    mask[:50] = False
    pictures[1] = ScoredPicture("logical_anomalies", "001", pictures[1].scores, [Defect("cut", 255, mask, 200_000)])
    exact = evaluate_pixels(lambda: pictures)[0]["logical_anomalies"]
    thinned = evaluate_pixels(lambda: pictures, exact_bytes=0)[0]["logical_anomalies"]
    assert 0 < thinned.error_bound <= 1e-5
    assert thinned.au_spro == pytest.approx(exact.au_spro, abs=1e-5)
    assert thinned.au_pr == pytest.approx(exact.au_pr, abs=1e-5)


def test_a_long_curve_is_thinned_and_keeps_its_area() -> None:
    large = [picture("good", 0, size=(300, 300)), picture("logical_anomalies", 1, size=(300, 300))]
    mask = np.arange(90_000).reshape(300, 300) % 3 == 0
    large[1] = ScoredPicture("logical_anomalies", "001", large[1].scores, [Defect("cut", 255, mask, 30_000)])
    level = evaluate_pixels(lambda: large)[0]["logical_anomalies"]
    assert level.curve.fpr.size <= POINTS
    assert np.trapezoid(level.curve.spro, level.curve.fpr) == pytest.approx(level.au_spro[1.0], abs=1e-4)


def test_no_picture_with_a_region_gives_no_type() -> None:
    assert evaluate_pixels(lambda: [picture("good", 0)])[0] == {}
    with pytest.raises(ValueError, match="at least one picture with a region"):
        au_spro([picture("good", 0)])


def test_a_type_without_a_defect_free_pixel_is_refused() -> None:
    full = Defect("empty_bottle", 255, np.ones((2, 2), bool), 4)
    pictures = [ScoredPicture("logical_anomalies", "000", np.eye(2), [full])]
    with pytest.raises(ValueError, match="logical_anomalies: expected a defect-free pixel"):
        evaluate_pixels(lambda: pictures)


@pytest.mark.parametrize("limit", [0.0, -0.1, 1.5])
def test_limits_outside_0_to_1_are_refused(limit: float) -> None:
    with pytest.raises(ValueError, match="limits in"):
        evaluate_pixels(lambda: PICTURES, [limit])


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        (np.array([[np.nan, 1.0]]), "finite scores, got 1"),
        (np.array([[np.inf, -np.inf]]), "finite scores, got 2"),
        (np.zeros((1, 2, 3)), r"\[H, W\], got float64 \[1, 2, 3\]"),
        (np.zeros((0, 3)), r"\[H, W\]"),
        (np.zeros((2, 2), complex), "real scores"),
    ],
)
def test_a_map_that_is_not_one_names_the_picture(scores: np.ndarray, reason: str) -> None:
    with pytest.raises(ValueError, match=f"picture good/007: .*{reason}"):
        ScoredPicture("good", "007", scores)


@pytest.mark.parametrize(
    ("defect", "reason"),
    [
        (Defect("cut", 255, np.ones((3, 2), bool), 1), r"original size \[3, 2\], got \[2, 2\]"),
        (Defect("cut", 255, np.zeros((2, 2), bool), 1), "'cut' must be boolean and have at least one pixel"),
        (Defect("cut", 255, np.ones((2, 2), np.uint8), 1), "must be boolean"),
        (Defect("cut", 255, np.ones((2, 2), bool), 0), "saturation area 0"),
    ],
)
def test_a_region_that_cannot_be_one_names_the_picture(defect: Defect, reason: str) -> None:
    with pytest.raises(ValueError, match=f"picture bent/000: .*{reason}"):
        ScoredPicture("bent", "000", np.zeros((2, 2)), [defect])


def test_only_good_pictures_may_and_must_be_without_regions() -> None:
    region = Defect("cut", 255, np.ones((2, 2), bool), 1)
    with pytest.raises(ValueError, match="expected no region"):
        ScoredPicture("good", "000", np.zeros((2, 2)), [region])
    with pytest.raises(ValueError, match="mask is missing"):
        ScoredPicture("bent", "000", np.zeros((2, 2)))


@pytest.mark.parametrize("dtype", [np.float16, np.uint8, np.uint16, np.int8, bool])
def test_small_types_become_float32(dtype: type) -> None:
    assert ScoredPicture("good", "000", np.zeros((2, 2), dtype)).scores.dtype == np.float32


def test_neighbouring_float64_scores_are_told_apart() -> None:
    scores = np.array([[np.nextafter(1.0, 2.0), 1.0]])
    mask = np.array([[True, False]])
    assert au_spro([ScoredPicture("bent", "000", scores, [Defect("cut", 255, mask, 1)])], 1.0) == 1.0


def test_survival_counts_like_comparing_with_every_threshold() -> None:
    random = np.random.default_rng(0)
    scores, thresholds = random.integers(0, 30, 500) / 30, np.unique(random.integers(0, 30, 20) / 30)
    survival = Survival(thresholds).add(np.sort(scores[:200])).add(np.sort(scores[200:]))
    assert survival.above.tolist() == [(scores > t).sum() for t in thresholds]
    assert survival.at_least.tolist() == [(scores >= t).sum() for t in thresholds]
    assert survival.total == 500
