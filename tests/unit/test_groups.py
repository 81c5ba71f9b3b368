"""Which samples a group has, which names a group may have, and what its file refuses."""

import json

import numpy as np
import pandas as pd
import pytest

from guda.errors import ArtifactError, ConfigError, DataError
from guda.groups import members_by_group, read_members, write_members
from guda.specs import GroupSpec, digest_lines

TABLE = pd.DataFrame(
    {
        "id": ["i0", "i1", "i2", "i3", "i4", "i5"],
        "provider": ["birch", "amber", None, "birch", "cedar", "amber"],
        "year": [2021.0, 2020.0, np.nan, 2020.0, 2021.0, 2021.0],
        "artist": ["same"] * 6,
    }
)
MEMBERS = ["i1", "i5"]


def spec_of(members=MEMBERS, group="amber"):
    return GroupSpec(dataset="digits", group_by="provider", group=group, members=digest_lines(members))


def named(*names):
    """A table with one image of each group, and one of the group 'other'."""
    names = [*names, "other"]
    return pd.DataFrame({"id": [f"i{n}" for n in range(len(names))], "provider": names})


# --- membership --------------------------------------------------------------------------------------


def test_groups_are_the_values_of_the_column_sorted_with_ids_in_table_order():
    groups = members_by_group(TABLE, "provider")
    assert list(groups.items()) == [("amber", ["i1", "i5"]), ("birch", ["i0", "i3"]), ("cedar", ["i4"])]


def test_rows_without_a_value_are_in_no_group():
    groups = members_by_group(TABLE, "provider")
    assert {sample for members in groups.values() for sample in members} == set(TABLE["id"]) - {"i2"}


def test_the_order_of_the_rows_changes_no_membership():
    shuffled = members_by_group(TABLE.sample(frac=1, random_state=1), "provider")
    assert {k: set(v) for k, v in shuffled.items()} == {
        k: set(v) for k, v in members_by_group(TABLE, "provider").items()
    }
    assert list(shuffled) == ["amber", "birch", "cedar"]


@pytest.mark.parametrize("only", [["cedar", "amber"], ["amber", "cedar"], ["amber", "cedar", "amber"]])
def test_only_the_named_values_are_groups_whatever_their_order(only):
    assert list(members_by_group(TABLE, "provider", only).items()) == [("amber", ["i1", "i5"]), ("cedar", ["i4"])]


def test_a_typo_in_a_named_value_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"data\.groups.*'ambre'.*did you mean 'amber'"):
        members_by_group(TABLE, "provider", ["ambre", "birch"])


def test_an_unknown_column_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"data\.group_by.*'provder'.*did you mean 'provider'"):
        members_by_group(TABLE, "provder")


@pytest.mark.parametrize(("column", "only"), [("artist", None), ("provider", ["amber"]), ("provider", [])])
def test_fewer_than_two_groups_are_refused(column, only):
    with pytest.raises(DataError, match=r"data\.group_by.*group\(s\); attribution needs two"):
        members_by_group(TABLE, column, only)


def test_numeric_groups_are_sorted_by_name():
    table = pd.DataFrame({"id": ["a", "b", "c"], "label": [10, 9, 2]})
    assert list(members_by_group(table, "label")) == ["10", "2", "9"]


# --- names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["base", "calibration", "ceiling", "logo", "logo-1", "LOGO-x", "Base"]
)  # fmt: skip
def test_reserved_names_are_refused(name):
    with pytest.raises(DataError, match=f"{name}.*is reserved; rename it"):
        members_by_group(named(name), "provider")


@pytest.mark.parametrize(
    "name",
    [
        "a/b", "..", "../up", "a\\b", "/abs", ".hidden", "", " leading", "trailing ", "trailing.", "line\nbreak",
        "end\n", "tab\t", "nul\0", "{wildcard}", "$HOME", "a*", "a?", "a:b", "-flag", "😀", "a'b", 'a"b', "a|b", "~",
    ],
)  # fmt: skip
def test_names_that_are_no_safe_file_names_are_refused(name):
    with pytest.raises(DataError, match=r"data\.group_by.*cannot be a file name; use letters"):
        members_by_group(named(name), "provider")


@pytest.mark.parametrize(
    "name", ["amber", "0", "Abstract Art", "J. M. W. Turner (early)", "a+b,c-d_e", "é", "x" * 100, "日本"]
)
def test_ordinary_names_are_accepted(name):
    assert members_by_group(named(name), "provider")[name] == ["i0"]


@pytest.mark.parametrize("name", ["x" * 101, "日" * 90], ids=["characters", "bytes"])
def test_names_too_long_for_a_file_system_are_refused(name):
    """A file name has 255 bytes at most, of which the workflow adds some forty of its own."""
    with pytest.raises(DataError, match=r"data\.group_by.*at most"):
        members_by_group(named(name), "provider")


@pytest.mark.parametrize("pair", [("Amber", "amber"), ("STRASSE", "straße")])
def test_names_that_differ_in_case_only_are_refused(pair):
    with pytest.raises(DataError, match="differ in case only"):
        members_by_group(named(*pair), "provider")


def test_bad_names_of_groups_that_are_not_asked_for_do_not_matter():
    assert list(members_by_group(named("a/b", "amber"), "provider", ["amber", "other"])) == ["amber", "other"]


# --- files -------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    write_members(tmp_path / "amber.json", spec_of(), MEMBERS)
    return tmp_path / "amber.json"


def altered(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return file


def test_members_come_back(file):
    assert read_members(file, spec_of().digest()) == set(MEMBERS)


def test_members_other_than_the_spec_says_are_not_written(tmp_path):
    with pytest.raises(DataError, match=r"'amber'.*changed while snakemake was running"):
        write_members(tmp_path / "amber.json", spec_of(), [*MEMBERS, "i2"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("members", [["i1"], ["i1", "i5", "i6"], ["i5", "i1"], []])
def test_altered_members_are_refused(file, members):
    with pytest.raises(ArtifactError, match=r"amber\.json: its members do not match its spec"):
        read_members(altered(file, members=members), spec_of().digest())


def test_the_file_of_another_group_is_refused(file):
    expected = spec_of(["i0", "i3"], "birch").digest()
    with pytest.raises(ArtifactError, match=r"amber\.json: made for another configuration or another group.*Delete it"):
        read_members(file, expected)


@pytest.mark.parametrize("content", ["[]", "{}", '{"spec": 1, "members": []}', "null", "{"])
def test_a_file_that_holds_something_else_is_refused(file, content):
    file.write_text(content)
    with pytest.raises(ArtifactError, match=r"amber\.json"):
        read_members(file, spec_of().digest())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"amber\.json: cannot be read"):
        read_members(tmp_path / "amber.json", spec_of().digest())
