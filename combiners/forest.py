"""A random forest as plain tensors, and a way to evaluate it on every pixel of a map.

Walking every pixel down every tree is a random access per step. QuickScorer (Lucchese et al., SIGIR 2015) turns it
around. Number the leaves of a tree from left to right and let each inner node, where its test fails, strike out the
leaves of its left subtree: the leftmost leaf that is left is the one that the walk would end in. Which leaves all tests
on one feature strike out together depends only on where the feature's value lies among all their thresholds. That is a
table with a row per interval, made once. A pixel then needs one binary search and one table row per feature.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

MAX_LEAVES = 30
"""Leaves of a tree are bits of an int32, which has a sign."""
BLOCK = 2048
"""Pixels evaluated at once, so that what they need stays in the processor's cache."""


@dataclass(frozen=True, eq=False)
class Forest:
    """T trees of up to P nodes each, as scikit-learn numbers them: the root is 0, a leaf has no children (-1).

    A pixel goes left where `value[feature] <= threshold`. Nodes beyond the end of a smaller tree are leaves
    that nothing leads to.
    """

    left: Tensor
    """`[T, P]` int64: the left child."""
    right: Tensor
    """`[T, P]` int64."""
    feature: Tensor
    """`[T, P]` int64; -2 at a leaf."""
    threshold: Tensor
    """`[T, P]` float32, rounded down from float64, which no comparison with a float32 value can tell."""
    share: Tensor
    """`[T, P]` float64: the share of anomalous examples at a node."""

    @classmethod
    def of(cls, trees: list[Any]) -> "Forest":
        """Take the trees of a fitted `RandomForestClassifier` of two classes: the `tree_` of its `estimators_`."""
        size = max(tree.node_count for tree in trees)
        values = [tree.value[:, 0, :] for tree in trees]
        return cls(
            left=_padded([tree.children_left for tree in trees], size, -1),
            right=_padded([tree.children_right for tree in trees], size, -1),
            feature=_padded([tree.feature for tree in trees], size, -2),
            threshold=_padded([_rounded_down(tree.threshold) for tree in trees], size, 0),
            share=_padded([value[:, 1] / value.sum(1) for value in values], size, 0),
        )

    def __call__(self, values: Tensor) -> Tensor:
        """Float32 `[M, K]` -> `[K]` float32: the mean over the trees of the share of anomalous examples in the leaf."""
        tables, leaves = self._tables, self._leaf_shares.view(-1)
        places = torch.arange(len(self.left), dtype=torch.int32) * self._leaf_shares.shape[1]
        found = []
        for block in values.split(BLOCK, dim=1):
            standing = torch.full((block.shape[1], len(places)), -1, dtype=torch.int32)
            for member, (thresholds, table) in zip(block, tables):
                standing &= table.index_select(0, torch.searchsorted(thresholds, member.contiguous()))
            reached = _lowest_bit(standing).add_(places).view(-1)
            found.append(leaves.index_select(0, reached).view(standing.shape).mean(1))
        return torch.cat(found)

    def state(self) -> dict[str, Tensor]:
        """Five named tensors."""
        return {name: getattr(self, name) for name in ("left", "right", "feature", "threshold", "share")}

    @classmethod
    def restore(cls, state: Mapping[str, Tensor]) -> "Forest":
        """Take back what `state` gave."""
        return cls(**{name: state[name] for name in ("left", "right", "feature", "threshold", "share")})

    @cached_property
    def _leaf_order(self) -> list[list[int]]:
        """The leaves of each tree from left to right."""
        return [self._below(tree, 0) for tree in range(len(self.left))]

    def _below(self, tree: int, node: int) -> list[int]:
        """The leaves under a node from left to right."""
        left, right = int(self.left[tree, node]), int(self.right[tree, node])
        return [node] if left < 0 else self._below(tree, left) + self._below(tree, right)

    @cached_property
    def _leaf_shares(self) -> Tensor:
        """`[T, most leaves]`, float32."""
        order = self._leaf_order
        shares = torch.zeros(len(order), max(map(len, order)))
        for tree, leaves in enumerate(order):
            shares[tree, : len(leaves)] = self.share[tree, leaves].float()
        return shares

    @cached_property
    def _tables(self) -> list[tuple[Tensor, Tensor]]:
        """Per feature the thresholds `[n]`, rising, and `[n + 1, T]`: the leaves left standing by n tests or fewer.

        A value fails exactly the tests with a smaller threshold: row i belongs to the values that fail the first i.
        """
        order = self._leaf_order
        tests: dict[int, list[tuple[float, int, int]]] = {}
        for tree, node in (self.left >= 0).nonzero().tolist():
            struck = self._below(tree, int(self.left[tree, node]))
            mask = ((1 << len(struck)) - 1) << order[tree].index(struck[0])
            tests.setdefault(int(self.feature[tree, node]), []).append((float(self.threshold[tree, node]), tree, mask))
        return [_table(sorted(tests.get(member, [])), len(order)) for member in range(max(tests, default=-1) + 1)]


def _table(tests: list[tuple[float, int, int]], trees: int) -> tuple[Tensor, Tensor]:
    rows = np.full((len(tests) + 1, trees), -1, dtype=np.int32)
    for row, (_, tree, mask) in enumerate(tests, 1):
        rows[row] = rows[row - 1]
        rows[row, tree] &= ~mask
    return torch.tensor([threshold for threshold, _, _ in tests], dtype=torch.float32), torch.from_numpy(rows)


def _lowest_bit(masks: Tensor) -> Tensor:
    """The number of the lowest bit that is set: alone, it is a power of two, and a float's exponent says which."""
    return masks.neg().bitwise_and_(masks).float().view(torch.int32).bitwise_right_shift_(23).sub_(127)


def _rounded_down(thresholds: np.ndarray) -> np.ndarray:
    single = thresholds.astype(np.float32)
    return np.where(single > thresholds, np.nextafter(single, np.float32(-np.inf)), single)


def _padded(parts: list[np.ndarray], size: int, fill: int) -> Tensor:
    return torch.from_numpy(np.stack([np.pad(part, (0, size - len(part)), constant_values=fill) for part in parts]))
