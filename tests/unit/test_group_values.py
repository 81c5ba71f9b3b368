"""Shapley and Banzhaf values: games worked out by hand, definitions enumerated, and what a few subsets give."""

import itertools
import math

import numpy as np
import pytest

from guda.evaluation.group_values import errors, group_values, tells_apart
from guda.evaluation.subsets import size_weights
from guda.methods.subsets.compute import summarize

VALUES = ["shapley", "banzhaf"]


def coalitions(n_groups):
    """All subsets but that of all groups, the empty one first: bool [2^G - 1, G]."""
    return np.array(list(itertools.product([False, True], repeat=n_groups)))[:-1]


def a_game(seed, n_groups=5):
    """What each coalition is worth to two queries, with interactions of any order, by the groups as a tuple."""
    generator = np.random.default_rng(seed)
    return {tuple(each): generator.normal(size=2) for each in [*coalitions(n_groups), np.ones(n_groups, bool)]}


def by_definition(value, game, n_groups):
    """The mean over coalitions S without a group of v(S and it) - v(S), weighted as each value's definition says."""
    values = np.zeros((2, n_groups))
    for group, others in itertools.product(range(n_groups), game):
        if not others[group]:
            joined = tuple(kept or row == group for row, kept in enumerate(others))
            size = sum(others)
            orders = math.factorial(size) * math.factorial(n_groups - size - 1) / math.factorial(n_groups)
            weight = orders if value == "shapley" else 1 / 2 ** (n_groups - 1)
            values[:, group] += weight * (game[joined] - game[others])
    return values


def regressed(value, game, kept):
    outputs = np.stack([game[tuple(each)] for each in kept], axis=1)
    return group_values(value, outputs, kept, game[(True,) * kept.shape[1]])


def additive(kept, effects, level):
    return level[:, None] + effects @ kept.T


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("count", [6, 15])
def test_of_an_additive_game_any_subsets_that_tell_groups_apart_give_the_effects(value, count):
    generator = np.random.default_rng(1)
    effects, level = generator.normal(size=(3, 5)), generator.normal(size=3)
    kept = generator.permutation(coalitions(5)[1:])[:count]
    assert tells_apart(kept)
    found = group_values(value, additive(kept, effects, level), kept, level + effects.sum(1))
    assert found == pytest.approx(effects)
    if count == 15:
        se, p_top1 = summarize(found, errors(value, additive(kept, effects, level), kept, level + effects.sum(1)))
        assert se == pytest.approx(np.zeros((3, 5)), abs=1e-9)
        assert (p_top1 == np.eye(5)[effects.argmax(1)]).all()


def test_groups_that_can_stand_in_for_each_other_are_not_missed_but_have_a_share():
    """v = 1 with a and one of b and c, else 0; leaving out b or c alone changes nothing.

    Of six orders, a completes four, b and c one each; of the four coalitions of others, a three, b and c one each.
    """
    kept = coalitions(3)
    outputs, full = (kept[:, 0] & kept[:, 1:].any(1)).astype(float)[None], np.ones(1)
    assert group_values("shapley", outputs, kept, full)[0] == pytest.approx([2 / 3, 1 / 6, 1 / 6])
    assert group_values("banzhaf", outputs, kept, full)[0] == pytest.approx([3 / 4, 1 / 4, 1 / 4])
    single = kept.sum(1) == 2
    assert group_values("shapley", outputs[:, single], kept[single], full)[0] == pytest.approx([1, 0, 0])


@pytest.mark.parametrize("value", VALUES)
def test_all_subsets_give_the_values_of_the_definition(value):
    game = a_game(2)
    found = regressed(value, game, coalitions(5))
    assert found == pytest.approx(by_definition(value, game, 5))
    if value == "shapley":
        assert found.sum(1) == pytest.approx(game[(True,) * 5] - game[(False,) * 5])


def test_without_the_subset_of_no_group_shapley_values_differ_by_a_level_alone():
    """It is the slope through v(all) of the mean loss by the number of groups that are left out."""
    game, kept = a_game(3), coalitions(5)[1:]
    found, exact = regressed("shapley", game, kept), by_definition("shapley", game, 5)
    assert found - found.mean(1, keepdims=True) == pytest.approx(exact - exact.mean(1, keepdims=True))
    left_out, lost = 5 - kept.sum(1), np.stack([game[(True,) * 5] - game[tuple(each)] for each in kept])
    weights = np.array([size_weights("shapley", 5)[5 - each] / math.comb(5, each) for each in left_out])
    assert found.mean(1) == pytest.approx((weights * left_out) @ lost / (weights @ left_out**2))


@pytest.mark.parametrize("value", VALUES)
def test_names_order_and_the_number_of_models_of_a_size_change_nothing(value):
    game, kept, places = a_game(4), coalitions(5), [3, 0, 4, 1, 2]
    found = regressed(value, game, kept)
    renamed = {tuple(np.array(each)[places]): worth for each, worth in game.items()}
    assert regressed(value, renamed, kept) == pytest.approx(found[:, places])
    assert regressed(value, game, kept[::-1]) == pytest.approx(found)
    twice = np.concatenate([kept, kept[kept.sum(1) == 2]])
    assert regressed(value, game, twice) == pytest.approx(found)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_subsets_of_one_size_give_both_values_alike_and_those_without_one_group_its_removal(size):
    game, kept = a_game(5), coalitions(5)
    kept = kept[kept.sum(1) == size]
    found = regressed("shapley", game, kept)
    assert regressed("banzhaf", game, kept) == pytest.approx(found)
    if size == 4:
        removed = [game[(True,) * 5] - game[tuple(row != group for row in range(5))] for group in range(5)]
        assert found == pytest.approx(np.stack(removed, axis=1))


def test_weights_by_size():
    """Of four groups: 1 / (1 * 3), 1 / (2 * 2), 1 / (3 * 1), in twelfths 4, 3, 4; and 1, 4, 6, 4, 1 of 16."""
    assert size_weights("shapley", 4) == pytest.approx(np.array([0, 4, 3, 4, 0]) / 11)
    assert size_weights("banzhaf", 4) == pytest.approx(np.array([1, 4, 6, 4, 1]) / 16)
    assert size_weights("banzhaf", 2000).sum() == pytest.approx(1)


@pytest.mark.parametrize("value", VALUES)
def test_groups_that_no_subset_tells_apart_share_what_they_explain(value):
    """b and c are left out together: both have half of what that costs. d is in all subsets, and has nothing."""
    kept = np.array([[1, 1, 1, 1], [0, 1, 1, 1], [1, 0, 0, 1], [0, 0, 0, 1]], dtype=bool)[1:]
    assert not tells_apart(kept)
    found = group_values(value, np.array([[7.0, 4.0, 1.0]]), kept, np.array([10.0]))
    assert found[0] == pytest.approx([3, 3, 3, 0])


@pytest.mark.parametrize("value", VALUES)
def test_standard_errors_are_what_other_seeds_of_training_change(value):
    """Of 2000 games that differ by their noise the mean variance is that of the values, within 15 %."""
    generator = np.random.default_rng(6)
    kept = generator.permutation(coalitions(6)[1:])[:40]
    outputs = additive(kept, np.arange(6.0)[None], np.zeros(1)) + generator.normal(size=(2000, 40))
    game = outputs, kept, np.full(2000, 15.0)
    found = group_values(value, *game)
    se, p_top1 = summarize(found, errors(value, *game))
    assert found.var(0) / (se**2).mean(0) == pytest.approx(np.ones(6), abs=0.15)
    first = (found == found.max(1, keepdims=True)).mean(0)
    assert p_top1.mean(0) == pytest.approx(first, abs=0.1)


def test_subsets_as_many_as_groups_fit_themselves_so_nothing_is_known_of_errors():
    kept = ~np.eye(4, dtype=bool)
    game = np.arange(4.0)[None], kept, np.full(1, 6.0)
    assert group_values("shapley", *game)[0] == pytest.approx([6, 5, 4, 3])
    se, p_top1 = summarize(group_values("shapley", *game), errors("shapley", *game))
    assert np.isnan(se).all()
    assert np.isnan(p_top1).all()
