"""UnlearnCanvas's folders of styles and objects, and what is said when some are missing."""

import shutil

import numpy as np
import pytest
from PIL import Image

from guda.config import Data, Subset
from guda.core.errors import ConfigError, DataError
from guda.data.datasets import load_dataset
from guda.plan.config import load_config

STYLES, OBJECTS = ("Cubism", "Crayon", "Blue_Blooming"), ("Cats", "Dogs")


@pytest.fixture
def folder(tmp_path):
    """Three styles with two objects each, in two pictures of 6x4 pixels."""
    for number, style in enumerate(STYLES):
        for each in OBJECTS:
            (tmp_path / style / each).mkdir(parents=True)
            for index in (1, 2):
                image = np.full((4, 6, 3), 40 * number + 10 * index, np.uint8)
                Image.fromarray(image).save(tmp_path / style / each / f"{index}.jpg")
    return tmp_path


def load(folder, **settings):
    return load_dataset(Data(dataset="unlearncanvas", folder=str(folder), group_by="style", **settings))


def test_style_and_object_are_the_folders(folder):
    dataset = load(folder)
    assert dataset.name == "unlearncanvas"
    assert list(dataset.table.columns) == ["id", "sha256", "style", "object"]
    assert len(dataset.table) == 12
    first = dataset.table.iloc[0]
    assert (first["id"], first["style"], first["object"]) == ("Blue_Blooming/Cats/1.jpg", "Blue_Blooming", "Cats")
    assert dataset.image_shape == (3, 4, 6)
    assert dataset.images[0].mean() == 90


def test_images_are_brought_to_a_size_and_some_can_be_chosen(folder):
    dataset = load(folder, size=(2, 2), subset=Subset(count=5))
    assert dataset.images.shape == (5, 3, 2, 2)
    assert set(dataset.table["id"]) < set(load(folder).table["id"])


@pytest.mark.parametrize("photographs", ["Seed_Image", "Seed_Images"])
def test_photographs_are_left_out(folder, photographs):
    before = load(folder).images_spec()
    shutil.copytree(folder / "Cubism" / "Cats", folder / photographs / "Cats")
    assert load(folder).images_spec() == before


def test_a_missing_object_is_named(folder):
    shutil.rmtree(folder / "Crayon" / "Dogs")
    with pytest.raises(DataError, match=r"is incomplete: Crayon/Dogs has 0, others have 2 images; download these"):
        load(folder)


def test_a_missing_image_is_noticed(folder):
    (folder / "Cubism" / "Cats" / "2.jpg").unlink()
    with pytest.raises(DataError, match="is incomplete: Cubism/Cats has 1, others have 2 images"):
        load(folder)


def test_an_empty_style_is_noticed_and_few_faults_are_named(folder):
    (folder / "Dadaism").mkdir()
    (folder / "Dapple").mkdir()
    with pytest.raises(DataError, match="Dadaism/Cats has 0, Dadaism/Dogs has 0, Dapple/Cats has 0 and 1 more, others"):
        load(folder)


@pytest.mark.parametrize("within", ["Cubism", "Cubism/Cats"])
def test_the_folder_of_one_style_is_not_taken_for_all(folder, within):
    with pytest.raises(DataError, match=r"is not in a folder Style/Object; data\.folder must be the folder of the"):
        load(folder / within)


def test_photographs_alone_are_no_data(folder):
    shutil.copytree(folder / "Cubism", folder / "alone" / "Seed_Images")
    with pytest.raises(DataError, match="is incomplete: no paintings"):
        load(folder / "alone")


def test_it_needs_a_folder():
    with pytest.raises(ConfigError, match="dataset unlearncanvas needs `folder`"):
        load_config({"data": {"dataset": "unlearncanvas"}})
