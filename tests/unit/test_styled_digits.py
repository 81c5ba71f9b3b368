"""Digits in styles: which styles share what, and images that are the same on every machine."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from guda.config import Data, load_config
from guda.config.file import read_yaml
from guda.datasets import load_dataset
from guda.datasets.styled_digits import (
    DESCRIPTORS,
    GROUNDS,
    INKS,
    PATTERNS,
    STROKES,
    draw,
    styles_of,
)
from guda.errors import ConfigError

PRESET = Path(__file__).resolve().parents[2] / "presets" / "styled_digits.yaml"
CONTENT = "4efefbae8945ef58a2ef"


@pytest.fixture(scope="module")
def dataset():
    return load_dataset(Data(dataset="styled_digits", group_by="style"))


def test_a_style_is_a_ground_an_ink_a_stroke_and_a_pattern():
    assert len(DESCRIPTORS) == 12
    families = (GROUNDS, INKS, STROKES, PATTERNS)
    assert all(phrase in family for row in DESCRIPTORS.values() for phrase, family in zip(row, families, strict=True))


def test_each_phrase_belongs_to_three_styles_and_two_styles_share_one_at_most():
    phrases = [phrase for row in DESCRIPTORS.values() for phrase in row]
    assert {phrases.count(phrase) for phrase in phrases} == {3}
    assert len(set(phrases)) == 16
    assert max(len({*DESCRIPTORS[one]} & {*DESCRIPTORS[other]}) for one, other in combinations(DESCRIPTORS, 2)) == 1


def test_pretraining_shows_each_phrase_once_and_the_targets_each_twice():
    preset = read_yaml(str(PRESET))
    known, asked = preset["text_to_image"]["small_pipeline"]["styles"], preset["data"]["groups"]
    assert sorted([*known, *asked]) == sorted(DESCRIPTORS)
    pretraining = [phrase for style in known for phrase in DESCRIPTORS[style]]
    targets = [phrase for style in asked for phrase in DESCRIPTORS[style]]
    assert len(pretraining) == len(set(pretraining)) == 16
    assert len(asked) == 8
    assert {targets.count(phrase) for phrase in pretraining} == {2}


def test_no_word_stands_in_two_phrases():
    words = [word for phrase in {each for row in DESCRIPTORS.values() for each in row} for word in phrase.split()]
    assert len(words) == len(set(words)) == 32


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


def test_a_blank_page_has_its_two_colours_and_full_ink_the_third():
    blank = draw(np.zeros((1, 8, 8), np.uint8), ["a"], "blueprint")[0].reshape(3, -1).T
    light, dark = sorted(np.unique(blank, axis=0).tolist(), reverse=True)
    # A grid of single lines, six pixels apart: of 32 rows and columns five or six are lines; 52 darker.
    assert [a - b for a, b in zip(light, dark, strict=True)] == [52, 52, 52]
    assert (32 - 6) ** 2 <= (blank == light).all(1).sum() <= (32 - 5) ** 2
    for level, ground in zip(light, GROUNDS["azure sky"], strict=True):
        assert abs(level - ground) <= 10
    full = draw(np.full((1, 8, 8), 255, np.uint8), ["a"], "blueprint")[0, :, 16, 16]
    assert (np.abs(full - np.array(INKS["white chalk"], float)) <= 11).all()


def test_solid_ink_is_hollow_in_outlines():
    levels = np.full((1, 8, 8), 255, np.uint8)
    blank, drawn = draw(0 * levels, ["a"], "ink")[0], draw(levels, ["a"], "ink")[0]
    assert np.array_equal(blank[:, 16, 16], drawn[:, 16, 16])
    assert (drawn < 40).all(axis=0).sum() > 4 * 18


def test_mean_colours_tell_styles_of_different_grounds_apart(dataset):
    means = dataset.images.mean(axis=(2, 3))
    of_style = {style: means[rows].mean(0) for style, rows in dataset.table.groupby("style").indices.items()}
    for one, other in combinations(DESCRIPTORS, 2):
        if DESCRIPTORS[one][0] != DESCRIPTORS[other][0]:
            assert np.abs(of_style[one] - of_style[other]).max() > 30


def test_it_takes_no_folder():
    with pytest.raises(ConfigError, match="belong to datasets in files, not to styled_digits"):
        load_config({"data": {"dataset": "styled_digits", "folder": "x"}})
