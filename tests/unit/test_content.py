"""Which column says what an image shows, where the user does not say so."""

import pytest

from guda.config import Data, Metrics


@pytest.mark.parametrize(
    ("content", "columns", "group_by", "found"),
    [
        ("auto", ["id", "label", "provider"], "provider", "label"),
        ("auto", ["id", "label", "provider"], None, "label"),
        ("auto", ["id", "label"], "label", None),
        ("auto", ["id", "artist"], "artist", None),
        ("label", ["id", "label"], "label", "label"),
        ("subject", ["id", "subject"], "artist", "subject"),
        (None, ["id", "label"], "provider", None),
    ],
)
def test_the_column_of_contents_is_label_where_there_is_one_beside_the_groups(content, columns, group_by, found):
    assert Metrics(content=content).among(columns, group_by).content == found


def test_groups_by_conditions_are_not_the_values_of_a_column():
    assert Data(group_by="label").grouped_by == "label"
    assert Data(group_by="label", conditions={"a": "year < 1950"}).grouped_by is None
