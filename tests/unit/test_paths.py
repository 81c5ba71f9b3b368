import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from guda.core.paths import Paths, group_file, logo_model, query_file, unlearned_model


@pytest.mark.parametrize(
    "name", ["amber", "0", "conrad", "a.con", "한", "J. M. W. Turner (early)", "a+b,c-d_e", "é", "日本", "x" * 100]
)
def test_a_group_whose_name_can_be_a_file_name_gives_its_files_that_name(name):
    assert group_file(name) == name


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("Georgia O'Keeffe", "Georgia_O_Keeffe-1b00f927"),
        ("R&B", "R_B-4d1fb209"),
        ("AC/DC", "AC_DC-5a5abe39"),
        ("T-shirt/top", "T-shirt_top-9cc7a421"),
        ("Cafe\u0301", "Cafe-c42cc7a1"),
        ("base", "base-cae66217"),
        ("logo-1", "1-4615a8d3"),
        ("con", "con-1143da2b"),
        ("Aux.txt", "Aux.txt-f06764b2"),
        ("\u1112\u1161\u11ab", "\ud55c-006307c2"),
        ("\u2126", "\u03a9-411189ec"),
        ("😀", "f0443a34"),
        ("..", "5ec1f7e7"),
        ("-rf", "rf-686c39ac"),
        ("x" * 101, f"{'x' * 60}-c675a2e6"),
    ],
)
def test_other_names_are_shortened_and_told_apart_by_the_beginning_of_their_sha256(name, file):
    assert group_file(name) == file


@given(st.text(min_size=1))
@example(
    "LOGO"
)  # found by chance: what is left of the name, and the beginning of its sha256, are a folder of the oracle's
@example("logo-logo")
def test_every_name_has_a_safe_file_name_that_stays_as_it_is(name):
    file = group_file(name.encode(errors="replace").decode())
    assert re.fullmatch(r"\w[\w .,+()-]*", file)
    assert not file.casefold().startswith("logo-")
    assert len(file.encode()) <= 100
    assert group_file(file) == file


def test_wildcards_of_rules_pass():
    paths = Paths("results")
    assert paths.group("{group}") == "results/groups/{group}.json"
    assert logo_model("{seed}", "{group}") == "logo-{seed}/{group}"
    assert unlearned_model("guda", "R&B") == "guda/R_B-4d1fb209"


@pytest.mark.parametrize(
    ("query", "file"),
    [
        ("query-000001", "query-000001"),
        ("sub folder/a.jpg", "sub folder/a.jpg"),
        ("a<logs>.jpg", "a_logs_.jpg-32806e40"),
        ("x/{b}/c<b>", "x/_b_-75e5e9d6/c_b_-a7dbfe2a"),
    ],
)
def test_what_snakemake_would_read_its_own_in_is_replaced_in_the_files_of_queries(query, file):
    assert query_file(query) == file


def test_the_picture_of_a_query_has_one_suffix_and_no_other_querys_name():
    names = ["ann/1.png", "1.jpg", "1.jpg.png", "query-000001", "a<b>.png"]
    files = [Paths("r").query_image(name).removeprefix("r/queries/images/") for name in names]
    assert files[:4] == ["ann/1.png", "1.jpg.png", "1.jpg.png.png", "query-000001.png"]
    assert files[4].startswith("a_b_.png-")
    assert files[4].endswith(".png")
