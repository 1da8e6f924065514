"""Few thresholds are enough: pieces times weights give the metrics of the pictures as often as they are weighted."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from comparison_records import LOGICAL, STRUCTURAL, as_class, make_pictures, noisy, scored

from data_loco import Defect
from ensemble_ad.comparison.bootstrap import draw, pixel_metrics
from ensemble_ad.comparison.contributions import Pieces, pieces_of, read_contributions, write_contributions
from ensemble_ad.comparison.grid import DENSE, Tail, thresholds
from ensemble_ad.metrics import GOOD, ScoredPicture, evaluate_pixels

COUNTS = {GOOD: 6, LOGICAL: 5, STRUCTURAL: 4}
PICTURES = make_pictures(COUNTS, size=(96, 128))
TOLERANCE = 1e-3


def smooth(picture: ScoredPicture) -> np.ndarray:
    """As detectors' maps are: blurred, heavy-tailed, of another level in each picture."""
    level = np.random.default_rng(sum(picture.name.encode())).uniform(0.5, 2)
    return np.exp(level * cv2.GaussianBlur(picture.scores, (0, 0), 4) * 3)


TRANSFORMS: dict[str, Callable[[ScoredPicture], np.ndarray]] = {
    "noise": lambda picture: picture.scores,
    "smooth": smooth,
    "quantised": lambda picture: np.round(picture.scores * 4),
    "mostly one value": lambda picture: np.maximum(picture.scores, 1),
    "two values": lambda picture: (picture.scores > 1).astype(np.uint8),
    "constant": lambda picture: np.zeros_like(picture.scores),
    "double precision": lambda picture: 1 + 1e-9 * picture.scores.astype(np.float64),
    "blind": lambda picture: -picture.scores,
}


def exact(pictures: list[ScoredPicture], kind: str) -> dict[str, float]:
    level = evaluate_pixels(lambda: pictures)[0][kind]
    areas = {"pixel AUROC": level.pixel_auroc, "AU-PR": level.au_pr}
    areas |= {f"AU-PRO@{limit}": area for limit, area in level.au_pro.items()}
    return areas | {f"AU-sPRO@{limit}": area for limit, area in level.au_spro.items()}


def transformed(name: str) -> list[ScoredPicture]:
    pictures = scored(PICTURES, noisy(1.5))
    return [ScoredPicture(one.kind, one.name, TRANSFORMS[name](one), one.regions) for one in pictures]


@pytest.mark.parametrize("name", TRANSFORMS)
def test_weights_of_one_give_the_exact_metrics(name: str) -> None:
    pictures = transformed(name)
    for kind, pieces in pieces_of(lambda: iter(pictures)).items():
        found = pixel_metrics({GOOD: np.ones((1, pieces.good)), kind: np.ones((1, len(pieces.spro)))}, pieces, kind)
        expected = exact(pictures, kind)
        assert found.keys() == expected.keys()
        for metric, values in found.items():
            assert values == pytest.approx([expected[metric]], abs=TOLERANCE), metric


@pytest.mark.parametrize("name", ["noise", "smooth", "quantised"])
def test_weights_give_the_metrics_of_pictures_drawn_again(name: str) -> None:
    pictures = transformed(name)
    pieces = pieces_of(lambda: iter(pictures))
    weights = draw(COUNTS, 3, [1])
    for kind in (LOGICAL, STRUCTURAL):
        found = pixel_metrics(weights, pieces[kind], kind)
        for row in range(3):
            times = {of: weights[of][row].astype(int) for of in (GOOD, kind)}
            again = [
                one
                for of in times
                for one, count in zip([one for one in pictures if one.kind == of], times[of])
                for _ in range(count)
            ]
            for metric, value in exact(again, kind).items():
                # Of two or three drawn pictures the few highest scores decide about precision.
                allowed = 2 * TOLERANCE if metric == "AU-PR" else TOLERANCE
                assert found[metric][row] == pytest.approx(value, abs=allowed), metric


def test_counts_of_a_picture_worked_out_by_hand() -> None:
    """Two overlapping regions, one component: what is found above each score."""
    first, second = np.zeros((2, 3), bool), np.zeros((2, 3), bool)
    first[0, :2], second[0, 1:] = True, True
    regions = [Defect("a", 255, first, 1), Defect("b", 254, second, 2)]
    bad = ScoredPicture("bent", "000", np.array([[5.0, 3.0, 1.0], [4.0, 2.0, 0.0]]), regions)
    good = ScoredPicture(GOOD, "000", np.array([[2.5]]))
    pieces = pieces_of(lambda: iter([good, bad]))["bent"]
    at = [np.flatnonzero(pieces.thresholds >= score)[-1] for score in (4.0, 3.0, 1.0)]
    assert pieces.pictures.tolist() == ["good/000", "bent/000"]
    assert pieces.false[:, at].tolist() == [[0, 0, 1], [0, 1, 2]]
    assert pieces.found[:, at].tolist() == [[1, 1, 2]]
    assert pieces.spro[:, at].tolist() == [[1.0, 1.0, 1.5]]
    assert pieces.pro[:, at] == pytest.approx(np.array([[1 / 3, 1 / 3, 2 / 3]]))
    assert pieces.regions.tolist() == [2]
    assert pieces.false[:, -1].tolist() == [1, 3]


def test_a_region_that_can_never_be_found_completely_keeps_its_weight() -> None:
    mask = np.zeros((2, 2), bool)
    mask[0, 0] = True
    bad = ScoredPicture("bent", "000", np.array([[9.0, 1.0], [2.0, 3.0]]), [Defect("a", 255, mask, 4)])
    pieces = pieces_of(lambda: iter([bad]))["bent"]
    found = pixel_metrics({"bent": np.ones((1, 1))}, pieces, "bent")
    assert found["AU-sPRO@1.0"] == pytest.approx([0.25])


def test_thresholds_follow_the_rate_of_false_positives() -> None:
    """Between neighbours lies at most a hundredth of the smallest limit, or of the rate where that is higher."""
    scores = [np.sort(np.random.default_rng(seed).gamma(2, size=60_000)) for seed in range(3)]
    grid = thresholds([Tail.of(one) for one in scores], [np.array([1.0])])
    everything = np.sort(np.concatenate(scores))
    rate = 1 - np.searchsorted(everything, grid, "right") / everything.size
    assert (np.diff(rate) <= np.maximum(rate[1:], 0.01) / 80).all()
    assert (np.diff(grid) < 0).all()
    assert (grid[0], grid[-1], grid[1]) == (np.inf, -np.inf, everything[-1])
    assert len(grid) < 800


def test_a_tail_stands_for_all_scores() -> None:
    scores = np.sort(np.random.default_rng(0).random(50_000))
    tail = Tail.of(scores)
    assert tail.weights.sum() == scores.size
    assert tail.values[:DENSE].tolist() == scores[::-1][:DENSE].tolist()
    above = np.searchsorted(-scores[::-1], -tail.values, "right")
    assert above.tolist() == np.cumsum(tail.weights).tolist()
    assert len(tail.values) < 6000


def test_pictures_arrive_in_any_order_and_good_ones_are_put_first() -> None:
    pictures = scored(PICTURES, noisy(1.0))
    usual, mixed = pieces_of(lambda: iter(pictures)), pieces_of(lambda: iter(pictures[::-1]))
    assert mixed[LOGICAL].pictures.tolist()[: COUNTS[GOOD]] == usual[LOGICAL].pictures.tolist()[: COUNTS[GOOD]][::-1]
    assert (mixed[LOGICAL].false.sum(axis=0) == usual[LOGICAL].false.sum(axis=0)).all()


def test_the_file_gives_back_what_was_written(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_contributions(
        tmp_path / "contributions.npz", as_class(PICTURES), noisy(1.0), lambda done, of: seen.append((done, of))
    )
    expected = pieces_of(lambda: iter(scored(PICTURES, noisy(1.0))))
    found = read_contributions(tmp_path / "contributions.npz")
    assert found.keys() == expected.keys() == {LOGICAL, STRUCTURAL}
    for kind, pieces in found.items():
        for name in Pieces.__dataclass_fields__:
            assert (getattr(pieces, name) == getattr(expected[kind], name)).all()
            assert getattr(pieces, name).dtype == getattr(expected[kind], name).dtype
    assert seen[-1] == (30, 30)


def test_a_class_without_anomalies_has_no_pieces(tmp_path: Path) -> None:
    good = [picture for picture in PICTURES if picture.kind == GOOD]
    write_contributions(tmp_path / "contributions.npz", as_class(good), noisy(1.0))
    assert read_contributions(tmp_path / "contributions.npz") == {}


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_a_damaged_file_is_named_as_such(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "contributions.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"expected|pickled"):
        read_contributions(tmp_path / "contributions.npz")


def test_a_foreign_archive_is_named_as_such(tmp_path: Path) -> None:
    np.savez(tmp_path / "contributions.npz", something=np.zeros(3))
    with pytest.raises(ValueError, match="expected the file that a run writes"):
        read_contributions(tmp_path / "contributions.npz")
