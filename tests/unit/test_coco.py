"""COCO's annotations: which images there are, what can be grouped by, and captions as their prompts."""

import json

import numpy as np
import pytest
from PIL import Image

from guda.config import Data, Subset, load_config
from guda.config.prompts import Prompts
from guda.datasets import load_dataset
from guda.errors import ConfigError, DataError
from guda.prompts import prompt_book

IMAGES = [
    {"id": 30, "file_name": "b.jpg", "license": 2},
    {"id": 10, "file_name": "a.jpg"},
    {"id": 20, "file_name": "c.jpg"},
]
LICENSES = [{"id": 2, "name": "CC BY"}]
CATEGORIES = [
    {"id": 1, "name": "cat", "supercategory": "animal"},
    {"id": 2, "name": "dog", "supercategory": "animal"},
    {"id": 3, "name": "cup", "supercategory": "kitchen"},
]
# In a, two cups of 30 together cover more than a cat of 50; in b, cat and dog are equal.
OBJECTS = [(10, 1, 50), (10, 3, 30), (10, 3, 30.5), (30, 2, 5), (30, 1, 5)]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    for number, name in enumerate("abcd"):
        Image.fromarray(np.full((4, 6, 3), 60 * number, np.uint8)).save(tmp_path / "images" / f"{name}.jpg")
    return tmp_path / "images"


def write(folder, **content):
    path = folder.parent / "annotations.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)


def load(folder, table, **settings):
    return load_dataset(Data(dataset="coco", folder=str(folder), table=table, **settings))


def test_captions_give_the_images_and_their_prompts(folder):
    notes = [{"image_id": image, "caption": text} for image, text in [(30, "two"), (10, "one"), (20, "three")]]
    path = write(folder, images=IMAGES, licenses=LICENSES, annotations=notes)
    dataset = load(folder, path)
    assert list(dataset.table.columns) == ["id", "sha256", "license"]
    assert list(dataset.table["id"]) == ["a.jpg", "b.jpg", "c.jpg"]
    assert list(dataset.table["license"]) == [None, "CC BY", None]
    assert dataset.image_shape == (3, 4, 6)
    assert dataset.images[1].mean() == 60
    assert prompt_book(Prompts(captions=path), dataset.table).of_images() == [["one"], ["two"], ["three"]]


def test_objects_give_the_category_that_covers_most(folder):
    notes = [{"image_id": image, "category_id": category, "area": area} for image, category, area in OBJECTS]
    table = load(folder, write(folder, images=IMAGES, categories=CATEGORIES, annotations=notes)).table
    assert list(table["category"]) == ["cup", "cat", None]
    assert list(table["supercategory"]) == ["kitchen", "animal", None]


def test_a_subset_and_a_size_are_taken(folder):
    dataset = load(folder, write(folder, images=IMAGES, annotations=[]), subset=Subset(count=2), size=(2, 2))
    assert dataset.images.shape == (2, 3, 2, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": [{"id": 1}]}, "is no file of COCO's annotations: 'file_name' is missing"),
        ({"annotations": []}, "'images' is missing"),
        ({"images": 3}, "give one with `images` and `annotations`"),
        ({"images": []}, "lists no images"),
        ({"images": [*IMAGES, IMAGES[0]]}, r"lists 'b\.jpg' twice"),
        ({"images": [{"id": 1, "file_name": "z.jpg"}]}, r"lists 'z\.jpg', but there is no such image in"),
        ({"images": IMAGES, "categories": [], "annotations": [{"image_id": 10}]}, "'category_id' is missing"),
    ],
)
def test_annotations_that_do_not_fit_are_refused(folder, content, message):
    with pytest.raises(DataError, match=rf"data\.table: '.*annotations\.json' .*{message}"):
        load(folder, write(folder, **content))


def test_it_needs_a_folder_and_annotations():
    with pytest.raises(ConfigError, match="dataset coco needs `table`, its JSON file of annotations"):
        load_config({"data": {"dataset": "coco", "folder": "images"}})
    with pytest.raises(ConfigError, match="dataset coco needs `folder`"):
        load_config({"data": {"dataset": "coco", "table": "a.json"}})
