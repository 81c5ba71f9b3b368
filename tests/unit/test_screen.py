"""Which groups a cheaper method proposes to unlearn, and groups that a table names."""

import numpy as np
import pandas as pd
import pytest

from guda.config import Data
from guda.core.errors import ConfigError, DataError
from guda.data.groups import read_groups
from guda.evaluation.screen import proposed

# Ranks of a, b, c, d: 1 2 3 4; 1 3 2 4; 3 2 4 1. So a is first twice and d once; b is second twice and c once.
SCORES = np.array([[9.0, 5.0, 3.0, 1.0], [8.0, 2.0, 4.0, 1.0], [2.0, 3.0, 1.0, 7.0]])


def test_first_groups_are_proposed_before_second_ones_and_common_ones_first():
    table = proposed(SCORES, list("abcd"), 4)
    assert table["group"].tolist() == ["a", "d", "b", "c"]
    assert table["best_rank"].tolist() == [1, 1, 2, 2]
    assert table["queries"].tolist() == [2, 1, 2, 1]
    assert table["mean_score"].tolist() == pytest.approx([19 / 3, 3, 10 / 3, 8 / 3])
    assert proposed(SCORES, list("abcd"), 2)["group"].tolist() == ["a", "d"]
    assert len(proposed(SCORES, list("abcd"), 9)) == 4


def test_groups_alike_in_ranks_come_by_their_mean_score():
    table = proposed(np.array([[4.0, 1.0, 0.0], [1.0, 6.0, 0.0]]), list("abc"), 2)
    assert table["group"].tolist() == ["b", "a"]


def test_the_alphabet_favors_none_of_groups_that_are_alike():
    """A method that says nothing proposes other groups when they are called otherwise, and the same in any order."""
    alike, letters = np.zeros((3, 26)), [chr(ord("a") + number) for number in range(26)]
    found = proposed(alike, letters, 5)["group"].tolist()
    assert found != letters[:5]
    assert found == proposed(alike, letters[::-1], 5)["group"].tolist()
    assert proposed(alike + np.arange(26), letters, 26)["group"].tolist() == letters[::-1]


TRAINING = pd.DataFrame({"id": ["i0", "i1", "i2", "i3"], "provider": ["ash", "birch", "cedar", "ash"]})


def test_groups_named_by_a_table_are_those_of_a_list(tmp_path):
    table = tmp_path / "screen.csv"
    proposed(np.array([[2.0, 0.0, 1.0]]), ["ash", "birch", "cedar"], 2).to_csv(table, index=False)
    by_table = read_groups(TRAINING, Data(group_by="provider", groups_from=str(table)))
    assert by_table == read_groups(TRAINING, Data(group_by="provider", groups=["ash", "cedar"]))
    assert by_table == {"ash": ["i0", "i3"], "cedar": ["i2"]}


def test_a_table_of_groups_of_any_names_is_read_back(tmp_path):
    """With spaces around them, delimiters, quotes, what stands for nothing, and what looks like a number."""
    names = [" ash ", "a,b;c|", '"', "NA", "1.0", "हिन्दी", "#x", "x" * 300]
    conditions = dict.fromkeys(names, 'provider != "none"')
    table = tmp_path / "screen.csv"
    proposed(np.arange(8.0)[None], names, 8).to_csv(table, index=False)
    settings = Data(conditions=conditions, groups_from=str(table))
    assert set(read_groups(TRAINING, settings)) == set(names)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("group\nash\nbich\n", ConfigError, "data.groups_from: .* gives no group 'bich'; did you mean 'birch'"),
        ("name\nash\n", DataError, "data.groups_from: '.*groups.csv' has no column 'group'; found name"),
        (None, DataError, "data.groups_from: .*groups.csv"),
    ],
)
def test_a_table_of_groups_that_does_not_fit_is_named(tmp_path, text, error, message):
    table = tmp_path / "groups.csv"
    if text is not None:
        table.write_text(text, encoding="utf-8")
    with pytest.raises(error, match=message):
        read_groups(TRAINING, Data(group_by="provider", groups_from=str(table)))
