"""What folders and their metadata files say of images, as groups can be made of."""

import json

import pandas as pd
import pytest
from PIL import Image

from guda.config import Data, Queries
from guda.core.errors import DataError
from guda.data.datasets import load_dataset
from guda.data.groups import members_by_value
from guda.data.queries import given_queries
from guda.plan.config import load_config
from guda.plan.experiment import Experiment

FLAT = ["a/0.png", "a/1.png", "b/2.png", "3.png"]
SPLITS = ["test/cat/1.png", "train/cat/0.png", "train/dog/2.png", "train/3.png"]


def draw(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(folder / name)
    return folder


def load(folder, **settings):
    return load_dataset(Data(dataset="image_folder", folder=str(folder), **settings))


def write(path, rows):
    frame = pd.DataFrame(rows)
    match path.suffix:
        case ".csv":
            frame.to_csv(path, index=False)
        case ".parquet":
            frame.to_parquet(path, index=False)
        case _:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_sub_folders_of_one_level_give_the_label_alone(tmp_path):
    table = load(draw(tmp_path, FLAT)).table
    assert list(table.columns) == ["id", "sha256", "label"]
    assert dict(zip(table["id"], table["label"], strict=True)) == {
        "3.png": None, "a/0.png": "a", "a/1.png": "a", "b/2.png": "b"
    }  # fmt: skip


def test_each_level_of_deeper_folders_can_be_grouped_by(tmp_path):
    table = load(draw(tmp_path, SPLITS)).table
    assert list(table["label"]) == ["test/cat", "train", "train/cat", "train/dog"]
    assert members_by_value(table, "folder_1") == {"test": [SPLITS[0]], "train": ["train/3.png", *SPLITS[1:3]]}
    assert members_by_value(table, "folder_2") == {"cat": ["test/cat/1.png", "train/cat/0.png"], "dog": [SPLITS[2]]}


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv", "metadata.parquet"])
def test_metadata_in_the_folder_says_what_is_known_of_images(tmp_path, name):
    plain = load(draw(tmp_path, FLAT))
    write(
        tmp_path / name,
        [{"file_name": "b/2.png", "artist": "B", "year": 1950}, {"file_name": "./3.png", "artist": "A", "year": 7}],
    )
    dataset = load(tmp_path)
    assert dataset.images_spec() == plain.images_spec()  # models trained before stay
    assert dataset.table.drop(columns="sha256").to_dict("list") == {
        "id": ["3.png", "a/0.png", "a/1.png", "b/2.png"],
        "label": [None, "a", "a", "b"],
        "artist": ["A", None, None, "B"],
        "year": ["7", None, None, "1950"],
    }
    assert dataset.notes == ("data.folder: 2 of 4 images have no row in the folder's metadata",)


def test_metadata_of_splits_lists_paths_from_its_own_folder(tmp_path):
    draw(tmp_path, SPLITS)
    write(
        tmp_path / "train" / "metadata.csv",
        [{"file_name": name, "label": name[0]} for name in ("cat/0.png", "3.png", "dog/2.png")],
    )
    write(tmp_path / "test" / "metadata.jsonl", [{"file_name": "cat/1.png", "year": 1950}])
    dataset = load(tmp_path)
    assert list(dataset.table["label"]) == [None, "3", "c", "d"]
    assert list(dataset.table["year"]) == ["1950", None, None, None]
    assert list(dataset.table["folder_1"]) == ["test", "train", "train", "train"]
    assert dataset.notes == ()


def test_a_table_that_is_named_comes_before_the_metadata(tmp_path):
    draw(tmp_path, FLAT)
    write(tmp_path / "metadata.csv", [{"file_name": "3.png", "artist": "A"}])
    write(tmp_path / "mine.csv", [{"file": "a/0.png", "artist": "B"}])
    assert list(load(tmp_path, table=str(tmp_path / "mine.csv")).table["artist"]) == ["B"]
    named = load(tmp_path, table=str(tmp_path / "metadata.csv"))
    assert list(named.table["id"]) == ["3.png"]


def test_what_metadata_holds_beyond_text_is_left_out(tmp_path):
    draw(tmp_path, FLAT)
    rows = [{"file_name": name, "id": 5, "objects": {"bbox": [[1, 2, 3, 4]]}, "tags": ["x"], "n": 1} for name in FLAT]
    del rows[0]["n"], rows[1]["tags"]
    write(tmp_path / "metadata.jsonl", rows)
    dataset = load(tmp_path)
    assert list(dataset.table.columns) == ["id", "sha256", "label", "n"]
    assert sorted(dataset.table["n"].dropna()) == ["1", "1", "1"]
    (note,) = dataset.notes
    assert note.endswith("metadata.jsonl': its column 'id' is left out, since the name is reserved")


def test_metadata_of_something_else_is_passed_over_and_said(tmp_path):
    write(draw(tmp_path, FLAT) / "metadata.csv", [{"license": "CC BY"}])
    dataset = load(tmp_path)
    assert list(dataset.table.columns) == ["id", "sha256", "label"]
    (note,) = dataset.notes
    assert note.endswith("metadata.csv' has no column 'file_name', so it is not read as image metadata")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            ["metadata.csv", "metadata.jsonl"],
            r"holds metadata\.jsonl and metadata\.csv; remove one, or name one in data\.table",
        ),
        (["metadata.csv", "a/metadata.csv"], r"a/metadata\.csv' lists 'a/0\.png', but there is no such image"),
    ],
)
def test_metadata_that_does_not_fit_is_refused(tmp_path, files, message):
    draw(tmp_path, FLAT)
    for name in files:
        write(tmp_path / name, [{"file_name": "a/0.png", "x": 1}])
    with pytest.raises(DataError, match=rf"^data\.folder: .*{message}"):
        load(tmp_path)


def test_an_image_listed_at_two_levels_is_refused(tmp_path):
    draw(tmp_path, FLAT)
    write(tmp_path / "metadata.csv", [{"file_name": "a/0.png", "x": 1}])
    write(tmp_path / "a" / "metadata.csv", [{"file_name": "0.png", "x": 1}])
    with pytest.raises(DataError, match=r"a/metadata\.csv' lists '0\.png', as does the metadata of a parent folder"):
        load(tmp_path)


def test_queries_have_metadata_too_and_the_plan_says_what_is_missing(tmp_path):
    draw(tmp_path / "own", FLAT)
    write(tmp_path / "own" / "metadata.csv", [{"file_name": "3.png", "artist": "A"}])
    queries = given_queries(Data(), Queries(folder=str(tmp_path / "own")))
    assert list(queries.table["artist"]) == ["A", None, None, None]
    settings = {"queries": {"folder": str(tmp_path / "own")}, "data": {"size": [8, 8], "channels": 1}}
    notes = Experiment(load_config(settings)).notes()
    assert notes == ["queries.folder: 3 of 4 images have no row in the folder's metadata"]


def test_the_plan_says_which_values_are_no_numbers(tmp_path):
    draw(tmp_path, ["0.png", "1.png", "2.png"])
    write(
        tmp_path / "metadata.csv",
        [{"file_name": f"{n}.png", "year": year} for n, year in enumerate(["1", "2", "c. 3"])],
    )
    conditions = {"one": "year < 2", "two": "year >= 2"}
    data = {"dataset": "image_folder", "folder": str(tmp_path), "conditions": conditions}
    of = Experiment(load_config({"data": data, "unlearn": {"n_neighbors": 1}, "metrics": {"content": None}}))
    (note,) = (note for note in of.notes() if "year" in note)
    assert note.startswith("data.conditions: 1 of 3 values of column 'year' are not numbers, such as 'c. 3'")
