"""Output combiners: each is the loop over pixels and members that it replaces; a forest is scikit-learn's."""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression as Regression
from torch import Tensor

from combiners import OUTPUT_COMBINERS
from combiners.calibrated import Calibrated
from combiners.calibration import Rank, Robust, ZScore
from combiners.forest import BLOCK, MAX_LEAVES, Forest
from combiners.outputs import MajorityVote, Maximum, Mean, Median, WeightedMean
from combiners.protocol import OutputCombiner, Stacker
from combiners.stacking import LogisticRegression, RandomForest

PARAMETERS: dict[str, dict[str, Any]] = {"weighted_mean": {"weights": (1, 2, 5)}, "random_forest": {"trees": 5}}
STACKERS = ("logistic_regression", "random_forest")
of_every_combiner = pytest.mark.parametrize("name", OUTPUT_COMBINERS)
of_every_stacker = pytest.mark.parametrize("name", STACKERS)


def values_of(*shape: int, seed: int = 0) -> Tensor:
    """Rounded, so that there are ties."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).mul(8).round() / 8


def examples(members: int = 3, count: int = 400, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Labelled values that members tell apart more or less well, one anomalous in four."""
    labels = torch.arange(count) % 4 == 0
    return values_of(members, count, seed=seed) + labels * torch.arange(1, members + 1)[:, None] * 0.5, labels


def unfitted(name: str) -> OutputCombiner:
    return OUTPUT_COMBINERS[name](**PARAMETERS.get(name, {}))


def fitted(name: str, seed: int = 0) -> OutputCombiner:
    combiner = unfitted(name).fit(values_of(3, 200, seed=seed))
    return combiner.learn(*examples(seed=seed)) if isinstance(combiner, Stacker) else combiner


LOOPS: dict[str, tuple[OutputCombiner, Callable[[list[float]], float]]] = {
    "mean": (Mean(), statistics.fmean),
    "weighted mean": (WeightedMean((1, 2, 5, 0)), lambda row: (row[0] + 2 * row[1] + 5 * row[2]) / 8),
    "maximum": (Maximum(), max),
    "median": (Median(), statistics.median),
}


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("members", [1, 2, 3, 4])
def test_a_fixed_rule_is_the_loop_over_pixels(name: str, members: int) -> None:
    combiner, by_hand = LOOPS[name]
    if name == "weighted mean" and members < 4:
        return
    maps = values_of(members, 2, 3, 5)
    expected = [by_hand(maps[:, n, y, x].tolist()) for n in range(2) for y in range(3) for x in range(5)]
    torch.testing.assert_close(
        combiner.fit(values_of(members, 9)).transform(maps), torch.tensor(expected).view(2, 3, 5)
    )


def test_a_majority_vote_is_the_share_of_members_above_their_normal_quantile() -> None:
    normal, maps = values_of(3, 101) * torch.tensor([[1.0], [5.0], [0.1]]), values_of(3, 2, 4, 4, seed=1) * 3
    thresholds = [sorted(row)[90] for row in normal.tolist()]  # 101 values: the quantile 0.9 is one of them
    expected = [
        sum(maps[member, n, y, x].item() > thresholds[member] for member in range(3)) / 3
        for n in range(2)
        for y in range(4)
        for x in range(4)
    ]
    got = MajorityVote(0.9).fit(normal).transform(maps)
    torch.testing.assert_close(got, torch.tensor(expected).view(2, 4, 4))


def test_at_most_the_agreed_share_of_normal_values_is_voted_anomalous() -> None:
    normal = torch.randn(3, 1000, generator=torch.Generator().manual_seed(0))
    votes = MajorityVote(0.95).fit(normal).transform(normal)
    assert votes.mean().item() == pytest.approx(0.05, abs=1e-3)


def test_logistic_regression_is_scikit_learns() -> None:
    values, labels = examples()
    reference = Regression(C=0.5, class_weight="balanced", max_iter=1000).fit(values.T.numpy(), labels.numpy())
    maps = values_of(3, 2, 4, 4, seed=1)
    expected = reference.decision_function(maps.flatten(1).T.numpy()).reshape(2, 4, 4)
    got = LogisticRegression(strength=0.5).learn(values, labels).transform(maps)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_the_random_forest_is_scikit_learns() -> None:
    values, labels = examples()
    reference = RandomForestClassifier(9, max_leaf_nodes=12, class_weight="balanced", random_state=4)
    reference.fit(values.T.numpy(), labels.numpy())
    maps = values_of(3, 2, 40, 40, seed=1)
    expected = reference.predict_proba(maps.flatten(1).T.numpy())[:, 1].reshape(2, 40, 40)
    got = RandomForest(trees=9, leaves=12, seed=4).learn(values, labels).transform(maps)
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-6)


SHAPES = {
    "two leaves": {"max_leaf_nodes": 2},
    "as many leaves as fit": {"max_leaf_nodes": MAX_LEAVES},
    "shallow": {"max_depth": 2},
    "no test at all": {"max_depth": 3, "min_samples_split": 1000},
    "one feature a tree": {"max_leaf_nodes": 9, "max_features": 1},
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("members", [1, 2, 5])
def test_trees_of_any_shape_give_what_walking_down_them_gives(shape: str, members: int) -> None:
    values, labels = examples(members, count=300)
    model = RandomForestClassifier(7, random_state=0, **SHAPES[shape]).fit(values.T.numpy(), labels.numpy())
    trees = [tree.tree_ for tree in model.estimators_]
    probes = torch.cat([values, values_of(members, 60, seed=2) * 5, torch.full((members, 1), 1e30)], dim=1)
    expected = [statistics.fmean(walk(tree, row) for tree in trees) for row in probes.T.tolist()]
    np.testing.assert_allclose(Forest.of(trees)(probes).numpy(), expected, atol=1e-6)


def walk(tree: Any, row: list[float]) -> float:
    node = 0
    while tree.children_left[node] >= 0:
        goes_left = row[tree.feature[node]] <= tree.threshold[node]
        node = (tree.children_left if goes_left else tree.children_right)[node]
    normal, anomalous = tree.value[node, 0]
    return anomalous / (normal + anomalous)


def test_a_value_next_to_a_threshold_falls_on_scikit_learns_side() -> None:
    values, labels = examples(1, count=60)
    values = values + torch.rand(values.shape, generator=torch.Generator().manual_seed(1))
    model = RandomForestClassifier(20, random_state=0, max_leaf_nodes=20).fit(values.T.numpy(), labels.numpy())
    thresholds = np.concatenate([tree.tree_.threshold[tree.tree_.children_left >= 0] for tree in model.estimators_])
    single = thresholds.astype(np.float32)
    probes = np.concatenate([single, np.nextafter(single, np.float32(9e9)), np.nextafter(single, np.float32(-9e9))])
    got = Forest.of([tree.tree_ for tree in model.estimators_])(torch.from_numpy(probes)[None])
    np.testing.assert_allclose(got.numpy(), model.predict_proba(probes[:, None])[:, 1], atol=1e-6)


def test_a_forest_does_not_care_where_its_blocks_end() -> None:
    forest, values = fitted("random_forest"), values_of(3, 2 * BLOCK + 3)
    together = forest.transform(values)
    assert torch.equal(together[BLOCK - 5 : BLOCK + 5], forest.transform(values[:, BLOCK - 5 : BLOCK + 5]))
    assert forest.transform(values[:, :0]).shape == (0,)


@of_every_stacker
def test_a_stacker_learns_which_member_to_trust(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(600) % 2 == 0
    values = torch.randn(2, 600, generator=generator)
    values[1] += 4 * labels
    stacked = OUTPUT_COMBINERS[name]().learn(values, labels).transform(values)
    assert stacked[labels].mean() - stacked[~labels].mean() > 2 * stacked.std() * 0.8
    noise_first = torch.tensor([[3.0, 0.0], [0.0, 3.0]])
    trusted = OUTPUT_COMBINERS[name]().learn(values, labels).transform(noise_first)
    assert trusted[1] > trusted[0]


@of_every_stacker
def test_rare_anomalies_weigh_as_much_as_the_many_normal_values(name: str) -> None:
    values, labels = examples(2, 2000)
    kept = ~labels | (torch.arange(2000) % 40 == 0)
    stacked = OUTPUT_COMBINERS[name]().learn(values[:, kept], labels[kept]).transform(values)
    middle = 0.0 if name == "logistic_regression" else 0.5
    assert (stacked[labels] > middle).float().mean() > 0.5
    assert (stacked[~labels] > middle).float().mean() < 0.4


@of_every_combiner
def test_maps_batches_and_scores_are_combined_alike(name: str) -> None:
    combiner, maps = fitted(name), values_of(3, 4, 6, 5, seed=3)
    whole = combiner.transform(maps)
    assert whole.shape == (4, 6, 5)
    assert whole.dtype == torch.float32
    torch.testing.assert_close(combiner.transform(maps.flatten(1)).view(4, 6, 5), whole)
    torch.testing.assert_close(combiner.transform(maps[:, 1, 2, 3]), whole[1, 2, 3])


@of_every_combiner
def test_more_anomalous_members_never_make_it_less_anomalous(name: str) -> None:
    if name in STACKERS:
        return  # what they learn decides
    maps = values_of(3, 2, 4, 4, seed=1)
    combiner = fitted(name)
    assert (combiner.transform(maps + values_of(3, 2, 4, 4, seed=2).abs()) >= combiner.transform(maps)).all()


@of_every_combiner
def test_a_file_gives_back_the_same_bits(name: str, tmp_path: Path) -> None:
    combiner, maps = fitted(name), values_of(3, 2, 4, 4, seed=3)
    save_file(combiner.state(), tmp_path / "state.safetensors")
    again = unfitted(name).restore(load_file(tmp_path / "state.safetensors"))
    assert torch.equal(again.transform(maps), combiner.transform(maps))


@of_every_combiner
def test_the_same_examples_give_the_same_rule_and_the_past_is_forgotten(name: str) -> None:
    maps = values_of(3, 2, 4, 4, seed=3)
    other = fitted(name, seed=9)
    other.fit(values_of(3, 200))
    if isinstance(other, Stacker):
        with pytest.raises(RuntimeError, match="has not learned"):
            other.transform(maps)
        other.learn(*examples())
    assert torch.equal(other.transform(maps), fitted(name).transform(maps))


def test_another_seed_grows_other_trees() -> None:
    maps = values_of(3, 2, 8, 8, seed=3)
    grown = [RandomForest(trees=5, seed=seed).learn(*examples()).transform(maps) for seed in (0, 1)]
    assert not torch.equal(*grown)


def test_which_combiners_learn_from_labels() -> None:
    assert [name for name in OUTPUT_COMBINERS if isinstance(unfitted(name), Stacker)] == list(STACKERS)


FAULTS: dict[str, tuple[Callable[[], Any], str]] = {
    "too few weights": (
        lambda: WeightedMean((1.0, 2.0)).transform(torch.zeros(3, 2)),
        "expected one weight for each of 3 detectors, got 2",
    ),
    "a negative weight": (
        lambda: WeightedMean((1.0, -2.0)).transform(torch.zeros(2, 2)),
        r"expected weights of at least 0, one of them above 0, got \[1.0, -2.0\]",
    ),
    "no weight": (lambda: WeightedMean((0.0, 0.0)).transform(torch.zeros(2, 2)), "one of them above 0"),
    "a quantile of 2": (lambda: MajorityVote(2.0).fit(torch.zeros(2, 2)), r"expected a quantile in \[0, 1\], got 2"),
    "another number of members": (
        lambda: fitted("majority_vote").transform(torch.zeros(2, 2)),
        r"expected the values of 3 detectors, \[3, ...\], got \[2, 2\]",
    ),
    "a penalty of nothing": (
        lambda: LogisticRegression(strength=0).learn(*examples()),
        "expected a strength above 0, got 0",
    ),
    "no trees": (lambda: RandomForest(trees=0).learn(*examples()), "expected trees of at least 1 .* got 0 and 24"),
    "too many leaves": (lambda: RandomForest(leaves=31).learn(*examples()), "leaves of 2 to 30, got 32 and 31"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_is_refused_with_a_reason(fault: str) -> None:
    do, says = FAULTS[fault]
    with pytest.raises(ValueError, match=says):
        do()


@of_every_stacker
@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (torch.zeros(400, dtype=torch.bool), "expected examples of both kinds, got only normal ones"),
        (torch.ones(400, dtype=torch.bool), "expected examples of both kinds, got only anomalous ones"),
        (torch.ones(399, dtype=torch.bool), r"expected bool labels \[400\], got \[399\] torch.bool"),
        (torch.zeros(400), r"expected bool labels \[400\], got \[400\] torch.float32"),
    ],
)
def test_labels_that_teach_nothing_are_refused(name: str, labels: Tensor, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        unfitted(name).learn(examples()[0], labels)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["majority_vote", *STACKERS])
def test_use_before_learning_says_so(name: str) -> None:
    with pytest.raises(RuntimeError, match=r"not fitted|has not learned"):
        unfitted(name).transform(torch.zeros(3, 2))
    with pytest.raises(RuntimeError, match=r"not fitted|has not learned"):
        unfitted(name).state()


def test_calibrating_and_combining_is_doing_one_after_the_other(tmp_path: Path) -> None:
    normal, maps = values_of(3, 200), values_of(3, 2, 4, 4, seed=1)
    calibration, vote = Robust().fit(normal), MajorityVote(0.9)
    expected = vote.fit(calibration.transform(normal)).transform(calibration.transform(maps))
    both = Calibrated(Robust(), MajorityVote(0.9)).fit(normal)
    assert torch.equal(both.transform(maps), expected)
    save_file(both.state(), tmp_path / "state.safetensors")
    again = Calibrated(Robust(), MajorityVote(0.9)).restore(load_file(tmp_path / "state.safetensors"))
    assert torch.equal(again.transform(maps), expected)


def test_a_stacker_behind_a_calibration_learns_from_calibrated_values() -> None:
    normal, (values, labels), maps = values_of(3, 200), examples(), values_of(3, 2, 4, 4, seed=1)
    calibration = Rank().fit(normal)
    expected = LogisticRegression().learn(calibration.transform(values), labels).transform(calibration.transform(maps))
    both = Calibrated(Rank(), LogisticRegression()).fit(normal).learn(values, labels)
    torch.testing.assert_close(both.transform(maps), expected)


def test_a_fixed_rule_does_not_learn_from_labels() -> None:
    with pytest.raises(TypeError, match="Mean does not learn from labels"):
        Calibrated(ZScore(), Mean()).learn(*examples())
