"""Shapley values and synergies: against their definitions, known games and axioms; estimates against exact values."""

from itertools import permutations
from math import comb

import numpy as np
import pytest

from ensemble_ad.attribution.sampling import draw_orders, estimate, visited
from ensemble_ad.attribution.shapley import Coalition, Worth, all_coalitions, shapley_values, synergies

SIZES = [2, 3, 4, 5]


def random_game(players: int, seed: int = 0, games: int = 3) -> dict[Coalition, np.ndarray]:
    random = np.random.default_rng(seed)
    return {who: random.normal(size=games) for who in [frozenset(), *all_coalitions(players)]}


def game_from(players: int, worth: object) -> dict[Coalition, np.ndarray]:
    return {who: np.array(float(worth(who))) for who in [frozenset(), *all_coalitions(players)]}  # type: ignore[operator]


def gains(worth: Worth, order: tuple[int, ...]) -> np.ndarray:
    """What each player adds when they come in this order, one by one."""
    there: Coalition = frozenset()
    added = [np.zeros(())] * len(order)
    for player in order:
        added[player] = worth[there | {player}] - worth[there]
        there |= {player}
    return np.array(added)


@pytest.mark.parametrize("players", SIZES)
def test_the_value_is_the_mean_gain_over_all_orders_of_coming(players: int) -> None:
    worth = random_game(players)
    expected = np.mean([gains(worth, order) for order in permutations(range(players))], axis=0)
    np.testing.assert_allclose(shapley_values(worth, players), expected, atol=1e-12)


@pytest.mark.parametrize("players", SIZES)
def test_synergy_obeys_its_recursion(players: int) -> None:
    """The value of a pair that plays as one, minus that of each without the other (Grabisch and Roubens, axiom R)."""
    worth = random_game(players)
    found = synergies(worth, players)
    for first in range(players):
        for second in range(players):
            if first == second:
                continue
            pair = value_of_pair(worth, players, first, second)
            alone = value_without(worth, players, first, second) + value_without(worth, players, second, first)
            np.testing.assert_allclose(found[first, second], pair - alone, atol=1e-12)


def value_of_pair(worth: Worth, players: int, first: int, second: int) -> np.ndarray:
    others = [player for player in range(players) if player not in (first, second)]
    inside = dict(enumerate([{player} for player in others] + [{first, second}]))
    return shapley_values(renamed(worth, inside), players - 1)[-1]


def value_without(worth: Worth, players: int, player: int, absent: int) -> np.ndarray:
    kept = [other for other in range(players) if other != absent]
    return shapley_values(renamed(worth, {index: {other} for index, other in enumerate(kept)}), players - 1)[
        kept.index(player)
    ]


def renamed(worth: Worth, inside: dict[int, set[int]]) -> Worth:
    """The game whose player `i` stands for the players `inside[i]`."""
    coalitions = [frozenset(), *all_coalitions(len(inside))]
    return {who: worth[frozenset().union(*(inside[player] for player in who))] for who in coalitions}


def test_an_additive_game_pays_everyone_what_they_bring() -> None:
    brought = np.array([0.3, -0.1, 0.25, 0.0])
    worth = game_from(4, lambda who: 0.5 + sum(brought[player] for player in who))
    np.testing.assert_allclose(shapley_values(worth, 4), brought, atol=1e-15)
    np.testing.assert_allclose(synergies(worth, 4), np.zeros((4, 4)), atol=1e-15)


def test_gloves() -> None:
    """One left glove, two right ones; only a pair is worth anything."""
    worth = game_from(3, lambda who: 0 in who and len(who) > 1)
    np.testing.assert_allclose(shapley_values(worth, 3), [2 / 3, 1 / 6, 1 / 6])


def test_votes() -> None:
    """Shapley and Shubik (1954): 50, 49 and 1 votes, 51 needed. The smallest party has the power of the second."""
    votes = [50, 49, 1]
    worth = game_from(3, lambda who: sum(votes[player] for player in who) >= 51)
    np.testing.assert_allclose(shapley_values(worth, 3), [2 / 3, 1 / 6, 1 / 6])


def test_runways() -> None:
    """Littlechild and Owen (1973): each metre is paid for, in equal parts, by those who need it."""
    metres = [1, 3, 4, 8]
    worth = game_from(4, lambda who: max((metres[player] for player in who), default=0))
    steps = np.diff([0, *metres]) / [4, 3, 2, 1]
    np.testing.assert_allclose(shapley_values(worth, 4), np.cumsum(steps))


@pytest.mark.parametrize("size", [2, 3, 5])
def test_unanimity(size: int) -> None:
    """Nothing without all of the first `size` players: they share alike, and each pair's index is 1 / (size - 1)."""
    worth = game_from(5, lambda who: set(range(size)) <= who)
    np.testing.assert_allclose(shapley_values(worth, 5), [1 / size] * size + [0] * (5 - size), atol=1e-15)
    found = synergies(worth, 5)
    np.testing.assert_allclose(found[0, 1], 1 / (size - 1))
    np.testing.assert_allclose(found[0, size:], 0, atol=1e-15)


@pytest.mark.parametrize("players", SIZES)
def test_values_sum_to_what_all_reach_beyond_nothing(players: int) -> None:
    worth = random_game(players)
    everyone = worth[frozenset(range(players))]
    np.testing.assert_allclose(shapley_values(worth, players).sum(axis=0), everyone - worth[frozenset()])


def test_who_adds_nothing_gets_nothing_and_equals_get_the_same() -> None:
    idle = game_from(4, lambda who: len(who - {2}) ** 2)
    values = shapley_values(idle, 4)
    assert values[2] == pytest.approx(0)
    np.testing.assert_allclose(values[[0, 1, 3]], [3, 3, 3])
    np.testing.assert_allclose(synergies(idle, 4)[2], 0, atol=1e-12)


def test_another_worth_of_nobody_moves_all_values_alike() -> None:
    worth = random_game(4)
    moved = {**worth, frozenset(): worth[frozenset()] + 0.4}
    np.testing.assert_allclose(shapley_values(moved, 4), shapley_values(worth, 4) - 0.4 / 4)
    apart = ~np.eye(4, dtype=bool)
    np.testing.assert_allclose(synergies(moved, 4)[apart], synergies(worth, 4)[apart] + 0.4 / 3)


def test_there_are_two_to_the_members_minus_one_subsets() -> None:
    found = all_coalitions(6)
    assert len(found) == len(set(found)) == 63
    assert [len(who) for who in found].count(3) == comb(6, 3)


def test_all_orders_give_the_exact_values() -> None:
    worth = random_game(4)
    found = estimate(worth, list(permutations(range(4))))
    np.testing.assert_allclose(found.values, shapley_values(worth, 4), atol=1e-12)


def test_estimates_converge_at_the_stated_error() -> None:
    worth = random_game(5, games=500)
    exact = shapley_values(worth, 5)
    few, many = ([estimate(worth, draw_orders(5, count, seed)) for seed in range(30)] for count in (8, 32))
    off_few, off_many = (np.std([found.values - exact for found in runs]) for runs in (few, many))
    stated = np.sqrt(np.mean([found.standard_error**2 for found in few]))
    assert stated == pytest.approx(off_few, rel=0.1)
    assert off_many == pytest.approx(off_few / 2, rel=0.1)


def test_an_estimate_sums_to_the_whole_and_needs_only_what_it_visits() -> None:
    worth = random_game(8)
    orders = draw_orders(8, 3, seed=1)
    known = {who: worth[who] for who in [frozenset(), *visited(orders)]}
    assert len(known) < 2**8 / 4
    found = estimate(known, orders)
    np.testing.assert_allclose(found.values.sum(axis=0), worth[frozenset(range(8))] - worth[frozenset()])


def test_an_additive_game_is_estimated_without_error() -> None:
    worth = game_from(7, lambda who: sum(who))
    found = estimate(worth, draw_orders(7, 4, seed=0))
    np.testing.assert_allclose(found.values, range(7), atol=1e-12)
    np.testing.assert_allclose(found.standard_error, 0, atol=1e-12)


def test_walking_back_cancels_pairwise_synergies() -> None:
    """Where only pairs matter, a player meets each other one before it in exactly one of the two directions."""
    together = np.random.default_rng(0).normal(size=(7, 7))
    worth = game_from(7, lambda who: sum(together[a, b] for a in who for b in who if a < b))
    found = estimate(worth, draw_orders(7, 2, seed=0))
    np.testing.assert_allclose(found.values, shapley_values(worth, 7), atol=1e-12)


def test_one_order_has_no_known_error() -> None:
    assert np.isnan(estimate(random_game(3), draw_orders(3, 1, seed=0)).standard_error).all()
