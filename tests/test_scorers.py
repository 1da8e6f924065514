"""Each global scorer against a slower definition: loops, scikit-learn, a refit without the picture."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import Ridge
from torch import Tensor

from scorers.block_statistics import BlockStatistics
from scorers.context_network import Networks
from scorers.context_regression import ContextRegression, _hidden, _ridge
from scorers.mahalanobis import Mahalanobis, shrinkage_of
from scorers.map_descriptors import NAMES, MapDescriptors, descriptors
from scorers.pooled_statistics import PooledStatistics
from scorers.pyramid import block_numbers, blocks, membership
from scorers.set_features import SetFeatures
from scorers.word_histograms import WordHistograms


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("count", "entries"), [(40, 5), (12, 30)], ids=["tall", "wide"])
def test_mahalanobis_is_scikit_learns_ledoit_wolf_on_standardised_rows(count: int, entries: int) -> None:
    rows = noise(count, entries) @ noise(entries, entries, seed=1)
    other = noise(6, entries, seed=2)
    mean, spread = rows.numpy().mean(0), rows.numpy().std(0)
    expected = LedoitWolf(assume_centered=True).fit(((rows.numpy() - mean) / spread).astype(np.float64))
    distances, pull = Mahalanobis().fit(rows).judge(other)
    standard = ((other.numpy() - mean) / spread).astype(np.float64)
    by_hand = np.einsum("nd,de,ne->n", standard, expected.precision_, standard)
    np.testing.assert_allclose(distances.square().numpy(), by_hand, rtol=1e-4)
    shares = (pull * (other.double() - rows.double().mean(0))).sum(1)
    np.testing.assert_allclose(shares.numpy(), by_hand, rtol=1e-4)


def test_shrinkage_needs_no_square_matrix() -> None:
    centred = noise(20, 50).double()
    centred -= centred.mean(0)
    assert shrinkage_of(centred)[0] == pytest.approx(LedoitWolf(assume_centered=True).fit(centred.numpy()).shrinkage_)


def test_an_entry_that_never_varied_counts_as_much_as_the_widest() -> None:
    rows = torch.cat([noise(20, 2), torch.full((20, 1), 3.0)], dim=1)
    normal = Mahalanobis().fit(rows)
    assert normal.judge(torch.tensor([[0.0, 0.0, 9.0]]))[0] > 3 * normal.judge(torch.tensor([[0.0, 0.0, 3.0]]))[0]
    with pytest.raises(ValueError, match="at least two normal pictures"):
        Mahalanobis().fit(rows[:1])
    with pytest.raises(ValueError, match=r"expected descriptions \[N, 3\]"):
        normal.judge(rows[:, :2])


def test_blocks_cover_every_cell_once() -> None:
    numbers = block_numbers((5, 7), 3)
    sizes = [block.shape[2] * block.shape[3] for block in blocks(torch.zeros(1, 1, 5, 7), 3)]
    assert numbers.bincount().tolist() == sizes
    weights = membership((5, 7), (1, 3))
    assert weights.shape == (10, 35)
    torch.testing.assert_close(weights.sum(1), torch.ones(10))


def test_statistics_by_loops() -> None:
    features = noise(2, 3, 5, 8)
    found = BlockStatistics(pyramid=(1, 2), tail=0.1, power=3.0).of(features).rows.view(2, 5, 3, 5)
    for picture in range(2):
        for channel in range(3):
            for place, block in enumerate([features, *blocks(features, 2)]):
                values = sorted(block[picture, channel].flatten().tolist())
                count = {40: 4, 12: 1, 8: 1}[len(values)]
                expected = [
                    np.mean(values),
                    np.std(values),
                    np.mean(values[-count:]),
                    np.mean(values[:count]),
                    np.mean(np.abs(values) ** 3) ** (1 / 3),
                ]
                np.testing.assert_allclose(found[picture, :, channel, place].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_the_map_of_pooled_statistics_is_the_change_of_the_score_with_each_cell() -> None:
    normal, picture = noise(30, 2, 4, 4).double(), noise(1, 2, 4, 4, seed=1).double()
    scorer = PooledStatistics(pyramid=(1, 2))
    scorer.learn(normal)
    cells, score = scorer.judge(picture)
    moved = picture.clone()
    step = 1e-5
    moved[0, :, 1, 2] += step * (scorer.mean_[:, 1, 2] - picture[0, :, 1, 2])
    rows = [scorer.normal_.judge(scorer._statistics.of(one).rows)[0] for one in (picture, moved)]
    assert (rows[0] - rows[1]).item() / step == pytest.approx(cells[0, 1, 2].item(), rel=1e-3)
    assert score.item() == pytest.approx(rows[0].item(), rel=1e-6)


def test_histograms_of_sets_by_loops_and_shares_that_add_up() -> None:
    normal, pictures = noise(25, 3, 4, 6), noise(3, 3, 4, 6, seed=1)
    scorer = SetFeatures(projections=4, bins=3, pyramid=(1, 2))
    scorer.learn(normal)
    expected = []
    for picture in pictures:
        row = []
        for side in scorer.pyramid:
            for block in blocks(picture[None], side):
                values = block.flatten(2)[0].T @ scorer.directions_
                row += [(values[:, p] <= edge).float().mean() for p in range(4) for edge in scorer.edges_[p]]
        expected.append(torch.stack(row))
    rows = scorer._histograms(scorer._bins(pictures))
    torch.testing.assert_close(rows, torch.stack(expected))
    cells, scores = scorer.judge(pictures)
    torch.testing.assert_close(cells.sum((1, 2)), scores, rtol=1e-3, atol=1e-3)


def test_words_are_counted_per_block() -> None:
    normal = noise(12, 3, 4, 4)
    scorer = WordHistograms(words=5, pyramid=(1, 2))
    scorer.learn(normal)
    rows = normal.permute(0, 2, 3, 1) @ scorer.matrix_
    word = torch.cdist(rows.flatten(0, 2), scorer.centres_).argmin(1).view(12, 4, 4)
    histograms = scorer._histograms(scorer._words(normal)).unflatten(1, (5, 5))
    for wanted in range(5):
        torch.testing.assert_close(histograms[:, wanted, 0] ** 2, (word == wanted).float().mean((1, 2)))
        torch.testing.assert_close(histograms[:, wanted, 4] ** 2, (word[:, 2:, 2:] == wanted).float().mean((1, 2)))
    with pytest.raises(ValueError, match="expected at least 500 cells in all"):
        WordHistograms(words=500).learn(normal)


def test_ridge_residuals_are_those_of_a_refit_without_the_picture() -> None:
    inputs = noise(14, 6).double()
    targets = inputs @ noise(6, 2, seed=1).double() + 0.1 * noise(14, 2, seed=2).double()
    weights, left = _ridge(inputs, targets)
    centred = inputs - inputs.mean(0)
    least = float((centred @ centred.T).diagonal().mean()) * 1e-2  # the smallest penalty wins: the law is linear
    whole = Ridge(alpha=least).fit(inputs.numpy(), targets.numpy())
    np.testing.assert_allclose(weights[1:].numpy(), whole.coef_.T, rtol=1e-6)
    np.testing.assert_allclose(weights[0].numpy(), whole.intercept_, rtol=1e-6)
    for number in range(14):
        rest = [other for other in range(14) if other != number]
        again = Ridge(alpha=least).fit(inputs[rest].numpy(), targets[rest].numpy())
        expected = targets[number].numpy() - again.predict(inputs[[number]].numpy())[0]
        np.testing.assert_allclose(left[number].numpy(), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("level", "side"), [(2, 4), (8, 4), (3, 4)])
def test_no_block_is_predicted_from_a_cell_that_it_overlaps(level: int, side: int) -> None:
    hidden = _hidden(level, side)
    for block in range(level * level):
        for cell in range(side * side):
            (top, left), (row, column) = divmod(block, level), divmod(cell, side)
            apart = [
                (first + 1) * side <= second * level or (second + 1) * level <= first * side
                for first, second in ((top, row), (left, column))
            ]
            assert bool(hidden[block, cell]) == (not any(apart))


def test_context_regression_sees_a_broken_law_between_two_places() -> None:
    length = noise(60, 1)
    pictures = 0.1 * noise(60, 1, 8, 8, seed=1)
    pictures[:, :, :4, :4] += length[:, :, None, None]
    pictures[:, :, :4, 4:] += length[:, :, None, None]  # the neighbour always has the same
    scorer = ContextRegression(components=1, levels=(2,), context=2)
    scorer.learn(pictures[:50])
    broken = pictures[50:].clone()
    broken[:, :, :4, 4:] *= -1
    cells, scores = scorer.judge(broken)
    strong = length[50:, 0].abs() > 0.5
    assert scores[strong].min() > scorer.judge(pictures[50:])[1].max()
    assert cells[strong][:, :4].mean() > cells[strong][:, 4:].mean()
    with pytest.raises(ValueError, match="at least three normal pictures"):
        scorer.learn(pictures[:2])


def test_the_student_sees_five_cells_and_the_autoencoder_all() -> None:
    torch.manual_seed(0)
    nets = Networks(channels=2, hidden=16, bottleneck=3).double()
    drawn = noise(1, 2, 16, 16).double().requires_grad_()
    whole, local = nets(drawn)
    reach = {}
    for name, output in (("whole", whole), ("local", local)):
        (slope,) = torch.autograd.grad(output[0, :, 8, 8].sum(), drawn, retain_graph=True)
        seen = slope[0].abs().sum(0) > 0
        reach[name] = (int(seen.any(1).sum()), int(seen.any(0).sum()))
    assert reach["local"] == (5, 5)
    assert min(reach["whole"]) >= 15


def test_descriptors_by_loops() -> None:
    maps = noise(2, 9, 7)
    found = descriptors(maps, threshold=1.0, top=0.1)
    for picture, row in zip(maps.numpy(), found.tolist()):
        values = sorted(picture.ravel())
        varied = np.mean([abs(picture[y + 1, x] - picture[y, x]) for y in range(8) for x in range(7)])
        varied += np.mean([abs(picture[y, x + 1] - picture[y, x]) for y in range(9) for x in range(6)])
        regions = ndimage.label(picture > 1.0, np.ones((3, 3)))[1]
        area = sum(value > 1.0 for value in values) / 63
        expected = [values[-1], np.mean(values), np.std(values), np.mean(values[-6:]), area, varied, regions]
        np.testing.assert_allclose(row, expected, rtol=1e-5)
    assert len(NAMES) == found.shape[1]


def test_many_weak_spots_are_unusual_though_none_of_them_is() -> None:
    maps = noise(40, 16, 16).abs()
    scorer = MapDescriptors().fit(maps)
    busy = maps[:5].clone()
    busy[:, ::2, ::2] = busy.quantile(0.995)
    assert scorer.score(busy).min() > scorer.score(maps).max()
    again = MapDescriptors().restore(scorer.state())
    assert torch.equal(again.score(busy), scorer.score(busy))
    with pytest.raises(ValueError, match="at least two normal pictures"):
        MapDescriptors().fit(maps[:1])
