"""Greedy k-centre coreset, exact and fast.

Plain greedy (Sener & Savarese 2018; PatchCore, Roth et al. 2022) takes the farthest point again and again and updates
the distance of every point after every pick. Here a point's distance is brought up to date only when the point could be
the next pick: distances only shrink, so an old one is an upper bound. The candidates with the largest bounds are
refreshed together by one matrix product, and picks are taken among them for as long as the best of them beats every
bound outside. The picks are plain greedy's (up to ties and rounding), at a small fraction of its cost.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

CANDIDATES = 1024
"""Points refreshed together; also the number of new centres after which all points are refreshed."""

PICKED = -1.0
"""The bound of a centre: below every distance, so that it is never picked twice, not even among equal points."""


def greedy_coreset(
    points: Tensor,
    count: int,
    seed: int = 0,
    projection: int | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Return the indices `[count]` of the k-centre coreset of `points` `[n, C]`, in the order of picking.

    The first centre is drawn by `seed`. `projection` measures distances after a random linear map to so many
    dimensions, as the published code does with 128 (faster for wide features, and a little worse: the covering radius
    grows). `report(done, count)` hears about progress. Raises ValueError unless 1 <= count <= n.

    >>> greedy_coreset(torch.tensor([[0.0], [1.0], [10.0]]), 3).sort().values.tolist()
    [0, 1, 2]
    """
    if points.ndim != 2 or not 1 <= count <= len(points):
        raise ValueError(f"expected points [n, C] and 1 <= count <= n, got {list(points.shape)} and count {count}")
    generator = torch.Generator().manual_seed(seed)
    if projection is not None and projection < points.shape[1]:
        matrix = torch.randn(points.shape[1], projection, generator=generator) / math.sqrt(projection)
        points = points @ matrix.to(points)
    first = int(torch.randint(len(points), (1,), generator=generator))
    return _Greedy(points.float()).pick(first, count, report or (lambda _done, _count: None))


class _Greedy:
    """The state of one selection: upper bounds on squared distances, and the centres each point has seen."""

    def __init__(self, points: Tensor) -> None:
        self.points = points - points.mean(0)  # small numbers: squared distances by products keep their digits
        self.squares = self.points.square().sum(1)
        self.bounds = torch.full((len(points),), math.inf)

    def pick(self, first: int, count: int, report: Callable[[int, int], None]) -> Tensor:
        self.chosen = torch.empty(count, dtype=torch.long)
        self.chosen[0], self.done, self.seen_by_all = first, 1, 0
        self.bounds[first] = PICKED
        while self.done < count:
            if self.done == 1 or self.done - self.seen_by_all >= CANDIDATES:
                self._refresh_all()
                report(self.done, count)
            self._pick_among_candidates(count)
        report(count, count)
        return self.chosen

    def _refresh_all(self) -> None:
        centres = self.chosen[self.seen_by_all : self.done]
        for start in range(0, len(self.points), 16384):
            rows = slice(start, start + 16384)
            torch.minimum(self.bounds[rows], self._nearest(rows, centres), out=self.bounds[rows])
        self.seen_by_all = self.done

    def _pick_among_candidates(self, count: int) -> None:
        size = min(CANDIDATES, len(self.points))
        bounds, candidates = self.bounds.topk(min(size + 1, len(self.points)))
        outside = float(bounds[size]) if len(bounds) > size else -math.inf
        candidates = candidates[:size]
        near = torch.minimum(bounds[:size], self._nearest(candidates, self.chosen[self.seen_by_all : self.done]))
        points, squares = self.points[candidates], self.squares[candidates]
        while self.done < count:
            best = int(near.argmax())
            if float(near[best]) < outside:
                break
            self.chosen[self.done] = candidates[best]
            self.done += 1
            fresh = torch.addmv(squares + squares[best], points, points[best], alpha=-2).clamp_(min=0)
            fresh[best] = PICKED
            torch.minimum(near, fresh, out=near)
        self.bounds[candidates] = near

    def _nearest(self, rows: slice | Tensor, centres: Tensor) -> Tensor:
        """Squared distance of each row to the nearest of `centres`."""
        if len(centres) == 0:
            return torch.full_like(self.bounds[rows], math.inf)
        products = torch.addmm(self.squares[centres][None], self.points[rows], self.points[centres].T, alpha=-2)
        return products.amin(1).add_(self.squares[rows]).clamp_(min=0)
