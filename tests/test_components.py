"""Discs and squares on a table are found where they were drawn, as often as they were drawn, and nothing else is."""

import cv2
import numpy as np
import pytest
import torch
from parts_class import SIDE, parts_batch, parts_picture, small_finder

from extractors.components import Components, Layout
from extractors.grounds import Grounds, k_means
from extractors.outlines import outlines
from extractors.pixels import eight_bit
from extractors.regions import Shape, apart, described, elongation, enclosed, overlap, protruding

LAB = np.full((60, 60, 3), 128, np.uint8)


@pytest.fixture(scope="module")
def finder() -> Components:
    return small_finder().fit([parts_batch(range(8)), parts_batch(range(8, 12))])


def best_overlap(layout: Layout, drawn: np.ndarray) -> float:
    found = [region.full((SIDE, SIDE)) for region, kind in layout.components if kind >= 0]
    return max(float((mask & drawn).sum() / (mask | drawn).sum()) for mask in found)


def test_every_part_of_a_new_picture_is_found_with_its_outline(finder: Components) -> None:
    for seed, layout in zip(range(20, 24), finder.find(parts_batch(range(20, 24)))):
        assert min(best_overlap(layout, drawn) for drawn in parts_picture(seed)[1]) > 0.8


def test_two_kinds_are_told_apart_and_counted(finder: Components) -> None:
    assert finder.kinds_ is not None
    assert sorted(kind.count for kind in finder.kinds_) == [1, 2]
    for layout in finder.find(parts_batch(range(20, 24))):
        kinds = [kind for _, kind in layout.components]
        assert sorted(np.bincount(kinds).tolist()) == [1, 2]


def test_the_same_pictures_give_the_same_components(finder: Components) -> None:
    again = small_finder().fit([parts_batch(range(12))])
    for one, other in zip(finder.find(parts_batch(range(20, 22))), again.find(parts_batch(range(20, 22)))):
        assert np.array_equal(one.grounds, other.grounds)
        assert [kind for _, kind in one.components] == [kind for _, kind in other.components]


def test_a_picture_s_layout_does_not_depend_on_its_batch(finder: Components) -> None:
    together, alone = finder.find(parts_batch(range(20, 23)))[2], finder.find(parts_batch(range(22, 23)))[0]
    assert np.array_equal(together.grounds, alone.grounds)


def test_noise_has_no_components() -> None:
    images = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = small_finder().fit([images])
    assert found.kinds_ == ()
    assert [layout.components for layout in found.find(images[:2])] == [(), ()]


def test_an_unfitted_finder_says_so() -> None:
    with pytest.raises(RuntimeError, match="not fitted"):
        small_finder().find(parts_batch(range(1)))
    with pytest.raises(RuntimeError, match="not fitted"):
        Grounds().weights(parts_batch(range(1)))


def test_a_cell_is_of_a_ground_by_its_distances_to_the_centres() -> None:
    grounds = small_finder().fit([parts_batch(range(12))]).grounds
    assert grounds.centres_
    images = parts_batch(range(20, 22))
    layers = [
        torch.nn.functional.interpolate(layer, (SIDE // 4, SIDE // 4), mode="bilinear")
        for layer in grounds.backbone.maps(images)
    ]
    small = [cv2.resize(picture, (SIDE // 4,) * 2, interpolation=cv2.INTER_AREA) for picture in eight_bit(images)]
    lab = torch.from_numpy(np.stack([cv2.cvtColor(picture, cv2.COLOR_RGB2LAB) for picture in small]))
    cells = torch.cat([*(layer.permute(0, 2, 3, 1) for layer in layers), lab.float()], dim=3).double()
    standard = (cells - grounds.mean_) / grounds.scale_
    expected = []
    for group in grounds.centres_:
        sure = []
        for centres in group:
            squares = (standard[..., None, :] - centres).square().sum(-1)
            apart_by = torch.pdist(centres).square().median()
            sure.append(torch.sigmoid(8 * (squares[..., 1:].amin(-1) - squares[..., 0]) / apart_by))
        expected.append(torch.stack(sure).mean(0))
    torch.testing.assert_close(grounds.weights(images).double(), torch.stack(expected, 1), atol=1e-5, rtol=0)


def test_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(ValueError, match="expected pictures"):
        small_finder().fit([])


def test_what_touches_the_border_is_no_region_and_holes_are_filled() -> None:
    figure = np.zeros((60, 60), bool)
    figure[20:40, 20:40] = True
    figure[28:32, 28:32] = False
    figure[:10, 50:] = True
    (shape,) = enclosed(figure, smallest=20)
    assert (shape.top, shape.left, int(shape.mask.sum())) == (20, 20, 400)


def test_a_thin_neck_parts_two_squares_but_cuts_off_no_tip() -> None:
    figure = np.zeros((60, 60), bool)
    figure[10:25, 10:25] = figure[10:25, 31:46] = True
    figure[17:19, 25:31] = True
    figure[26:30, 15:19] = figure[25, 17] = True
    found = sorted(enclosed(figure, smallest=5), key=lambda shape: shape.left)
    assert [shape.mask.shape for shape in found] == [(20, 17), (15, 17)]


def test_a_thin_rod_sticks_out_of_a_plate_and_a_plain_plate_has_none() -> None:
    mask = np.zeros((70, 40), bool)
    mask[:40] = True
    assert list(protruding(Shape(0, 0, mask), brush=6, smallest=20)) == []
    mask[40:, 17:23] = True
    (rod,) = protruding(Shape(5, 3, mask), brush=6, smallest=20)
    assert 5 + 36 <= rod.top <= 5 + 46
    assert rod.top + rod.mask.shape[0] == 75


def test_two_touching_squares_fall_apart_at_the_bridge() -> None:
    mask = np.zeros((20, 43), bool)
    mask[:, :20] = mask[:, 23:] = True
    mask[9:11, 20:23] = True
    region = described(Shape(4, 7, mask), LAB, ground=0)
    pieces = next(apart(region, 8))
    assert sorted(piece.left for piece in pieces)[0] == 7
    assert sum(int(piece.mask.sum()) for piece in pieces) == mask.sum()
    assert [round(float(np.exp(elongation(piece.mask)))) for piece in pieces] == [1, 1]


def test_overlap_by_hand() -> None:
    one, other = (described(Shape(0, left, np.ones((2, 4), bool)), LAB, ground=0) for left in (0, 2))
    assert overlap(one, other) == pytest.approx(4 / 12)
    assert overlap(one, described(Shape(9, 9, np.ones((2, 2), bool)), LAB, ground=0)) == 0


def test_k_means_finds_separate_clouds_whatever_the_seed() -> None:
    clouds = torch.cat(
        [torch.randn(50, 2, generator=torch.Generator().manual_seed(1)) + 40 * place for place in (0, 1, 2)]
    )
    for seed in range(5):
        centres = k_means(clouds, 3, torch.Generator().manual_seed(seed)).sort(0).values
        assert torch.allclose(centres, torch.stack([part.mean(0) for part in clouds.split(50)]), atol=1e-4)


def test_small_holes_are_outlined_although_the_cells_take_them_for_ground():
    rng = np.random.default_rng(0)
    image = rng.normal(105, 5, (256, 256, 1)).repeat(3, axis=2).clip(0, 255).astype(np.uint8)
    hole = np.zeros((256, 256), np.uint8)
    for middle in ((60, 60), (130, 180), (200, 100)):
        cv2.circle(hole, middle, 4, 1, cv2.FILLED)
    image[hole > 0] = 75
    ground = outlines(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), np.full((1, 64, 64), 0.9, np.float32))[0]
    assert ground[hole > 0].mean() < 0.1
    assert ground[hole == 0].mean() > 0.98


@pytest.mark.parametrize("edge", [125, 126, 127, 128])
def test_an_edge_between_two_colours_is_outlined_to_the_pixel_wherever_it_lies_in_a_cell(edge: int) -> None:
    lab = np.random.default_rng(0).normal(128, 3, (256, 256, 3))
    lab[:, :edge, 0] += 40
    cells = (np.arange(64) * 4 + 2 < edge + 4).astype(np.float32) * 0.8 + 0.1  # one cell too far
    ground = outlines(lab.clip(0, 255).astype(np.uint8), np.tile(cells, (64, 1))[None])[0]
    assert ground[:, : edge - 1].mean() > 0.995
    assert ground[:, edge + 1 :].mean() < 0.005
