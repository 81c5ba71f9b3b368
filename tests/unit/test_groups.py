"""Which samples a group has, which names a group may have, and what its file refuses."""

import json
from itertools import chain

import numpy as np
import pandas as pd
import pytest

from guda.config import Data, NoisyPartition
from guda.core.errors import ArtifactError, ConfigError, DataError
from guda.data.groups import group_sizes, noisy_partition, read_groups, read_members, repeated_images, write_members
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
    return GroupSpec(dataset="digits", group=group, members=digest_lines(members))


def by_value(table, group_by, only=None):
    return read_groups(table, Data(group_by=group_by, groups=only))


def named(*names):
    """A table with one image of each group, and one of the group 'other'."""
    names = [*names, "other"]
    return pd.DataFrame({"id": [f"i{n}" for n in range(len(names))], "provider": names})


# --- membership --------------------------------------------------------------------------------------


def test_groups_are_the_values_of_the_column_sorted_with_ids_in_table_order():
    groups = by_value(TABLE, "provider")
    assert list(groups.items()) == [("amber", ["i1", "i5"]), ("birch", ["i0", "i3"]), ("cedar", ["i4"])]


def test_rows_without_a_value_are_in_no_group():
    groups = by_value(TABLE, "provider")
    assert {sample for members in groups.values() for sample in members} == set(TABLE["id"]) - {"i2"}


def test_the_order_of_the_rows_changes_no_membership():
    shuffled = by_value(TABLE.sample(frac=1, random_state=1), "provider")
    assert {k: set(v) for k, v in shuffled.items()} == {k: set(v) for k, v in by_value(TABLE, "provider").items()}
    assert list(shuffled) == ["amber", "birch", "cedar"]


@pytest.mark.parametrize("only", [["cedar", "amber"], ["amber", "cedar"], ["amber", "cedar", "amber"]])
def test_only_the_named_values_are_groups_whatever_their_order(only):
    assert list(by_value(TABLE, "provider", only).items()) == [("amber", ["i1", "i5"]), ("cedar", ["i4"])]


def test_a_typo_in_a_named_value_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"data\.groups.*'ambre'.*did you mean 'amber'"):
        by_value(TABLE, "provider", ["ambre", "birch"])


def test_an_unknown_column_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"data\.group_by.*'provder'.*did you mean 'provider'"):
        by_value(TABLE, "provder")


@pytest.mark.parametrize(("column", "only"), [("artist", None), ("provider", ["amber"]), ("provider", [])])
def test_fewer_than_two_groups_are_refused(column, only):
    with pytest.raises(DataError, match=r"data\.group_by.*group\(s\); attribution needs two"):
        by_value(TABLE, column, only)


def test_numeric_groups_are_sorted_by_name():
    table = pd.DataFrame({"id": ["a", "b", "c"], "label": [10, 9, 2]})
    assert list(by_value(table, "label")) == ["10", "2", "9"]


# --- conditions --------------------------------------------------------------------------------------

WORKS = pd.DataFrame(
    {
        "id": ["w0", "w1", "w2", "w3", "w4"],
        "artist": ["X", "X", "Y", None, "Z z"],
        "year": ["1900", "1960", "950", "1949", None],
    }
)


def by_condition(**conditions):
    return read_groups(WORKS, Data(conditions=conditions))


@pytest.mark.parametrize(
    ("condition", "members"),
    [
        ('artist == "X"', ["w0", "w1"]),
        ('"X" == artist', ["w0", "w1"]),
        ('artist != "X"', ["w2", "w4"]),
        ('not artist == "X"', ["w2", "w3", "w4"]),
        ("year < 1950", ["w0", "w2", "w3"]),
        ("1950 > year", ["w0", "w2", "w3"]),
        ("1900 <= year < 1950", ["w0", "w3"]),
        ("year == 950.0", ["w2"]),
        ("year > -1e3", ["w0", "w1", "w2", "w3"]),
        ('year < "1950"', ["w0", "w3"]),
        ('artist == "X" and year < 1950', ["w0"]),
        ('artist == "Y" or year == 1949', ["w2", "w3"]),
        ('not (artist == "X" or year < 1000)', ["w3", "w4"]),
        ('artist in ["Y", "Z z"]', ["w2", "w4"]),
        ('artist not in ("X", "Y")', ["w4"]),
        ("year in [950, 1960]", ["w1", "w2"]),
        (" artist == 'Z z' ", ["w4"]),
    ],
)
def test_a_condition_selects_rows_and_an_empty_value_satisfies_no_comparison(condition, members):
    assert by_condition(tested=condition, other='artist == "X"')["tested"] == members


def test_groups_by_condition_overlap_nest_and_leave_images_out():
    groups = by_condition(x='artist == "X"', early_x='artist == "X" and year < 1950', old="year < 1000")
    assert groups == {"early_x": ["w0"], "old": ["w2"], "x": ["w0", "w1"]}


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        ("artst == 'X'", r"no column 'artst'; did you mean 'artist'\?"),
        ("artist = 'X'", "cannot be read"),
        ("artist == ", "cannot be read"),
        ("artist", "'artist' is not a comparison"),
        ("artist == X", r"'X' is neither a text in quotes nor a number"),
        ("artist == True", "'True' is neither"),
        ("artist == -'X'", "is neither"),
        ("artist == None", "'None' is neither"),
        ("artist == {[]: 1}", "is neither"),
        ("artist in [['X']]", "is neither"),
        ("artist is None", "compared with `is`"),
        ("'X' in artist", "`in` needs a list"),
        ("artist in []", "`in` needs a list"),
        ("year + 1 < 1950", "'year \\+ 1' is not a column"),
        ("artist.upper() == 'X'", r"'artist.upper\(\)' is not a column"),
        ("__import__('os').system('true') == 0", "is not a column"),
        ("@x == 1", "cannot be read"),
        ("nul\0", "cannot be read"),
    ],
)
def test_what_is_no_condition_is_refused_by_name(condition, problem):
    with pytest.raises(ConfigError, match=rf"data\.conditions\.tested: .*{problem}.*write it as in: artist == "):
        by_condition(tested=condition, other="year < 1950")


def test_a_condition_that_no_image_satisfies_is_refused():
    with pytest.raises(DataError, match=r"data\.conditions\.none: no training image satisfies 'year > 3000'"):
        by_condition(none="year > 3000", other="year < 1950")


def test_one_condition_is_refused():
    with pytest.raises(DataError, match=r"data\.conditions gives 1 group\(s\); attribution needs two"):
        by_condition(old="year < 1950")


def test_names_of_conditions_are_checked():
    with pytest.raises(
        DataError, match=r"data\.conditions: the group name 'a\\nb' contains '\\n'; write it in visible"
    ):
        by_condition(**{"a\nb": "year < 1950", "c": "year > 1950"})


@pytest.mark.parametrize(("group_by", "told"), [("year", True), ("provider", False), (None, False)])
def test_conditions_win_over_a_column_and_say_so_unless_it_is_null_or_the_default(group_by, told):
    notes = []
    of = Data(group_by=group_by, conditions={"old": "year == 2020", "new": "year == 2021"})
    assert list(read_groups(TABLE, of, notes)) == ["new", "old"]
    note = "data.conditions defines the groups, and data.group_by, 'year', is ignored; set it to null"
    assert notes == [note] * told


# --- memberships -------------------------------------------------------------------------------------


def memberships(tmp_path, text, **settings):
    file = tmp_path / "memberships.csv"
    file.write_text(text)
    return read_groups(WORKS, Data(memberships=str(file), **settings))


def test_a_table_of_memberships_gives_overlapping_groups_in_the_order_of_the_training_table(tmp_path):
    rows = "id,group\nw3,b\nw1,a\nw0,a\nw1,b\n"
    assert memberships(tmp_path, rows) == {"a": ["w0", "w1"], "b": ["w1", "w3"]}


def test_memberships_may_be_restricted_to_some_groups(tmp_path):
    rows = "id,group\nw0,a\nw1,b\nw2,c\n"
    assert list(memberships(tmp_path, rows, groups=["c", "a"])) == ["a", "c"]
    with pytest.raises(ConfigError, match=r"data\.groups: data\.memberships gives no group 'd'; known: a, b, c"):
        memberships(tmp_path, rows, groups=["a", "d"])


def test_memberships_of_images_outside_of_the_subset_are_passed_over(tmp_path):
    rows = "id,group\nw0,a\nw1,b\nelsewhere,b\n"
    assert memberships(tmp_path, rows, subset={"count": 5}) == {"a": ["w0"], "b": ["w1"]}


def test_memberships_of_images_held_out_of_training_are_passed_over(tmp_path):
    rows = "id,group\nw0,a\nw1,b\nelsewhere,b\n"
    assert memberships(tmp_path, rows, held_out={"count": 1}) == {"a": ["w0"], "b": ["w1"]}


def test_a_group_that_is_left_without_images_is_refused_unless_nobody_asks_for_it(tmp_path):
    rows = "id,group\nw0,a\nw1,b\nelsewhere,c\n"
    with pytest.raises(DataError, match=r"data\.memberships: group 'c' has no training images; remove it, or list"):
        memberships(tmp_path, rows, subset={"count": 5})
    assert memberships(tmp_path, rows, subset={"count": 5}, groups=["a", "b"]) == {"a": ["w0"], "b": ["w1"]}


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("image,group\nw0,a\n", "has no column 'id'; found image, group"),
        ("id,groups\nw0,a\n", "has no column 'group'; found id, groups"),
        ("id,group\nw0,a\nw1,\n", "data row 2 has no group"),
        ("id,group\n,a\nw1,b\n", "data row 1 has no id"),
        ("id,group\nw0,a\nw1,b\nw0,a\n", "lists 'w0' in 'a' twice"),
        ("id,group\nw0,a\nw9,b\n", "lists 'w9', but there is no such training image"),
        ("id,group\nw0,a\nw1,a\n", r"gives 1 group\(s\); attribution needs two"),
        ("id,group\n", r"gives 0 group\(s\)"),
    ],
)
def test_what_is_wrong_with_a_table_of_memberships_is_said(tmp_path, rows, problem):
    with pytest.raises(DataError, match=rf"data\.memberships.*{problem}"):
        memberships(tmp_path, rows)


# --- sizes, and a noisy partition --------------------------------------------------------------------


def test_sizes_count_all_images_of_a_group_and_those_that_are_its_own():
    sizes = group_sizes({"a": ["i0", "i1", "i2"], "b": ["i2"], "c": ["i3"]})
    assert sizes.to_csv(index=False) == "group,n_images,n_alone\na,3,2\nb,1,0\nc,1,1\n"


def partition(*sizes):
    return {f"g{k}": [f"{k}-{n}" for n in range(size)] for k, size in enumerate(sizes)}


@pytest.mark.parametrize("sizes", [(100, 100), (100, 100, 100), (60, 200, 140), (1000, 40, 40), (500,) * 10])
@pytest.mark.parametrize("seed", range(5))
def test_a_noisy_partition_keeps_sizes_and_every_image_and_moves_blocks_together(sizes, seed):
    groups = partition(*sizes)
    noisy = noisy_partition(groups, NoisyPartition(fraction=0.1, block_size=2, seed=seed))
    assert {name: len(members) for name, members in noisy.items()} == {
        name: len(members) for name, members in groups.items()
    }
    assert sorted(chain(*noisy.values())) == sorted(chain(*groups.values()))
    for name, members in noisy.items():
        arrived = [sample_id for sample_id in members if sample_id not in groups[name]]
        origins = [sample_id.split("-")[0] for sample_id in arrived]
        assert all(origins.count(origin) % 2 == 0 for origin in origins), "blocks of two came apart"


def test_a_noisy_partition_moves_the_fraction_of_every_group_when_sizes_allow():
    groups = partition(500, 300, 200)
    noisy = noisy_partition(groups, NoisyPartition(fraction=0.05, block_size=5))
    left = {name: len(set(members) - set(noisy[name])) for name, members in groups.items()}
    assert left == {"g0": 25, "g1": 15, "g2": 10}


def test_the_largest_group_moves_no_more_than_the_others_can_take():
    groups = partition(1000, 40, 40)
    noisy = noisy_partition(groups, NoisyPartition(fraction=0.1, block_size=2))
    assert len(set(groups["g0"]) - set(noisy["g0"])) == 8
    assert not set(noisy["g1"]) & set(groups["g2"])


def test_another_seed_moves_other_images():
    groups = partition(100, 100)
    first, second = (noisy_partition(groups, NoisyPartition(block_size=1, seed=seed)) for seed in (0, 1))
    assert set(first["g0"]) != set(second["g0"])


def test_a_noisy_partition_of_overlapping_groups_is_refused():
    with pytest.raises(DataError, match=r"data\.noisy_partition: .*do not overlap"):
        noisy_partition({"a": ["i0", "i1"], "b": ["i1"]}, NoisyPartition(block_size=1))


def test_blocks_larger_than_what_is_to_move_are_refused():
    with pytest.raises(DataError, match=r"data\.noisy_partition: .*lower block_size"):
        noisy_partition(partition(100, 100), NoisyPartition(fraction=0.05, block_size=11))


def test_the_noisy_partition_of_the_configuration_is_applied_in_the_order_of_the_table():
    table = pd.DataFrame({"id": [f"i{n}" for n in range(40)], "provider": ["a", "b"] * 20})
    noisy = read_groups(table, Data(noisy_partition={"fraction": 0.1, "block_size": 1}))
    place = {sample_id: row for row, sample_id in enumerate(table["id"])}
    for name, members in noisy.items():
        assert members == sorted(members, key=place.get)
        assert len(set(members) - set(table["id"][table["provider"] == name])) == 2


# --- names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["line\nbreak", "end\n", "tab\t", "nul\0", "\u2028", "", " ", "{group}"])
def test_names_that_cannot_be_shown_in_a_line_are_refused(name):
    with pytest.raises(DataError, match=r"data\.group_by.*the group name .*(write it in visible|rename it)"):
        by_value(named(name), "provider")


@pytest.mark.parametrize(
    "name",
    [
        "amber", "0", "Abstract Art", "J. M. W. Turner (early)", "a+b,c-d_e", "é", "x" * 100, "日本", "x" * 300, " a ",
        "Georgia O'Keeffe", "R&B", "AC/DC", "T-shirt/top", "हिन्दी", "Cafe\u0301", "👩\u200d🎨", "..", "../up", "/abs",
        "-rf", "{x}", "$HOME", "<logs>", "base", "logo-1",
    ],
)  # fmt: skip
def test_any_other_text_is_a_groups_name(name):
    assert by_value(named(name), "provider")[name] == ["i0"]


def test_a_name_that_is_the_file_name_of_another_is_refused():
    with pytest.raises(DataError, match="'R&B' and 'R_B-4d1fb209' would share their files; rename one"):
        by_value(named("R&B", "R_B-4d1fb209"), "provider")


@pytest.mark.parametrize(
    "pair", [("Amber", "amber"), ("STRASSE", "straße"), ("Café", "Cafe\u0301"), ("가", "\u1100\u1161")]
)
def test_names_that_differ_in_case_or_form_alone_are_groups_of_their_own(pair):
    assert set(pair) <= set(by_value(named(*pair), "provider"))


def test_bad_names_of_groups_that_are_not_asked_for_do_not_matter():
    assert list(by_value(named("a/b", "amber"), "provider", ["amber", "other"])) == ["amber", "other"]


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
    with pytest.raises(ArtifactError, match=r"amber\.json: made for another configuration or group.*Delete it"):
        read_members(file, expected)


@pytest.mark.parametrize("content", ["[]", "{}", '{"spec": 1, "members": []}', "null", "{"])
def test_a_file_that_holds_something_else_is_refused(file, content):
    file.write_text(content)
    with pytest.raises(ArtifactError, match=r"amber\.json"):
        read_members(file, spec_of().digest())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"amber\.json: cannot be read"):
        read_members(tmp_path / "amber.json", spec_of().digest())


# --- copies ---


def copies(digests, **groups):
    table = pd.DataFrame({"id": [f"i{row}" for row in range(len(digests))], "sha256": list(digests)})
    return repeated_images(table, {name: [f"i{row}" for row in rows] for name, rows in groups.items()})


def test_images_of_their_own_are_no_copies():
    assert copies("abcd", x=[0, 1], y=[2, 3]) == []


def test_copies_in_other_groups_are_counted_with_an_example():
    # a: i0 (x) and i2 (y); b: i1 (x) and i4 (none); c: i3 alone.
    [note] = copies("abacb", x=[0, 1], y=[2, 3])
    assert note == (
        "4 images have a byte-identical copy in other groups or in none, such as 'i0' (x) and 'i2' (y): a model "
        "trained without one still learns from the other"
    )
    [note] = copies("ab" * 2, x=[0], y=[1, 3])
    assert "2 images have a byte-identical copy in other groups or in none, such as 'i0' (x) and 'i2' (in no" in note


def test_copies_in_the_same_groups_are_counted_apart():
    assert copies("aab", x=[0, 1], y=[0, 1, 2]) == ["2 images have a byte-identical copy in their own groups"]
    [note] = copies("aabb", x=[0, 1, 2], y=[0, 3])
    assert note.startswith("4 images have a byte-identical copy in other groups or in none, such as 'i0' (x, y) and")
    [note] = copies("aabbb", x=[0, 1, 2, 3], y=[4])
    assert note.startswith("3 images have a byte-identical copy in other groups or in none, such as 'i2' (x) and 'i4'")
    assert note.endswith("; 2 images have a byte-identical copy in their own groups")
