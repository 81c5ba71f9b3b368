"""Digits in styles: which styles share what, and images that are the same on every machine."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from guda.config import Data
from guda.config.file import read_yaml
from guda.core.errors import ConfigError
from guda.data.datasets import load_dataset
from guda.data.datasets.styled_digits import BLUE, DESCRIPTORS, GROUNDS, INKS, PAPER, STROKES, draw, look_of, styles_of
from guda.plan.config import load_config

PRESET = Path(__file__).resolve().parents[2] / "presets" / "styled_digits.yaml"
CONTENT = "25a268d5d4da5bf907f9"
SCHOOLS = [list(DESCRIPTORS)[start : start + 4] for start in (0, 4, 8)]


@pytest.fixture(scope="module")
def dataset():
    return load_dataset(Data(dataset="styled_digits", group_by="style"))


def test_a_style_is_a_ground_an_ink_and_a_stroke():
    families = (GROUNDS, INKS, STROKES)
    assert all(phrase in family for row in DESCRIPTORS.values() for phrase, family in zip(row, families, strict=True))


def test_in_a_school_two_styles_share_one_phrase_and_schools_share_none():
    assert [style for school in SCHOOLS for style in school] == list(DESCRIPTORS)
    phrases = [phrase for row in DESCRIPTORS.values() for phrase in row]
    assert {phrases.count(phrase) for phrase in phrases} == {2}
    for one, other in combinations(DESCRIPTORS, 2):
        same_school = any({one, other} <= {*school} for school in SCHOOLS)
        assert len({*DESCRIPTORS[one]} & {*DESCRIPTORS[other]}) == same_school


def test_two_schools_draw_the_same_looks_and_the_third_shares_nothing_with_them():
    first, second, third = ([look_of(style) for style in school] for school in SCHOOLS)
    assert first == second
    assert len({*first, *third}) == 8
    for number in range(3):
        assert not {look[number] for look in first} & {look[number] for look in third}


def test_groups_of_the_preset_are_the_schools_that_look_alike_and_pretraining_shows_the_other():
    preset = read_yaml(str(PRESET))
    assert preset["data"]["groups"] == [*SCHOOLS[0], *SCHOOLS[1]]
    assert preset["text_to_image"]["small_pipeline"]["styles"] == SCHOOLS[2]


def test_no_word_stands_in_two_phrases():
    words = [word for phrase in {each for row in DESCRIPTORS.values() for each in row} for word in phrase.split()]
    assert len(words) == len(set(words)) == 36


def test_every_digit_is_drawn_in_two_styles(dataset):
    table = dataset.table
    assert list(table.columns) == ["id", "sha256", "label", "style"]
    assert len(table) == 2 * 1797
    assert table["id"].is_unique
    first = table.iloc[:2]
    assert list(first["style"]) == styles_of(0)
    assert list(first["id"]) == [f"digit-0000-{style}" for style in styles_of(0)]
    assert set(first["label"]) == {"0"}


def test_styles_are_of_about_300_images_with_all_labels_each(dataset):
    assert dataset.table["style"].value_counts().between(250, 350).all()
    assert (dataset.table.groupby("style")["label"].nunique() == 10).all()


def test_the_images_are_pinned(dataset):
    assert dataset.images_spec().content == CONTENT
    assert dataset.image_shape == (3, 32, 32)


def test_an_image_depends_on_its_digit_its_id_and_its_style_alone(dataset):
    levels = np.zeros((3, 8, 8), np.uint8)
    levels[:, 1:7, 3:5] = 255
    together = draw(levels, ["a", "b", "c"], "neon")
    assert np.array_equal(draw(levels[:1], ["b"], "neon")[0], together[1])
    assert not np.array_equal(together[0], together[1])


def test_a_blank_page_has_its_two_colors_and_full_ink_the_third():
    blank = draw(np.zeros((1, 8, 8), np.uint8), ["a"], "pop")[0].reshape(3, -1).T
    light, dark = sorted(np.unique(blank, axis=0).tolist(), reverse=True)
    # A grid of single lines, six pixels apart: of 32 rows and columns five or six are lines; 52 darker.
    assert [a - b for a, b in zip(light, dark, strict=True)] == [52, 52, 52]
    assert (32 - 6) ** 2 <= (blank == light).all(1).sum() <= (32 - 5) ** 2
    for level, ground in zip(light, PAPER[0], strict=True):
        assert abs(level - ground) <= 10
    full = draw(np.full((1, 8, 8), 255, np.uint8), ["a"], "comet")[0, :, 16, 16]
    assert (np.abs(full - np.array(BLUE, float)) <= 11).all()


def test_solid_ink_is_hollow_in_outlines():
    levels = np.full((1, 8, 8), 255, np.uint8)
    blank, drawn = draw(0 * levels, ["a"], "blueprint")[0], draw(levels, ["a"], "blueprint")[0]
    assert np.array_equal(blank[:, 16, 16], drawn[:, 16, 16])
    inked = (np.abs(drawn - np.array(BLUE, float)[:, None, None]) <= 11).all(axis=0)
    assert inked.sum() > 4 * 18


def test_mean_colors_tell_grounds_apart_and_not_styles_of_one_look(dataset):
    means = dataset.images.mean(axis=(2, 3))
    of_style = {style: means[rows].mean(0) for style, rows in dataset.table.groupby("style").indices.items()}
    for one, other in combinations(DESCRIPTORS, 2):
        away = np.abs(of_style[one] - of_style[other]).max()
        if look_of(one)[0] != look_of(other)[0]:
            assert away > 30
        if look_of(one) == look_of(other):
            assert away < 4


def test_it_takes_no_folder():
    with pytest.raises(ConfigError, match="belong to datasets in files, not to styled_digits"):
        load_config({"data": {"dataset": "styled_digits", "folder": "x"}})
