"""Counts, sizes, places and relations of hand-made parts: what is broken is found, what is normal is not."""

import logging
from collections.abc import Sequence

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from scorers.metrology import Metrology
from scorers.metrology_bulk import bulk_of
from scorers.metrology_families import Table, taken_apart
from scorers.metrology_findings import Finding, findings_of
from scorers.metrology_model import Model
from scorers.metrology_parts import HEAD, LENGTH, PLACE, Parts, parts_of
from scorers.metrology_places import align

SIDE = 160
Bar = tuple[float, float, float, float]
"""Middle (x, y), length and width in pixels; a bar stands upright."""


def drawn(bars: Sequence[Bar], seed: int) -> tuple[Parts, np.ndarray]:
    """The parts of a picture with dark bars, and its bright ground."""
    lab = np.full((SIDE, SIDE, 3), (200, 128, 128), np.uint8)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for x, y, length, width in bars:
        box = cv2.boxPoints(((float(x), float(y)), (float(width), float(length)), 0.0))
        cv2.fillPoly(mask, [np.round(box).astype(np.int32)], 1)
    lab[mask > 0] = (60 + np.random.default_rng(seed).normal(0, 1), 128, 128)
    grounds = ~mask[None].astype(bool)
    return parts_of(grounds, lab, smallest=0.001), grounds


def pairs(seed: int, *, mismatched: bool = False, either: tuple[int, int] = (30, 44)) -> list[Bar]:
    """Four bars; the two of a row are both long or both short."""
    rng = np.random.default_rng(seed)
    bars = []
    for y in (40, 120):
        lengths = [rng.choice(either)] * 2
        if mismatched and y == 40:
            lengths[1] = sum(either) - lengths[0]
        for x, length in zip((40, 120), lengths):
            bars.append((x + rng.integers(-4, 5), y + rng.integers(-4, 5), length + rng.integers(-1, 2), 8.0))
    return bars


def three(seed: int, lengths: Sequence[float] = (44, 44, 26)) -> list[Bar]:
    """Three bars anywhere but apart: two long ones and a short one, in any order."""
    rng = np.random.default_rng(seed)
    lanes = rng.permutation(5)[:3]
    return [
        (20 + 30 * lane, 80 + rng.integers(-30, 31), length + rng.integers(-1, 2), 8.0)
        for lane, length in zip(lanes, lengths)
    ]


def learned(pictures: Sequence[Sequence[Bar]]) -> Model:
    model = Model.of(table([drawn(bars, seed) for seed, bars in enumerate(pictures)]), recurrence=0.3)
    assert model is not None
    return model


def table(pictures: Sequence[tuple[Parts, np.ndarray]]) -> Table:
    return Table(
        len(pictures),
        np.repeat(np.arange(len(pictures)), [len(parts.regions) for parts, _ in pictures]),
        np.concatenate([parts.sides for parts, _ in pictures]),
        np.concatenate([parts.measures for parts, _ in pictures]),
        np.stack([bulk_of(parts, masks) for parts, masks in pictures]),
    )


def judged(model: Model, bars: Sequence[Bar], seed: int = 99) -> tuple[list[Finding], float]:
    return findings_of(model, *drawn(bars, seed))


@pytest.fixture(scope="module")
def in_pairs() -> Model:
    return learned([pairs(seed) for seed in range(40)])


@pytest.fixture(scope="module")
def in_any_order() -> Model:
    return learned([three(seed) for seed in range(40)])


def normal_scores(model: Model, layouts: Sequence[Sequence[Bar]]) -> float:
    return max(judged(model, bars, seed)[1] for seed, bars in enumerate(layouts, start=500))


def test_a_missing_part_is_found_where_normal_pictures_have_it(in_pairs: Model) -> None:
    findings, score = judged(in_pairs, pairs(100)[:3])
    assert score > 1.5 * normal_scores(in_pairs, [pairs(seed) for seed in range(200, 220)])
    assert findings[0].text.startswith("nothing at (0.7")
    assert findings[0].mask[120, 120]
    assert not findings[0].mask[40, 40]


def test_an_extra_part_is_itself_the_finding(in_pairs: Model) -> None:
    findings, score = judged(in_pairs, [*pairs(100), (80.0, 80.0, 30.0, 8.0)])
    assert score > 1.5 * normal_scores(in_pairs, [pairs(seed) for seed in range(200, 220)])
    extra = next(finding for finding in findings if finding.text.startswith("one more part"))
    assert extra.mask[80, 80]
    assert "(0.50, 0.50)" in extra.text
    assert not extra.mask[40, 40]
    counted = next(finding for finding in findings if finding.text.startswith("expected 4 x"))
    assert counted.mask[80, 80]
    assert not counted.mask[40, 40]


def test_a_part_too_much_at_the_place_of_another_family_is_the_one_that_is_marked() -> None:
    def row(seed: int, last: int = 26) -> list[Bar]:
        rng = np.random.default_rng(seed)
        return [(20 + 40 * place, 80, side + rng.integers(-1, 2), 8.0) for place, side in enumerate((44, 44, 44, last))]

    findings, _ = judged(learned([row(seed) for seed in range(40)]), row(100, last=44))
    counted = next(finding for finding in findings if finding.text.startswith("expected 3 x"))
    assert counted.text.endswith("found 4")
    assert [bool(counted.mask[80, x]) for x in (20, 60, 100, 140)] == [False, False, False, True]


def test_an_extra_part_close_to_regular_ones_is_not_taken_for_one_of_them() -> None:
    def comb(seed: int) -> list[Bar]:
        rng = np.random.default_rng(seed)
        return [(x + rng.integers(-1, 2) / 2, 80.0, 40.0 + rng.integers(-1, 2), 3.0) for x in (40, 52, 64, 110)]

    model = learned([comb(seed) for seed in range(40)])
    findings, _ = judged(model, [*comb(100), (58.0, 80.0, 40.0, 3.0)])
    extra = next(finding for finding in findings if finding.text.startswith("one more part"))
    assert extra.mask[80, 58]


def with_strays(seed: int) -> list[Bar]:
    """Two long bars and four short ones in their places, and up to three more short ones anywhere below."""
    rng = np.random.default_rng(seed)
    long = [(x, 40.0, 44.0 + rng.integers(-1, 2), 8.0) for x in (30, 130)]
    short = [(x, 80.0, 16.0 + rng.integers(-1, 2), 6.0) for x in (30, 62, 98, 130)]
    strays = [(x, 115.0 + rng.integers(-8, 9), 16.0, 6.0) for x in rng.permutation([20, 80, 140])[: rng.integers(4)]]
    return [*short, *long, *strays]


def test_a_part_is_missed_at_its_place_where_others_of_its_family_come_and_go() -> None:
    model = learned([with_strays(seed) for seed in range(40)])
    findings, score = judged(model, with_strays(100)[1:])
    assert score > 1.5 * normal_scores(model, [with_strays(seed) for seed in range(200, 220)])
    assert findings[0].text.startswith("nothing at (0.19, 0.50)")


def at_the_edge(seed: int, *, into_it: bool, bars: Sequence[int] = (0, 1, 2, 3)) -> list[Bar]:
    """Some of four short bars in a row, and whether the last one runs into the lower edge of the picture."""
    rng = np.random.default_rng(seed)
    row = [(x + rng.integers(-1, 2), 120.0 + rng.integers(-1, 2), 20.0, 8.0) for x in (25, 60, 95, 130)]
    below = [(row[3][0], 145.0, 40.0, 8.0)] if into_it else []
    return [*(row[bar] for bar in bars), *below]


def test_what_runs_into_something_larger_is_not_missing_where_that_is_normal() -> None:
    model = learned([at_the_edge(seed, into_it=seed % 8 == 0) for seed in range(40)])
    normal = normal_scores(model, [at_the_edge(seed, into_it=seed % 8 == 0) for seed in range(200, 220)])
    findings, score = judged(model, at_the_edge(100, into_it=False, bars=(0, 1, 2)))
    assert score > 1.5 * normal
    assert findings[0].text.startswith("nothing at (0.8")


def test_what_runs_into_something_larger_is_unusual_where_it_never_does() -> None:
    model = learned([at_the_edge(seed, into_it=False) for seed in range(40)])
    findings, score = judged(model, at_the_edge(100, into_it=True))
    assert score > 1.5 * normal_scores(model, [at_the_edge(seed, into_it=False) for seed in range(200, 220)])
    assert any(finding.text.startswith("something else at (0.8") for finding in findings)


def above_the_edge(seed: int, bars: Sequence[int] = (0, 1, 2, 3, 4)) -> list[Bar]:
    """Some of five short bars, of which four run into the lower edge in three of five pictures, each by itself."""
    rng = np.random.default_rng(seed)
    row = [(x + rng.integers(-1, 2), 120.0 + rng.integers(-1, 2), 20.0, 8.0) for x in (20, 50, 80, 110, 140)]
    below = [(row[bar][0], 145.0, 40.0, 8.0) for bar in bars if bar and rng.random() < 0.6]
    above = [(x + rng.integers(-1, 2), 40.0, 44.0, 8.0) for x in (30, 70, 120)]
    return [*above, *(row[bar] for bar in bars), *below]


def test_a_part_is_missed_where_it_mostly_runs_into_something_larger() -> None:
    model = learned([above_the_edge(seed) for seed in range(60)])
    assert [len(one.places.side) for one in model.arrangements] == [3 + 5]
    normal = normal_scores(model, [above_the_edge(seed) for seed in range(200, 220)])
    findings, score = judged(model, above_the_edge(100, bars=(0, 1, 2, 4)))
    assert score > 1.5 * normal
    assert findings[0].text.startswith("nothing at (0.69, 0.75)")


def test_what_runs_into_something_larger_in_one_arrangement_may_do_so_in_another() -> None:
    def upside_down(bars: Sequence[Bar]) -> list[Bar]:
        return [(x, SIDE - 1 - y, length, width) for x, y, length, width in bars]

    def model_of(*, overlap: bool) -> Model:
        upright = [at_the_edge(seed, into_it=overlap and seed % 3 == 0) for seed in range(30)]
        return learned([*upright, *(upside_down(at_the_edge(seed, into_it=False)) for seed in range(30, 60))])

    strange = upside_down(at_the_edge(100, into_it=True))
    never, elsewhere = (judged(model_of(overlap=overlap), strange)[0] for overlap in (False, True))
    assert any(finding.text.startswith("something else") for finding in never)
    assert not any(finding.text.startswith("something else") for finding in elsewhere)


def shifted(seed: int, by: int) -> list[Bar]:
    """Four bars in their places, all of them moved to the right."""
    rng = np.random.default_rng(seed)
    places = ((60, 40), (90, 60), (62, 110), (95, 125))
    return [(x + by + rng.integers(-1, 2) / 2, float(y), 24.0, 8.0) for x, y in places]


def test_an_extra_part_is_one_where_the_view_of_other_pictures_does_not_reach() -> None:
    model = learned([shifted(seed, 2 * seed - 40) for seed in range(41)])
    findings, _ = judged(model, [*shifted(100, 40), (12.0, 80.0, 24.0, 8.0)])
    extra = next(finding for finding in findings if finding.text.startswith("one more part"))
    assert extra.mask[80, 12]


def broken(seed: int, *, pieces: bool) -> list[Bar]:
    """Three bars in their places and a very long one, which may be in pieces."""
    rng = np.random.default_rng(seed)
    places = [(x + rng.integers(-1, 2), y + rng.integers(-1, 2), 24.0, 8.0) for x, y in ((30, 40), (60, 110), (90, 60))]
    if not pieces:
        return [*places, (130.0, 80.0, 130.0, 6.0)]
    return [*places, *((130.0, y + float(rng.integers(-1, 1)) / 2, 24.0, 6.0) for y in (24, 51, 79, 107, 135))]


def test_pieces_of_what_is_whole_in_other_pictures_are_nothing_too_much() -> None:
    model = learned([broken(seed, pieces=seed % 8 == 0) for seed in range(40)])
    findings, _ = judged(model, broken(100, pieces=True))
    assert not any(finding.text.startswith("one more part") for finding in findings)
    findings, _ = judged(model, [*broken(100, pieces=True), (60.0, 40.0, 24.0, 8.0)])
    extra = next(finding for finding in findings if finding.text.startswith("one more part"))
    assert extra.mask[40, 60]


def test_what_is_in_pieces_is_not_missing_where_that_is_normal() -> None:
    model = learned([broken(seed, pieces=seed % 8 == 0) for seed in range(40)])
    findings, score = judged(model, broken(100, pieces=False)[:3])
    assert score > 1.5 * normal_scores(model, [broken(seed, pieces=seed % 8 == 0) for seed in range(200, 220)])
    assert any(finding.text.startswith("nothing at (0.8") for finding in findings)


def test_a_pair_of_two_lengths_is_found_although_each_length_is_normal(in_pairs: Model) -> None:
    normal = normal_scores(in_pairs, [pairs(seed) for seed in range(200, 220)])
    for seed in range(100, 106):
        findings, score = judged(in_pairs, pairs(seed, mismatched=True))
        assert score > 1.5 * normal
        told = next(
            finding
            for finding in findings[:3]
            if "ratio of length of the parts at" in finding.text and "in ascending order" not in finding.text
        )
        assert told.mask[40, 40], "nothing says which of the two is wrong"
        assert told.mask[40, 120]


def test_two_kinds_that_take_turns_at_the_same_places_are_one_family() -> None:
    either = (22, 60)
    model = learned([pairs(seed, either=either) for seed in range(40)])
    assert (len(model.sides), model.arrangements[0].usual_counts) == (2, (4,))
    normal = normal_scores(model, [pairs(seed, either=either) for seed in range(200, 220)])
    for seed in range(100, 106):
        assert judged(model, pairs(seed, mismatched=True, either=either))[1] > 1.5 * normal


def test_two_kinds_of_which_there_is_a_number_each_stay_two_families() -> None:
    model = learned([three(seed, (70, 70, 22)) for seed in range(40)])
    assert model.arrangements[0].usual_counts in {(2, 1), (1, 2)}


def test_a_part_that_is_too_long_for_its_place_is_found(in_pairs: Model) -> None:
    bars = pairs(100)
    x, y, _, width = bars[0]
    findings, score = judged(in_pairs, [(x, y, 56.0, width), *bars[1:]])
    assert score > 1.5 * normal_scores(in_pairs, [pairs(seed) for seed in range(200, 220)])
    assert findings[0].mask[int(y), int(x)]


@pytest.mark.parametrize("lengths", [(44, 26, 26), (44, 44, 44), (26, 26, 26)])
def test_a_wrong_multiset_is_found_in_any_order(in_any_order: Model, lengths: Sequence[float]) -> None:
    normal = normal_scores(in_any_order, [three(seed) for seed in range(200, 220)])
    for seed in range(100, 104):
        _, score = judged(in_any_order, three(seed, lengths))
        assert score > 1.5 * normal


def test_of_parts_in_ascending_order_the_odd_one_alone_is_marked() -> None:
    places = [(30 + 50 * column, 45 + 70 * row) for row in range(2) for column in range(3)]

    def six(seed: int, odd: float = 40) -> list[Bar]:
        rng = np.random.default_rng(seed)
        return [
            (x + rng.integers(-2, 3), y + rng.integers(-2, 3), (odd if own == 4 else 40) + rng.integers(-1, 2), 8.0)
            for own, (x, y) in enumerate(places)
        ]

    findings, _ = judged(learned([six(seed) for seed in range(40)]), six(100, odd=28))
    ordered = [finding for finding in findings if "in ascending order" in finding.text]
    assert ordered
    for x, y in places:
        assert all(finding.mask[y, x] == ((x, y) == places[4]) for finding in ordered)


def test_what_is_put_in_order_does_not_depend_on_the_order_of_the_parts(in_any_order: Model) -> None:
    parts, masks = drawn(three(7), 7)
    rows = [2, 0, 1]
    turned = Parts(tuple(parts.regions[row] for row in rows), parts.measures[rows])
    scores = [findings_of(in_any_order, one, masks)[1] for one in (parts, turned)]
    assert scores[0] == pytest.approx(scores[1])


def test_bars_that_touch_are_taken_apart_and_a_long_one_is_not() -> None:
    single = [drawn([(40, 60, 44, 12), (110, 60, 44, 12)], seed) for seed in range(6)]
    rows = table(single)
    touching, _ = drawn([(60, 60, 44, 12), (76, 60, 44, 12), (68, 60, 2, 5)], 0)
    lab = np.full((SIDE, SIDE, 3), 128, np.uint8)
    typical = rows.measures[:1]
    apart = taken_apart(touching, lab, rows.side[:1], typical, np.array([2.0]))
    assert (len(touching.regions), len(apart.regions)) == (1, 2)
    longer, _ = drawn([(60, 60, 70, 12)], 0)
    assert len(taken_apart(longer, lab, rows.side[:1], typical, np.array([2.0])).regions) == 1


def test_measures_of_a_drawn_part_by_hand() -> None:
    mask = np.zeros((100, 200), np.uint8)
    cv2.fillPoly(mask, [np.array([[54, 20], [66, 20], [61, 79], [59, 79]])], 1)
    (row,) = parts_of(~mask[None].astype(bool), np.zeros((100, 200, 3), np.uint8), 0.001).measures
    assert np.exp(row[LENGTH]) * 200 == pytest.approx(60, abs=1.5)
    assert row[PLACE] * 200 == pytest.approx([43, 60.5], abs=3)
    assert row[HEAD][0] > 0.2
    assert abs(row[HEAD][1]) < 0.05


def table_pictures(
    seeds: range, places: Sequence[tuple[int, int]] = ((32, 32), (32, 92), (92, 36), (92, 92))
) -> Tensor:
    """Dark discs on a bright table, [N, 3, 128, 128]."""
    pictures = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        image = rng.normal(200, 2, (128, 128, 3))
        for y, x in places:
            disc = np.zeros((128, 128), np.uint8)
            cv2.circle(disc, (x + int(rng.integers(-3, 4)), y + int(rng.integers(-3, 4))), 11, 1, cv2.FILLED)
            image[disc > 0] = rng.normal(60, 2, (int(disc.sum()), 3))
        pictures.append(image.clip(0, 255).astype(np.uint8))
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def small(**changes: float) -> Metrology:
    return Metrology(backbone="test_resnet", layers=("layer1", "layer2"), weights="random", **changes)


@pytest.fixture(scope="module")
def fitted() -> Metrology:
    return small().fit(table_pictures(range(16)).split(6))


def test_a_missing_disc_in_pictures_is_scored_mapped_and_explained(fitted: Metrology) -> None:
    normal = fitted.image_score(table_pictures(range(20, 26)))
    broken = table_pictures(range(20, 23), ((32, 32), (32, 92), (92, 36)))
    maps, scores = fitted.detect(broken)
    assert scores.min() > normal.max() + 1
    assert all(place == (92, 92) or abs(place[0] - 92) + abs(place[1] - 92) < 16 for place in _peaks(maps))
    assert any("nothing at (0.7" in finding.text for finding in fitted.explain(broken)[0])


def _peaks(maps: Tensor) -> list[tuple[int, int]]:
    centres = [np.argwhere(one == one.max()).mean(axis=0) for one in maps.numpy()]
    return [(round(float(y)), round(float(x))) for y, x in centres]


def test_maps_do_not_depend_on_the_batch_and_survive_restoring(fitted: Metrology) -> None:
    images = table_pictures(range(30, 34), ((32, 32), (32, 92), (64, 64)))
    together = fitted.detect(images)
    parts = [fitted.detect(part) for part in images.split([1, 3])]
    restored = small().restore(fitted.state()).detect(images)
    for whole, halves, again in zip(together, zip(*parts, strict=True), restored, strict=True):
        assert torch.equal(torch.cat(halves), whole)
        assert torch.equal(again, whole)


def test_pictures_without_recurring_parts_score_zero_and_say_so(caplog: pytest.LogCaptureFixture) -> None:
    noise = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with caplog.at_level(logging.WARNING):
        scorer = small().fit([noise])
    assert "no part recurs in the 8 normal pictures" in caplog.text
    maps, scores = small().restore(scorer.state()).detect(noise[:3])
    assert maps.shape == (3, 64, 64)
    assert not maps.any()
    assert not scores.any()
    assert scorer.explain(noise[:1]) == [[]]


def test_a_picture_without_any_part_is_unusual_and_finite(fitted: Metrology) -> None:
    maps, scores = fitted.detect(torch.full((1, 3, 128, 128), 0.78))
    assert scores.isfinite().all()
    assert maps.isfinite().all()
    assert scores[0] > fitted.image_score(table_pictures(range(20, 24))).max()


def test_wrong_use_is_refused() -> None:
    with pytest.raises(RuntimeError, match="Metrology is not fitted"):
        small().detect(table_pictures(range(1)))
    with pytest.raises(RuntimeError, match="Metrology is not fitted"):
        small().state()
    with pytest.raises(ValueError, match="smallest"):
        small(smallest=0.0).check()
    with pytest.raises(ValueError, match="expected normal pictures of one size to fit on, got none"):
        small().fit([])


def test_an_affine_change_is_undone_by_points_and_a_straying_one_counts_little() -> None:
    rng = np.random.default_rng(0)
    targets, matrix = rng.uniform(0, 1, (9, 2)), np.array([[1.1, 0.2], [-0.1, 0.9]])
    points = (targets - 0.05) @ np.linalg.inv(matrix)
    points[0] += 0.2
    assert align(points, targets, points[1:], "affine") == pytest.approx(targets[1:], abs=0.01)


def test_points_on_a_line_are_aligned_along_it() -> None:
    targets = np.stack([np.linspace(0, 1, 6), np.full(6, 0.5)], axis=1)
    points = targets + np.array([0.1, -0.2])
    assert align(points, targets, points, "affine") == pytest.approx(targets, abs=1e-6)
