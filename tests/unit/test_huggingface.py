"""Datasets that the `datasets` library itself wrote: splits, columns, bytes of images, and what is refused."""

import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pytest
from datasets import ClassLabel, Features, List, Value
from PIL import Image
from pyarrow import parquet

from guda import config
from guda.config import Subset
from guda.core.errors import DataError, GudaError
from guda.data.datasets import huggingface, load_dataset
from guda.data.datasets.dataset import chosen_rows

SCRIPTS = Path(__file__).resolve().parents[2] / "workflow_scripts"
COMMIT = "0123456789" * 4
FEATURES = Features(
    {
        "image": datasets.Image(),
        "label": ClassLabel(names=["cat", "dog"]),
        "artist": Value("string"),
        "year": Value("int32"),
        "id": Value("int64"),
        "tags": List(Value("string")),
        "embedding": Value("binary"),
    }
)


def png(value, shape=(4, 6)):
    """A gray image of one value, as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(np.full(shape, value, dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def made(count=5, first=0, **columns):
    """Rows whose images have the values `first` and following; `columns` replace those made here."""
    values = {
        "image": [{"bytes": png(first + row), "path": None} for row in range(count)],
        "label": [[0, 1, -1, None][row % 4] for row in range(count)],
        "artist": [["ann", None, ""][row % 3] for row in range(count)],
        "year": [None if row == 1 else 1950 + row for row in range(count)],
        "id": list(range(count)),
        "tags": [["x"]] * count,
        "embedding": [b"\1"] * count,
    } | columns
    return datasets.Dataset.from_dict(values, features=FEATURES)


@pytest.fixture(params=["dataset", "dataset_dict", "parquet"])
def folder(request, tmp_path):
    """150 rows in every layout, more than are read at once; the values of the images are the rows."""
    data = made(150)
    if request.param == "dataset":
        data.save_to_disk(tmp_path, num_shards=2)
    elif request.param == "dataset_dict":
        datasets.DatasetDict(train=data, test=made(2)).save_to_disk(tmp_path)
    else:
        (tmp_path / "data").mkdir()
        data.select(range(70)).to_parquet(tmp_path / "data/train-00000-of-00002.parquet", batch_size=30)
        data.select(range(70, 150)).to_parquet(tmp_path / "data/train-00001-of-00002.parquet")
        made(2).to_parquet(tmp_path / "data/test-00000-of-00001.parquet")
    return tmp_path


def loaded(folder, **settings):
    return load_dataset(config.Data(dataset="huggingface", folder=str(folder), **settings))


def written(folder, *images):
    """A Parquet file of these images, written without the library, which would look at them."""
    parquet.write_table(made(len(images), image=list(images)).data.table, folder / "train.parquet")
    return folder


# --- what comes out ----------------------------------------------------------------------------------


def test_rows_are_the_same_in_every_layout(folder):
    found = loaded(folder)
    assert list(found.table.columns) == ["id", "sha256", "label", "artist", "year"]
    assert list(found.table["id"]) == [f"train-{row:06d}" for row in range(150)]
    assert list(found.table["sha256"]) == [hashlib.sha256(png(row)).hexdigest() for row in range(150)]
    assert list(found.table["label"][:5]) == ["cat", "dog", None, None, "cat"]
    assert list(found.table["artist"][:4]) == ["ann", None, None, "ann"]
    assert list(found.table["year"][:3]) == ["1950", None, "1952"]
    assert (found.image_shape, found.images.dtype, found.images.shape) == ((1, 4, 6), np.uint8, (150, 1, 4, 6))
    assert (found.images == np.arange(150)[:, None, None, None]).all()


def test_the_layout_is_no_matter_of_the_specs(tmp_path):
    made().save_to_disk(tmp_path / "saved")
    (tmp_path / "files").mkdir()
    made().to_parquet(tmp_path / "files" / "any.parquet")
    first, second = loaded(tmp_path / "saved"), loaded(tmp_path / "files")
    assert (first.images_spec(), first.table_spec()) == (second.images_spec(), second.table_spec())


def test_a_subset_has_the_rows_and_images_of_its_ids(folder):
    whole, subset = loaded(folder), Subset(count=20, seed=1)
    rows = chosen_rows(list(whole.table["id"]), subset)
    part = loaded(folder, subset=subset)
    assert part.table.equals(whole.table.iloc[rows].reset_index(drop=True))
    assert part.images[:, 0, 0, 0].tolist() == rows


def test_another_split_has_ids_of_its_own(tmp_path):
    datasets.DatasetDict(train=made(), test=made(2, first=9)).save_to_disk(tmp_path)
    found = loaded(tmp_path, split="test")
    assert list(found.table["id"]) == ["test-000000", "test-000001"]
    assert found.images[:, 0, 0, 0].tolist() == [9, 10]


def test_images_are_brought_to_a_size_and_to_channels(tmp_path):
    made().save_to_disk(tmp_path)
    found = loaded(tmp_path, size=(2, 2), channels=3)
    assert found.image_shape == (3, 2, 2)
    assert (found.images == np.arange(5)[:, None, None, None]).all()


@pytest.mark.parametrize("relative", [False, True])
def test_an_image_that_is_only_named_is_read_from_its_file(tmp_path, relative, monkeypatch):
    """A relative path counts from the dataset's folder, wherever the workflow runs."""
    folder = tmp_path / "saved"
    folder.mkdir()
    (tmp_path / "one.png").write_bytes(png(7))
    path = "../one.png" if relative else str(tmp_path / "one.png")
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        made(1, image=[{"bytes": None, "path": path}]).save_to_disk(folder)
    found = loaded(folder)
    assert list(found.table["sha256"]) == [hashlib.sha256(png(7)).hexdigest()]
    assert (found.images == 7).all()


def test_files_whose_features_only_the_card_tells(tmp_path):
    """As hub repositories have them that another library wrote."""
    rows = [{"image": {"bytes": png(3), "path": None}, "label": 1}]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    (tmp_path / "README.md").write_text(
        "---\ndataset_info:\n  features:\n  - name: image\n    dtype: image\n  - name: label\n    dtype:\n"
        "      class_label:\n        names:\n          '0': cat\n          '1': dog\n---\n"
    )
    found = loaded(tmp_path)
    assert list(found.table["label"]) == ["dog"]
    assert (found.images == 3).all()


@pytest.mark.parametrize("layout", ["saved", "parquet"])
def test_few_encoded_images_are_held_at_once(tmp_path, layout):
    """Of 32 MB in one group of rows, there are only the rows at hand and some pages of the file in memory."""
    noise = np.random.default_rng(0)
    images = {"image": [{"bytes": noise.bytes(1 << 12), "path": None} for _ in range(1 << 13)]}
    data = datasets.Dataset.from_dict(images, features=Features(image=datasets.Image()))
    if layout == "saved":
        data.save_to_disk(tmp_path)
    else:
        parquet.write_table(data.data.table, tmp_path / "train.parquet", row_group_size=1 << 13)
    del data
    split = huggingface._open(config.Data(dataset="huggingface", folder=str(tmp_path)))
    before, sizes, held = pa.total_allocated_bytes(), [], []
    for batch in split.batches(list(range(1 << 13)), ["image"]):
        sizes.append(len(batch))
        held.append(pa.total_allocated_bytes() - before)
    assert (sum(sizes), max(sizes)) == (1 << 13, huggingface.BATCH)
    assert max(held) < 16 << 20


# --- what is refused ---------------------------------------------------------------------------------


def test_an_unknown_split_is_refused_with_the_known_ones(folder):
    with pytest.raises(DataError, match=r"^data\.split: '.*' has no split 'tset'; known: train"):
        loaded(folder, split="tset")


def test_a_dataset_that_knows_its_split_has_no_other(tmp_path):
    (tmp_path / "files").mkdir()
    made().to_parquet(tmp_path / "files" / "test.parquet")
    test = datasets.load_dataset("parquet", data_dir=str(tmp_path / "files"), split="test", cache_dir=str(tmp_path))
    test.save_to_disk(tmp_path / "saved")
    for folder in ("files", "saved"):
        with pytest.raises(DataError, match=r"has no split 'train'; known: test$"):
            loaded(tmp_path / folder)
        assert list(loaded(tmp_path / folder, split="test").table["id"])[-1] == "test-000004"


def with_two_images(data):
    return datasets.concatenate_datasets([data, data.select_columns("image").rename_column("image", "b")], axis=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.remove_columns("image"), r"no column is an Image; found label \(ClassLabel\), artist"),
        (with_two_images, "the columns image, b are all Images; keep one"),
        (lambda data: data.select([]), r"data\.split: 'train' of .* has no rows"),
    ],
)
def test_a_dataset_without_an_image_a_row_is_refused(tmp_path, change, message):
    change(made()).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(DataError, match=message):
        loaded(tmp_path)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (None, "train-000001: has no image; remove the row"),
        ({"bytes": None, "path": "absent.png"}, r"train-000001: its image cannot be read \(.*absent\.png"),
        ({"bytes": b"GIF?", "path": None}, r"train-000001: not a readable image \(unknown format\); repair or remove"),
        ({"bytes": png(1)[:-30], "path": None}, r"train-000001: broken image .*; repair or remove it"),
        ({"bytes": png(1, (2, 2)), "path": None},
         r"train-000001: gray with 2x2 pixels, but 'train-000000' is gray with 6x4 pixels"),
    ],
)  # fmt: skip
def test_an_image_that_is_none_is_named_by_its_row(tmp_path, image, message):
    written(tmp_path, {"bytes": png(0), "path": None}, image)
    with pytest.raises(DataError, match=rf"^{tmp_path}: {message}"):
        _ = loaded(tmp_path).images


def test_a_class_without_a_name_is_refused(tmp_path):
    """The library checks it when a dataset is made, but not when a file is read."""
    table = made(1).cast_column("label", Value("int64")).data.table
    table = table.set_column(1, "label", pa.array([7])).replace_schema_metadata(made(1).data.schema.metadata)
    parquet.write_table(table, tmp_path / "train.parquet")
    with pytest.raises(DataError, match=r"column 'label' holds 7, but there are 2 class names"):
        loaded(tmp_path)


def test_files_of_two_datasets_are_refused(tmp_path):
    made(1).to_parquet(tmp_path / "a.parquet")
    made(1).remove_columns("year").to_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet: has different columns from .*a\.parquet; keep the files of one"):
        loaded(tmp_path)


def test_several_datasets_in_a_folder_are_refused_with_their_names(tmp_path):
    for name in ("cats", "dogs"):
        (tmp_path / name).mkdir()
        made(1).to_parquet(tmp_path / name / "train.parquet")
    configs = "".join(f"- config_name: {name}\n  data_files: {name}/*.parquet\n" for name in ("cats", "dogs"))
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    with pytest.raises(DataError, match=r"holds several datasets \(cats, dogs\); .* folder of one"):
        loaded(tmp_path)
    assert len(loaded(tmp_path / "dogs").table) == 1


def test_a_dataset_that_changed_after_planning_is_refused(tmp_path):
    made().to_parquet(tmp_path / "train.parquet")
    planned = loaded(tmp_path)
    made(first=1).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(DataError, match=r"train-000000: changed since the workflow was planned"):
        _ = planned.images


def test_what_is_damaged_is_refused_by_name_or_whole(folder):
    """Every file in turn is cut off, at every fifth of its length."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = file.read_bytes()
        for fifth in range(5):
            file.write_bytes(content[: len(content) * fifth // 5])
            try:
                images = loaded(folder).images
            except GudaError as error:
                assert str(folder) in str(error)
            else:
                assert images[:, 0, 0, 0].tolist() == list(range(150)), (file, fifth)
        file.write_bytes(content)


# --- the hub, and torch ------------------------------------------------------------------------------

LOAD = """
import sys
from guda import config
from guda.data.datasets import load_dataset
from guda.core.errors import GudaError
for source in sys.argv[1:]:
    try:
        key, value = source.split("=")
        print(list(load_dataset(config.Data(dataset="huggingface", **{key: value})).table["label"]))
    except GudaError as error:
        print(error)
print(sorted({"torch", "diffusers", "transformers"} & sys.modules.keys()))
"""


def test_a_pinned_hub_id_is_found_offline_and_loads_no_torch(tmp_path):
    """In a process of its own: the hub reads its settings when it is imported."""
    blobs, data = tmp_path / "datasets--someone--cats" / "blobs", Path("snapshots", COMMIT, "data")
    blobs.mkdir(parents=True)
    made().to_parquet(blobs / "0f")
    (blobs.parent / data).mkdir(parents=True)
    (blobs.parent / data / "train-00000-of-00001.parquet").symlink_to("../../../blobs/0f")
    made().save_to_disk(tmp_path / "saved")
    cats, dogs = f"someone/cats@{COMMIT}", f"someone/dogs@{COMMIT}"
    sources = [f"folder={tmp_path}/saved", f"hub={cats}", f"hub={dogs}", "hub=someone/cats@main"]
    settings = {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(SCRIPTS)}
    call = [sys.executable, "-c", LOAD, *sources]
    done = subprocess.run(call, env=os.environ | settings, capture_output=True, text=True, check=False)
    from_folder, from_hub, unreachable, unpinned, heavy = done.stdout.splitlines()
    assert from_folder == from_hub == "['cat', 'dog', None, None, 'cat']", done.stderr
    assert unreachable.startswith(f"data.hub: {dogs} cannot be downloaded (")
    assert unpinned.startswith("data.hub: 'someone/cats@main' is not a hub id of the form OWNER/NAME@COMMIT (40 hex")
    assert heavy == "[]"
