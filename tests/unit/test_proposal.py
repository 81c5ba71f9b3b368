"""What is proposed for pictures: column, size, network and steps; the text is a valid configuration."""

import pandas as pd
import pytest
import yaml

from guda.core.errors import DataError
from guda.plan.config import load_config
from guda.plan.proposal import Pictures, best_column, columns_of, proposal, recipe_for, size_of


def table(**columns):
    n = len(next(iter(columns.values())))
    return pd.DataFrame({"id": [f"{row}.png" for row in range(n)], "sha256": [""] * n, **columns}, dtype=object)


def test_the_column_with_most_groups_that_hold_nearly_all_pictures():
    columns = {
        "two": ["a", "b"] * 30,
        "three": ["x", "y", "z"] * 20,
        "rare": ["p", "q", "r", "s"] * 11 + [None] * 16,  # 44 of 60 pictures
        "each": [str(row) for row in range(60)],
        "one": ["same"] * 60,
    }
    column, few = best_column(columns_of(table(**columns)))
    assert (column.name, few) == ("three", 10)
    assert column.described() == "3 values, of 20 images"
    assert best_column(columns_of(table(rare=columns["rare"], one=columns["one"])))[0].name == "rare"
    assert best_column(columns_of(table(each=columns["each"])))[1] == 1


def test_no_more_groups_than_are_worth_it_and_the_largest():
    values = [f"artist {number:02d}" for number in range(30) for _ in range(10 + number)]
    column, few = best_column(columns_of(table(artist=values)))
    assert column.groups(few) == [f"artist {number:02d}" for number in range(29, 9, -1)]


def test_splits_are_no_groups():
    rows = [("train", "cat"), ("test", "dog")] * 20 + [("train", "dog"), ("test", "cat")] * 20
    splits, kinds = zip(*rows, strict=True)
    of_folder = table(label=[f"{split}/{kind}" for split, kind in rows], folder_1=splits, folder_2=kinds)
    assert best_column(columns_of(of_folder))[0].name == "folder_2"
    with pytest.raises(
        DataError, match=r"no column defines two groups or more \(folder_1 has 2 values, of 40 images\)"
    ):
        best_column(columns_of(table(folder_1=splits)))


def test_sizes_are_no_larger_than_pictures_and_small_without_a_gpu():
    def size(shorter, n, on_gpu):
        return size_of(Pictures([(shorter, 2 * shorter)] * n, False), on_gpu)

    assert [size(side, 10, False) for side in (5, 9, 16, 500)] == [8, 8, 16, 16]
    assert [size(side, 10, True) for side in (9, 16, 40, 500)] == [8, 16, 32, 32]
    assert size(500, 2000, True) == 64


def test_steps_grow_with_the_pictures_and_batches_are_not_larger_than_all_of_them():
    assert [recipe_for(16, n).training.steps for n in (100, 1000, 4000, 10**6)] == [2500, 2500, 5000, 7500]
    assert [recipe_for(16, n).training.batch_size for n in (5, 100, 1000)] == [4, 64, 64]


@pytest.mark.parametrize("size", [9, 16, 32, 64])
@pytest.mark.parametrize("on_gpu", [False, True])
def test_every_recipe_is_a_valid_configuration_and_names_are_kept(size, on_gpu):
    odd = {"name: #1 'x' \"y\"": ["no", "[1]"] * 15}
    text = proposal("a folder", "t's.csv", table(**odd), Pictures([(size, size)] * 2500, False), on_gpu)
    config = load_config(yaml.safe_load(text))
    assert config.data.group_by == next(iter(odd))
    assert (config.data.root, config.data.table) == ("a folder", "t's.csv")
    assert config.execution.gpus == int(on_gpu)
    config.unet.check_size(*config.data.size)
    assert config.oracle.seeds == []
