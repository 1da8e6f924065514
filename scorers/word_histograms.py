"""How often each visual word occurs, and where: too many, too few, in the wrong part of the picture."""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from combiners.pca import Moments, principal_components
from extractors.neighbours import nearest
from extractors.ranges import check_range
from extractors.rows import as_rows
from scorers.mahalanobis import Mahalanobis
from scorers.pyramid import check_pyramid, membership
from scorers.whole_picture import WholePicture, check_grid

CELLS = 20_000
"""Cells from which words are learned, drawn from all."""


@dataclass(eq=False)
class WordHistograms(WholePicture):
    """Mahalanobis distance of counts of k-means words, over the picture and the blocks of a pyramid.

    The bag of visual words (Sivic and Zisserman, ICCV 2003) over a spatial pyramid (Lazebnik et al., CVPR 2006), with
    Hellinger's square root of the counts. The map is exact to first order: each cell's word counts for what one more of
    it adds, less what the words that normal pictures have there would add.
    """

    words: int = 32
    """Clusters of normal features."""
    pyramid: tuple[int, ...] = (1, 2)
    """Blocks per side of each level; 1 is the whole picture."""
    seed: int = 0
    """Draws the cells and the first centres."""
    matrix_: Tensor = field(init=False, repr=False)
    """`[C, K]`: whitens features, set by fit."""
    centres_: Tensor = field(init=False, repr=False)
    """`[words, K]`, set by fit."""
    usual_: Tensor = field(init=False, repr=False)
    """`[words, h, w]`: how often each cell has each word in normal pictures, set by fit."""
    normal_: Mahalanobis = field(init=False, repr=False)
    """Of the histograms, set by fit."""

    def check_parameters(self) -> None:
        """Raise ValueError for parameters out of range."""
        check_range(self, "words", least=2)
        check_range(self, "pyramid", least=1)

    def learn(self, features: Tensor) -> None:
        """Learn from features `[N, C, h, w]` of normal pictures; raises ValueError for fewer cells than words."""
        from sklearn.cluster import KMeans  # takes a second, which only a fit need wait for

        check_pyramid(features, self.pyramid)
        generator = torch.Generator().manual_seed(self.seed)
        rows = as_rows(features)
        rows = rows[torch.randperm(len(rows), generator=generator)[:CELLS]]
        if len(rows) < self.words:
            raise ValueError(f"expected at least {self.words} cells in all, one for each word, got {len(rows)}")
        moments = Moments()
        moments.add(features)
        self.matrix_ = principal_components(moments.mean, moments.covariance, 0.95, whiten=False).matrix
        found = KMeans(self.words, n_init=1, max_iter=50, random_state=self.seed).fit((rows @ self.matrix_).numpy())
        self.centres_ = torch.from_numpy(found.cluster_centers_)
        counted = self._words(features)
        self.usual_ = counted.mean(0)
        self.normal_ = Mahalanobis().fit(self._histograms(counted))

    def judge(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features `[N, C, h, w]` -> scores of cells `[N, h, w]` and of pictures `[N]`."""
        check_grid(features, self.usual_.shape[1:])
        counted = self._words(features)
        rows = self._histograms(counted)
        distances, pull = self.normal_.judge(rows)
        slopes = (pull / distances[:, None]).float() / rows.clamp(min=0.05).mul(2)
        at_cells = slopes.unflatten(1, (self.words, -1)) @ membership(tuple(features.shape[2:]), self.pyramid)
        change = (counted - self.usual_).flatten(2)
        return (at_cells * change).sum(1).unflatten(1, features.shape[2:]), distances.float()

    def _words(self, features: Tensor) -> Tensor:
        """`[N, C, h, w]` -> `[N, words, h, w]`: 1 where a cell has that word."""
        components = self.matrix_.T @ features.flatten(2)
        word = nearest(components.transpose(1, 2).flatten(0, 1), self.centres_)[1][:, 0]
        one_hot = F.one_hot(word, self.words).float()
        return one_hot.unflatten(0, (len(features), *features.shape[2:])).permute(0, 3, 1, 2)

    def _histograms(self, counted: Tensor) -> Tensor:
        """`[N, words, h, w]` -> `[N, words * blocks]`: square roots of the shares of each block."""
        return (counted.flatten(2) @ membership(tuple(counted.shape[2:]), self.pyramid).T).sqrt().flatten(1)
