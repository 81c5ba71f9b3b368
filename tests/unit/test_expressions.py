"""Conditions over tables as people have them: names of columns, values that are no numbers, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from guda.config import Data
from guda.core.errors import ConfigError
from guda.data.conditions import matching_rows
from guda.data.groups import read_groups

TABLE = pd.DataFrame(
    {
        "id": ["w0", "w1", "w2", "w3"],
        "class": ["A", "A", "B", None],
        "birth year": ["1900", "c. 1950", "7", None],
        "künstler": ["Jos\u00e9", "Jose\u0301", "x", None],
        "2nd-hand": ["1", "2", "3", "4"],
        "in": ["1", "1", "2", "2"],
        "ﬁ": ["1", "2", "3", "4"],
        "w": ["p", "q", "`class`", "s"],
    },
    dtype=object,
)


def matching(condition, notes=None):
    return "".join(str(row) for row in np.flatnonzero(matching_rows(condition, TABLE, "k", notes)))


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ('class == "A"', "01"),
        ('`class` != "A"', "2"),
        ('not class in ["A"]', "23"),
        ("`birth year` < 1951", "02"),
        ("1 < `2nd-hand` <= 3", "12"),
        ("`in` == 2 or `2nd-hand` == 1", "023"),
        ('künstler == "Jos\u00e9"', "01"),
        ('ku\u0308nstler == "Jose\u0301"', "01"),
        ("ﬁ == 2", "1"),
        ('class == "A"\n  and `birth year` < 1950\n', "0"),
        ('w == "`class`"', "2"),
        (f"{'(' * 150}w == 'p'{')' * 150}", "0"),
        (" or ".join(["w == 'p'", "w == 's'"] * 2500), "03"),
        (f"w in [{', '.join(repr(letter) for letter in 'pq' * 2500)}]", "01"),
    ],
)
def test_columns_are_named_as_they_are_and_conditions_may_be_long(condition, rows):
    assert matching(condition) == rows


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        ("not " * 3000 + "w == 'p'", "nested too deeply"),
        ("-" * 100_000 + "1 < `2nd-hand`", "nested too deeply"),
        ("w" + " + w" * 20_000 + " == 1", "nested too deeply"),
        ("w" + ".w" * 20_000 + " == 1", "nested too deeply"),
        (f"{'(' * 3000}w == 'p'{')' * 3000}", "too many nested parentheses"),
        ("`2nd-hand` < " + "1" * 400, "a number is too large to compare with"),
        ("`2nd-hand` < " + "1" * 5000, "cannot be read"),
        ("`2nd-hand` < 1e999", "a number is too large to compare with"),
        ("`2nd-hand` < -1e999", "a number is too large to compare with"),
        ("`2nd-hand` < 0100", "leading zeros"),
        ("w == 'p'\0", "cannot be read"),
        ("w == class", "'class' is also a column; compare a column with a text or a number"),
        ("w in ['p', class]", "'class' is also a column"),
        ("2nd-hand == 1", r"cannot be read .*, and columns with spaces or signs as in `birth year` < 1900$"),
        ("birth year == 1", r"cannot be read .*, and columns with spaces or signs as in `birth year` < 1900$"),
        ("`brth year` == 1", r"no column 'brth year'; did you mean 'birth year'\?"),
        ("`birth year == 1", "cannot be read"),
        ("class < 1950", r"holds none, only values like 'A'; put the value in quotes"),
        ("class + 1 == 2", r"'class \+ 1' is not a column"),
        ("x" * 100_000 + " == 1", "no column 'xxx"),
    ],
    ids=lambda value: value[:20],
)
def test_what_no_condition_can_hold_is_refused_in_one_short_line(condition, problem):
    with pytest.raises(ConfigError, match=rf"^k: .*{problem}") as caught:
        matching(condition)
    assert len(str(caught.value)) < 1000


def test_values_that_are_no_numbers_are_said_where_numbers_are_asked_for():
    conditions = {"old": "`birth year` < 1951", "older": "`birth year` < 1000", "a": 'class == "A"'}
    notes = []
    groups = read_groups(TABLE, Data(conditions=conditions), notes)
    assert (groups["old"], groups["older"]) == (["w0", "w2"], ["w2"])
    assert set(notes) == {
        "data.conditions: 1 of 3 values of column 'birth year' are not numbers, such as 'c. 1950'; images with such a "
        "value satisfy no comparison with a number"
    }
    as_text = []
    assert matching('`birth year` == "c. 1950"', as_text) == "1"
    assert as_text == []
