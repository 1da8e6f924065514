"""Stacking: how to combine calibrated outputs, learned from labelled ones.

The labels are those of synthetic anomalies; no test picture has any part in it. Values come balanced or not: both
classes weigh the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from combiners.forest import MAX_LEAVES, Forest
from combiners.protocol import check_members, check_values


@dataclass(eq=False)
class LogisticRegression:
    """Stacking by logistic regression; gives the log-odds of an anomaly, which never reach a ceiling."""

    strength: float = 1.0
    """Inverse of the L2 penalty, scikit-learn's C."""
    seed: int = 0
    """Draws the synthetic anomalies and the pixels to learn from."""
    weights_: Tensor | None = field(default=None, init=False, repr=False)
    """`[M]`, set by learn."""
    offset_: Tensor | None = field(default=None, init=False, repr=False)
    """`[]`, set by learn."""

    def check(self) -> None:
        """Raise ValueError for parameters out of range."""
        if not 0 < self.strength < float("inf"):
            raise ValueError(f"expected a strength above 0, got {self.strength}")

    def fit(self, normal: Tensor) -> Self:  # noqa: ARG002
        """Learn nothing from normal values alone, and forget the past."""
        self.weights_ = self.offset_ = None
        return self

    def learn(self, values: Tensor, labels: Tensor) -> Self:
        """Learn from values `[M, K]` and labels, bool `[K]`; ValueError unless there are both kinds."""
        from sklearn.linear_model import LogisticRegression as Regression

        self.check()
        rows = _examples(values, labels)
        fitted = Regression(C=self.strength, class_weight="balanced", max_iter=1000).fit(rows.numpy(), labels.numpy())
        self.weights_ = torch.from_numpy(fitted.coef_[0]).float()
        self.offset_ = torch.tensor(float(fitted.intercept_[0]))
        return self

    def transform(self, values: Tensor) -> Tensor:
        """`[M, *shape]` -> `[*shape]`: log-odds."""
        weights, offset = self._learned
        return torch.tensordot(weights, check_members(values, len(weights)), dims=1) + offset

    def state(self) -> dict[str, Tensor]:
        """Weights and offset."""
        weights, offset = self._learned
        return {"weights": weights, "offset": offset}

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Take back what `state` gave."""
        self.weights_, self.offset_ = state["weights"], state["offset"]
        return self

    @property
    def _learned(self) -> tuple[Tensor, Tensor]:
        if self.weights_ is None or self.offset_ is None:
            raise RuntimeError("LogisticRegression has not learned: call learn(values, labels) or restore(state) first")
        return self.weights_, self.offset_


@dataclass(eq=False)
class RandomForest:
    """Stacking by a random forest (Breiman, 2001); gives the probability of an anomaly.

    Few and small trees: the function has as many arguments as there are detectors, and is asked for every pixel.
    """

    trees: int = 32
    """Number of trees."""
    leaves: int = 24
    """Leaves of a tree at most, 2 to 30; the best splits are made first."""
    seed: int = 0
    """Draws the trees, the synthetic anomalies and the pixels to learn from."""
    forest_: Forest | None = field(default=None, init=False, repr=False)
    """Set by learn."""
    members_: int = field(default=0, init=False, repr=False)
    """M, set by learn."""

    def check(self) -> None:
        """Raise ValueError for parameters out of range."""
        if self.trees < 1 or not 2 <= self.leaves <= MAX_LEAVES:
            given = f"{self.trees} and {self.leaves}"
            raise ValueError(f"expected trees of at least 1 and leaves of 2 to {MAX_LEAVES}, got {given}")

    def fit(self, normal: Tensor) -> Self:  # noqa: ARG002
        """Learn nothing from normal values alone, and forget the past."""
        self.forest_ = None
        return self

    def learn(self, values: Tensor, labels: Tensor) -> Self:
        """Learn from values `[M, K]` and labels, bool `[K]`; ValueError unless there are both kinds."""
        from sklearn.ensemble import RandomForestClassifier

        self.check()
        rows = _examples(values, labels)
        classifier = RandomForestClassifier(
            self.trees, max_leaf_nodes=self.leaves, class_weight="balanced", random_state=self.seed
        )
        classifier.fit(rows.numpy(), labels.numpy())
        self.forest_ = Forest.of([tree.tree_ for tree in classifier.estimators_])
        self.members_ = len(values)
        return self

    def transform(self, values: Tensor) -> Tensor:
        """`[M, *shape]` -> `[*shape]`: probability."""
        forest = self._learned
        pixels = check_members(values, self.members_).float().reshape(len(values), values[0].numel())
        return forest(pixels).view(values.shape[1:])

    def state(self) -> dict[str, Tensor]:
        """The trees."""
        return {"members": torch.tensor(self.members_), **self._learned.state()}

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Take back what `state` gave."""
        self.members_, self.forest_ = int(state["members"]), Forest.restore(state)
        return self

    @property
    def _learned(self) -> Forest:
        if self.forest_ is None:
            raise RuntimeError("RandomForest has not learned: call learn(values, labels) or restore(state) first")
        return self.forest_


def _examples(values: Tensor, labels: Tensor) -> Tensor:
    """Values `[M, K]` -> float32 `[K, M]`, when the labels fit them and are of both kinds."""
    check_values(values)
    if labels.dtype != torch.bool or labels.shape != values.shape[1:]:
        raise ValueError(f"expected bool labels [{values.shape[1]}], got {list(labels.shape)} {labels.dtype}")
    if labels.all() or not labels.any():
        raise ValueError(f"expected examples of both kinds, got only {'anomalous' if labels.all() else 'normal'} ones")
    return values.T.float().contiguous()
