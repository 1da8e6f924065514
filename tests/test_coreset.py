"""The fast greedy coreset picks what the plain loop picks."""

import pytest
import torch
from torch import Tensor

from extractors import coreset
from extractors.coreset import greedy_coreset


def points(count: int, channels: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(count, channels, generator=torch.Generator().manual_seed(seed))


def plain_greedy(rows: Tensor, count: int, first: int) -> list[int]:
    """Farthest point after farthest point, every distance updated after every pick, in double precision."""
    rows = rows.double()
    picks = [first]
    nearest = (rows - rows[first]).norm(dim=1)
    while len(picks) < count:
        picks.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, (rows - rows[picks[-1]]).norm(dim=1))
    return picks


def radius(rows: Tensor, chosen: Tensor) -> float:
    """Largest distance of a row to its nearest chosen row."""
    return float(torch.cdist(rows, rows[chosen]).amin(1).max())


@pytest.mark.parametrize("candidates", [1, 5, 64, 1024])
@pytest.mark.parametrize("seed", range(3))
def test_picks_are_plain_greedys_in_order(candidates: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coreset, "CANDIDATES", candidates)
    rows = points(400, seed=seed)
    picks = greedy_coreset(rows, 80, seed).tolist()
    assert picks == plain_greedy(rows, 80, picks[0])


def test_picks_are_plain_greedys_far_from_the_origin() -> None:
    rows = points(400) + 1000
    picks = greedy_coreset(rows, 40)
    assert radius(rows, picks) == pytest.approx(
        radius(rows, torch.tensor(plain_greedy(rows, 40, int(picks[0])))), rel=1e-3
    )


def test_picks_are_plain_greedys_where_points_lie_in_clusters() -> None:
    rows = (points(10, seed=1)[:, None] * 20 + points(500, seed=2).view(10, 50, 6)).flatten(0, 1)
    picks = greedy_coreset(rows, 60).tolist()
    assert picks == plain_greedy(rows, 60, picks[0])
    assert len({pick // 50 for pick in picks[:10]}) == 10  # one of each cluster before the second of any


def test_the_covering_radius_never_grows_and_is_at_most_twice_the_best() -> None:
    line = torch.arange(101.0)[:, None]
    radii = [radius(line, greedy_coreset(line, count)) for count in (1, 2, 5, 10, 50, 101)]
    assert radii == sorted(radii, reverse=True)
    assert radii[2] <= 2 * 10  # five centres cover 101 points of a line within 10
    assert radii[-1] == 0


def test_all_points_are_picked_once_when_all_are_asked_for() -> None:
    assert greedy_coreset(points(50), 50).sort().values.tolist() == list(range(50))


def test_equal_points_are_never_picked_twice() -> None:
    rows = points(5).repeat(8, 1)
    picks = greedy_coreset(rows, 20)
    assert picks.unique().numel() == 20
    assert rows[picks[:5]].unique(dim=0).shape == (5, 6)


def test_one_centre_is_the_drawn_one_and_the_seed_draws_it() -> None:
    firsts = {int(greedy_coreset(points(50), 1, seed)) for seed in range(20)}
    assert len(firsts) > 10
    assert torch.equal(greedy_coreset(points(50), 10, 3), greedy_coreset(points(50), 10, 3))


def test_a_projection_as_wide_as_the_points_is_none() -> None:
    assert torch.equal(greedy_coreset(points(50), 20, projection=6), greedy_coreset(points(50), 20))


def test_a_projection_costs_a_little_radius_and_beats_chance() -> None:
    rows = points(600, 64)
    projected = radius(rows, greedy_coreset(rows, 60, projection=16))
    assert radius(rows, greedy_coreset(rows, 60)) <= projected
    chance = [radius(rows, torch.randperm(600, generator=torch.Generator().manual_seed(n))[:60]) for n in range(10)]
    assert projected < sum(chance) / len(chance)


def test_points_stay_as_they_were_and_progress_ends_at_count() -> None:
    rows, heard = points(50), []
    greedy_coreset(rows, 20, report=lambda done, count: heard.append((done, count)))
    assert torch.equal(rows, points(50))
    assert heard[-1] == (20, 20)


@pytest.mark.parametrize(("rows", "count"), [(points(5), 0), (points(5), 6), (points(5)[0], 1)])
def test_what_cannot_be_is_refused(rows: Tensor, count: int) -> None:
    with pytest.raises(ValueError, match=r"expected points \[n, C\] and 1 <= count <= n"):
        greedy_coreset(rows, count)
