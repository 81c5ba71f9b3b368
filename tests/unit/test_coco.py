"""COCO's annotations: which images there are, what can be grouped by, and captions as their prompts."""

import json

import numpy as np
import pytest
from PIL import Image

from guda.config import Data, Subset
from guda.config.prompts import Prompts
from guda.core.errors import ConfigError, DataError
from guda.data.datasets import load_dataset
from guda.data.prompts import prompt_book
from guda.plan.config import load_config

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
        ({"images": [{"id": 1}]}, "is not a valid COCO annotations file: 'file_name' is missing"),
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


# --- annotations as people and their programs write them ---------------------------------------------


def categories_of(folder, notes, **content):
    values = {"images": IMAGES, "categories": CATEGORIES} | content
    return list(load(folder, write(folder, annotations=notes, **values)).table["category"])


def objects(*notes):
    return [{"image_id": 10, "category_id": category} | known for category, known in notes]


@pytest.mark.parametrize(
    "notes",
    [
        objects((1, {"area": 9}), (3, {"area": None, "bbox": [0, 0, 2, 5]})),  # 9 of a cat, a box of 10 for a cup
        objects((1, {"area": 9}), (3, {"bbox": [7, 7, 2.5, 4]})),
        objects((1, {}), (3, {}), (3, {"bbox": None})),  # one cat, two cups
        objects((1, {"area": 2}), (3, {"bbox": []}), (3, {}), (3, {})),
        objects((1, {"area": 9}), (3, {"area": 10, "iscrowd": 1})),
    ],
)
def test_without_an_area_the_box_counts_and_without_either_the_object(folder, notes):
    assert categories_of(folder, notes) == ["cup", None, None]


def test_ids_may_be_numbers_or_text(folder):
    notes = [{"image_id": "10", "category_id": "3", "area": 1}, {"image_id": 30.0, "category_id": 1, "area": 1}]
    images = [IMAGES[0], IMAGES[1] | {"id": "10"}, IMAGES[2] | {"id": "x"}]
    assert categories_of(folder, notes, images=images) == ["cup", "cat", None]


def test_objects_without_names_of_categories_are_said(folder):
    dataset = load(folder, write(folder, images=IMAGES, annotations=objects((1, {"area": 9}))))
    assert list(dataset.table.columns) == ["id", "sha256", "license"]
    (note,) = dataset.notes
    assert "has no `categories`, so the columns `category`" in note


def test_of_equal_areas_the_lowest_number_counts_in_text_as_well(folder):
    categories = [{"id": number, "name": f"c{number}"} for number in ("10", "9")]
    notes = [{"image_id": 10, "category_id": number, "area": 1} for number in ("10", "9")]
    assert categories_of(folder, notes, categories=categories) == ["c9", None, None]


def test_a_file_with_a_mark_and_names_in_sub_folders_are_read(folder):
    (folder / "sub").mkdir()
    (folder / "a.jpg").rename(folder / "sub" / "a.jpg")
    images = [IMAGES[0], IMAGES[1] | {"file_name": r".\sub\a.jpg"}]
    path = write(
        folder, images=images, annotations=[{"image_id": 10, "caption": None}, {"image_id": 30, "caption": "b"}]
    )
    content = (folder.parent / "annotations.json").read_bytes()
    (folder.parent / "annotations.json").write_bytes(b"\xef\xbb\xbf" + content)
    dataset = load(folder, path)
    assert sorted(dataset.table["id"]) == ["b.jpg", "sub/a.jpg"]
    with pytest.raises(DataError, match=r"has no caption for image 'sub/a\.jpg'; add one, or remove the image"):
        prompt_book(Prompts(captions=path), dataset.table)
    assert prompt_book(Prompts(captions=path), dataset.table[dataset.table["id"] == "b.jpg"]).of_images() == [["b"]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"annotations": [{"image_id": 10, "category_id": 7, "area": 1}]}, "has category 7, which `categories` lacks"),
        ({"annotations": [{"image_id": 5, "category_id": 1, "area": 1}]}, "no annotation refers to one of its images"),
        ({"annotations": objects((1, {"area": "9"}))}, r"area '9' and bbox null; give pixels"),
        ({"annotations": objects((1, {"area": -9}))}, r"area -9 and bbox null; give pixels"),
        ({"annotations": objects((1, {"bbox": [1, 2]}))}, r"area null and bbox a list; give pixels"),
        ({"annotations": objects((1, {"bbox": [1, 2, None, 4]}))}, "bbox a list; give pixels"),
        ({"annotations": None}, "its 'annotations' is not a list of objects"),
        ({"annotations": [5]}, "its 'annotations' is not a list of objects"),
        ({"images": [{"id": None, "file_name": "a.jpg"}]}, "expected a number or a text for 'id', found null"),
        ({"images": [{"id": 1, "file_name": None}]}, "expected a text for 'file_name', found null"),
        ({"images": [IMAGES[0], IMAGES[1] | {"id": 30}]}, r"'b\.jpg' and 'a\.jpg' have the same id 30"),
        ({"images": [IMAGES[0], IMAGES[0] | {"file_name": "./b.jpg"}]}, r"lists 'b\.jpg' twice; keep one row"),
    ],
)
def test_what_is_wrong_with_annotations_is_named(folder, content, message):
    values = {"images": IMAGES, "categories": CATEGORIES, "annotations": []} | content
    with pytest.raises(DataError, match=rf"^data\.table: '.*annotations\.json' .*{message}"):
        load(folder, write(folder, **values))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5", "give one with `images`"),
        ("[" * 100_000, "nested too deeply"),
        ('{"images": NaN}', "NaN is not a JSON number"),
    ],
)
def test_json_that_is_no_object_is_refused(folder, text, message):
    path = folder.parent / "annotations.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=rf"^data\.table: '.*annotations\.json' .*{message}"):
        load(folder, str(path))
