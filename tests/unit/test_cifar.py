"""CIFAR-10 and CIFAR-100 in both releases: every pixel and label of small files, and what wrong files are told."""

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from guda import config
from guda.config import Subset
from guda.core.errors import DataError
from guda.data.datasets import load_dataset

FINE = [f"fine_{number}" for number in range(100)]
COARSE = [f"coarse_{number}" for number in range(20)]
BATCHES = [f"data_batch_{number}" for number in range(1, 6)]


def pixels(n, seed):
    return np.random.default_rng(seed).integers(0, 256, (n, 3072), dtype=np.uint8)


# Batches of different lengths: their pixels and labels.
TEN = {name: (pixels(2 + row % 2, row), [row, 9 - row, 7][: 2 + row % 2]) for row, name in enumerate(BATCHES)}
HUNDRED = pixels(4, 9), [0, 99, 42, 7], [19, 0, 3, 11]  # pixels, fine and coarse labels


class Python2(pickle._Pickler):
    """Writes bytes as Python 2 wrote its str, which is what the published files hold."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_bytes(self, content):
        self.write(b"T" + struct.pack("<i", len(content)) + content)
        self.memoize(content)

    dispatch[bytes] = save_bytes


def python_2(path, values):
    with path.open("wb") as file:
        Python2(file, protocol=2).dump({key.encode(): value for key, value in values.items()})
    content = path.read_bytes()
    path.write_bytes(content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))


def python_3(path, values):
    path.write_bytes(pickle.dumps(values, protocol=4))


def ascii_names(names):
    return [name.encode() for name in names]


def binary_ten(folder):
    for name, (images, labels) in TEN.items():
        records = b"".join(bytes([label]) + image.tobytes() for image, label in zip(images, labels, strict=True))
        (folder / f"{name}.bin").write_bytes(records)
    (folder / "batches.meta.txt").write_text("\n".join(FINE[:10]) + "\n\n")  # as published, with an empty line


def binary_hundred(folder):
    records = zip(*HUNDRED, strict=True)
    content = b"".join(bytes([coarse, fine]) + image.tobytes() for image, fine, coarse in records)
    (folder / "train.bin").write_bytes(content)
    (folder / "fine_label_names.txt").write_text("\n".join(FINE) + "\n")
    (folder / "coarse_label_names.txt").write_text("\n".join(COARSE) + "\n")


def pickled_ten(write):
    def prepare(folder):
        for name, (images, labels) in TEN.items():
            write(folder / name, {"data": images, "labels": labels, "batch_label": b"x", "filenames": [b"a.png"]})
        write(folder / "batches.meta", {"label_names": ascii_names(FINE[:10]), "num_vis": 3072})

    return prepare


def pickled_hundred(write):
    def prepare(folder):
        images, fine, coarse = HUNDRED
        write(folder / "train", {"data": images, "fine_labels": fine, "coarse_labels": coarse})
        names = {"fine_label_names": ascii_names(FINE), "coarse_label_names": ascii_names(COARSE)}
        write(folder / "meta", names)

    return prepare


RELEASES = {
    ("cifar10", "binary"): binary_ten,
    ("cifar10", "python 2"): pickled_ten(python_2),
    ("cifar10", "python 3"): pickled_ten(python_3),
    ("cifar100", "binary"): binary_hundred,
    ("cifar100", "python 2"): pickled_hundred(python_2),
    ("cifar100", "python 3"): pickled_hundred(python_3),
}


def load(folder, dataset="cifar10", **settings):
    return load_dataset(config.Data(dataset=dataset, folder=str(folder), group_by="label", **settings))


@pytest.fixture
def ten(tmp_path):
    binary_ten(tmp_path)
    return tmp_path


@pytest.fixture
def pickled(tmp_path):
    pickled_ten(python_2)(tmp_path)
    return tmp_path


# --- what is read ------------------------------------------------------------------------------------


def test_the_python_2_files_are_what_they_are_meant_to_be(pickled):
    content = (pickled / "data_batch_1").read_bytes()
    assert content.startswith(b"\x80\x02}")
    assert b"cnumpy.core.multiarray\n_reconstruct\n" in content
    assert b"_codecs" not in content
    known = pickle.loads(content, encoding="bytes")
    assert np.array_equal(known[b"data"], TEN["data_batch_1"][0])


@pytest.mark.parametrize("release", ["binary", "python 2", "python 3"])
def test_cifar_10_is_read_batch_by_batch(tmp_path, release):
    RELEASES["cifar10", release](tmp_path)
    dataset = load(tmp_path)
    images = np.concatenate([images for images, _ in TEN.values()])
    labels = [label for _, labels in TEN.values() for label in labels]
    assert dataset.name == "cifar10"
    assert dataset.image_shape == (3, 32, 32)
    assert list(dataset.table.columns) == ["id", "sha256", "label"]
    assert list(dataset.table["id"]) == [f"train-{row:06d}" for row in range(12)]
    assert list(dataset.table["label"]) == [f"fine_{label}" for label in labels]
    # An image is a plane of red, one of green and one of blue, each row by row.
    for row, image in enumerate(images):
        for channel in range(3):
            plane = image[1024 * channel : 1024 * (channel + 1)]
            assert np.array_equal(dataset.images[row, channel].ravel(), plane)


@pytest.mark.parametrize("release", ["binary", "python 2", "python 3"])
def test_cifar_100_has_both_labels(tmp_path, release):
    RELEASES["cifar100", release](tmp_path)
    dataset = load(tmp_path, "cifar100")
    assert list(dataset.table.columns) == ["id", "sha256", "label", "coarse_label"]
    assert list(dataset.table["label"]) == ["fine_0", "fine_99", "fine_42", "fine_7"]
    assert list(dataset.table["coarse_label"]) == ["coarse_19", "coarse_0", "coarse_3", "coarse_11"]
    assert np.array_equal(dataset.images, HUNDRED[0].reshape(4, 3, 32, 32))


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_the_releases_have_the_same_specs(tmp_path, dataset):
    found = []
    for release in ("binary", "python 2", "python 3"):
        folder = tmp_path / release
        folder.mkdir()
        RELEASES[dataset, release](folder)
        of = load(folder, dataset)
        found.append((of.images_spec(), of.table_spec()))
    assert found[0] == found[1] == found[2]


def test_of_both_releases_the_binary_one_is_read(ten):
    for name in BATCHES:
        (ten / name).write_bytes(b"never opened")
    assert len(load(ten).table) == 12


def test_settings_of_images_apply(ten):
    dataset = load(ten, size=(8, 16), channels=1, subset=Subset(count=5))
    assert dataset.images.shape == (5, 1, 8, 16)


# --- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 3072, 3074, 2 * 3073 - 1])
def test_a_batch_that_is_not_of_whole_records_is_refused(ten, length):
    (ten / "data_batch_4.bin").write_bytes(bytes(length))
    with pytest.raises(
        DataError, match=rf"data_batch_4\.bin: {length} bytes, expected records of 3073 bytes; download"
    ):
        load(ten)


@pytest.mark.parametrize("name", [*[f"{batch}.bin" for batch in BATCHES[1:]], "batches.meta.txt"])
def test_an_absent_file_of_the_binary_release_is_named(ten, name):
    (ten / name).unlink()
    with pytest.raises(DataError, match=rf"^data\.folder: '{ten}' holds no {name}; name the folder .* cifar10$"):
        load(ten)


@pytest.mark.parametrize("name", [*BATCHES[1:], "batches.meta"])
def test_an_absent_file_of_the_python_release_is_named(pickled, name):
    (pickled / name).unlink()
    with pytest.raises(DataError, match=rf"^data\.folder: '{pickled}' holds no {name}; name the folder"):
        load(pickled)


def test_neither_release_is_said(tmp_path):
    with pytest.raises(DataError, match=r"holds no train\.bin and no train; name the folder .* dataset cifar100$"):
        load(tmp_path, "cifar100")


def test_cifar_10_is_not_taken_for_cifar_100(ten):
    (ten / "data_batch_1.bin").rename(ten / "train.bin")
    with pytest.raises(DataError, match=r"train\.bin: 6146 bytes, expected records of 3074 bytes"):
        load(ten, "cifar100")


def test_a_label_without_a_name_is_refused(ten):
    (ten / "batches.meta.txt").write_text("\n".join(FINE[:8]))
    with pytest.raises(DataError, match=r"data_batch_1\.bin: label 9, but there are 8 names; download"):
        load(ten)


def test_names_that_are_no_text_are_refused(ten):
    (ten / "batches.meta.txt").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"batches\.meta\.txt: not UTF-8 text"):
        load(ten)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": pixels(3, 0)[:, :3071]}, "'data' is not an array of 3072 bytes per image"),
        ({"data": pixels(3, 0)[0]}, "'data' is not an array of 3072 bytes per image"),
        ({"data": pixels(0, 0)}, "'data' is not an array of 3072 bytes per image"),
        ({"data": None}, "'data' is not an array of 3072 bytes per image"),
        ({"data": pixels(3, 0).astype(np.int32)}, "holds an array that is damaged or not of unsigned bytes"),
        ({"labels": [1, 2]}, "'labels' is not a list of one number per image"),
        ({"labels": [1, 2, b"3"]}, "'labels' is not a list of one number per image"),
        ({"labels": None}, "'labels' is not a list of one number per image"),
        ({"labels": [1, 2, 10]}, "label 10, but there are 10 names"),
        ({"labels": [1, -1, 2]}, "label -1, but there are 10 names"),
        ({"labels": [1, 2, 2**70]}, f"label {2**70}, but there are 10 names"),
    ],
)
def test_a_pickled_batch_that_is_not_right_is_refused(pickled, change, message):
    python_3(pickled / "data_batch_2", {"data": pixels(3, 0), "labels": [1, 2, 3]} | change)
    with pytest.raises(DataError, match=rf"^{pickled}/data_batch_2: (its )?{message}"):
        load(pickled)


@pytest.mark.parametrize("names", [None, b"abc", [1, 2], {}])
def test_names_that_are_no_list_of_text_are_refused(pickled, names):
    python_3(pickled / "batches.meta", {"label_names": names})
    with pytest.raises(DataError, match="meta: its 'label_names' is not a list of names; download it again"):
        load(pickled)


class Planted:
    """Unpickling this makes a folder."""

    def __reduce__(self):
        return os.mkdir, ("planted",)


@pytest.mark.parametrize("name", [*BATCHES, "batches.meta"])
def test_a_planted_pickle_is_refused_and_nothing_happens(pickled, monkeypatch, name):
    monkeypatch.chdir(pickled)
    python_3(pickled / name, {"data": pixels(3, 0), "labels": [1, 2, 3], "label_names": Planted()})
    with pytest.raises(
        DataError, match=rf"{name}: a pickle that names {os.mkdir.__module__}\.mkdir, which is not data"
    ):
        load(pickled)
    assert not Path("planted").exists()


# --- where the release lies --------------------------------------------------------------------------

UNPACKED = [
    ("cifar10", "binary", "cifar-10-batches-bin"),
    ("cifar10", "python 2", "cifar-10-batches-py"),
    ("cifar100", "binary", "cifar-100-binary"),
    ("cifar100", "python 2", "cifar-100-python"),
]


@pytest.mark.parametrize(("dataset", "release", "folder"), UNPACKED)
def test_the_folder_above_that_of_the_release_will_do(tmp_path, dataset, release, folder):
    (tmp_path / folder).mkdir()
    RELEASES[dataset, release](tmp_path / folder)
    above, itself = load(tmp_path, dataset), load(tmp_path / folder, dataset)
    assert (above.images_spec(), above.table_spec()) == (itself.images_spec(), itself.table_spec())
    assert np.array_equal(above.images, itself.images)


def test_of_both_releases_one_has_to_be_named(tmp_path):
    for _, release, folder in UNPACKED[:2]:
        (tmp_path / folder).mkdir()
        RELEASES["cifar10", release](tmp_path / folder)
    message = r"holds releases in cifar-10-batches-py and in cifar-10-batches-bin; name one of these folders$"
    with pytest.raises(DataError, match=rf"^data\.folder: '{tmp_path}' {message}"):
        load(tmp_path)
