"""IDX files: every pixel and label of files written by hand, and what a file that is not right is told."""

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from guda import config
from guda.config import Subset
from guda.core.errors import DataError
from guda.data.datasets import load_dataset

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package of this name puts it
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 28, 28), dtype=np.uint8)
CLASSES = [5, 0, 4, 1, 9, 5]


def idx(values, shape, kind=8):
    """The bytes of an IDX file, by its definition: two zeros, the type, the lengths, the values."""
    return struct.pack(f">4B{len(shape)}I", 0, 0, kind, len(shape), *shape) + bytes(values)


def write(folder, pixels=PIXELS, classes=CLASSES):
    folder.mkdir(exist_ok=True)
    (folder / IMAGES).write_bytes(idx(pixels.tobytes(), pixels.shape))
    (folder / LABELS).write_bytes(idx(classes, [len(classes)]))
    return folder


def pack(folder, *names):
    for name in names:
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
        (folder / name).unlink()
    return folder


def load(folder, **settings):
    return load_dataset(config.Data(dataset="idx", folder=str(folder), group_by="label", **settings))


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "idx")


@pytest.mark.parametrize("packed", [[], [IMAGES], [LABELS], [IMAGES, LABELS]], ids=["none", "images", "labels", "both"])
def test_pixels_and_labels_come_back_exactly_packed_or_not(folder, packed):
    dataset = load(pack(folder, *packed))
    assert dataset.image_shape == (1, 28, 28)
    assert dataset.images.dtype == np.uint8
    assert np.array_equal(dataset.images, PIXELS[:, None])
    assert dataset.table.to_dict("list") == {
        "id": [f"train-00000{row}" for row in range(6)],
        "sha256": [hashlib.sha256(image.tobytes()).hexdigest() for image in PIXELS],
        "label": ["5", "0", "4", "1", "9", "5"],
    }


def test_packing_and_the_place_are_no_matter_of_the_specs(folder, tmp_path):
    plain = load(folder)
    packed = load(pack(write(tmp_path / "elsewhere"), IMAGES, LABELS))
    assert (packed.images_spec(), packed.table_spec()) == (plain.images_spec(), plain.table_spec())


def test_any_height_and_width_is_read_row_by_row(tmp_path):
    dataset = load(write(tmp_path / "idx", np.arange(12, dtype=np.uint8).reshape(2, 2, 3), [0, 1]))
    assert dataset.images.tolist() == [[[[0, 1, 2], [3, 4, 5]]], [[[6, 7, 8], [9, 10, 11]]]]


def test_settings_of_images_apply(folder):
    dataset = load(folder, size=(32, 32), channels=3, subset=Subset(count=4))
    assert dataset.image_shape == dataset.images.shape[1:] == (3, 32, 32)
    assert len(dataset.images) == len(dataset.table) == 4


def test_a_pixel_changes_the_specs(folder):
    before, pixels = load(folder), PIXELS.copy()
    pixels[3, 0, 0] ^= 1
    after = load(write(folder, pixels))
    assert before.images_spec() != after.images_spec()
    assert list(before.table["sha256"] == after.table["sha256"]) == [True, True, True, False, True, True]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (IMAGES, b"", r"not an IDX file \(it begins with nothing\); download it again"),
        (IMAGES, b"\0\0\x08\x03\0\0", r"not an IDX file \(it begins with 00 00 08 03\)"),
        (IMAGES, gzip.compress(bytes(99), mtime=0), r"not an IDX file \(it begins with 1f 8b 08 00\)"),
        (IMAGES, idx(bytes(16), [1, 2, 2], kind=0x0D), "values of IDX type 0x0d, expected 0x08, unsigned bytes"),
        (IMAGES, idx(bytes(20), [20]), r"1 dimension\(s\), expected 3; images and labels swapped\?"),
        (LABELS, idx(PIXELS.tobytes(), PIXELS.shape), r"3 dimension\(s\), expected 1; images and labels swapped\?"),
        (IMAGES, idx(bytes(11), [1, 3, 4]), r"27 bytes, but its header gives \[1, 3, 4\], 28 bytes; download it again"),
        (IMAGES, idx(bytes(13), [1, 3, 4]), r"29 bytes, but its header gives \[1, 3, 4\], 28 bytes"),
        (IMAGES, idx(b"", [2**32 - 1] * 3), "16 bytes, but its header gives "),
        (IMAGES, idx(b"", [0, 28, 28]), r"empty, its header gives \[0, 28, 28\]"),
        (IMAGES, idx(b"", [6, 0, 28]), r"empty, its header gives \[6, 0, 28\]"),
        (LABELS, idx(CLASSES[:5], [5]), f"5 labels, but {IMAGES} has 6 images; take both from one release"),
    ],
)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
def test_a_file_that_is_not_right_is_refused_by_name(folder, name, content, message, packed):
    (folder / name).write_bytes(content)
    if packed:
        pack(folder, name)
    with pytest.raises(DataError, match=rf"^{folder}/{name}{'.gz' * packed}: {message}"):
        load(folder)


def test_no_prefix_of_a_file_passes(folder):
    whole = (folder / LABELS).read_bytes()
    packed = gzip.compress(whole)
    for length in range(len(whole)):
        (folder / LABELS).write_bytes(whole[:length])
        with pytest.raises(DataError, match=LABELS):
            load(folder)
    (folder / LABELS).unlink()
    for length in range(len(packed)):
        (folder / f"{LABELS}.gz").write_bytes(packed[:length])
        with pytest.raises(DataError, match=rf"{LABELS}\.gz: "):
            load(folder)


def test_what_is_packed_and_no_gzip_is_refused(folder):
    (folder / IMAGES).rename(folder / f"{IMAGES}.gz")
    with pytest.raises(DataError, match=rf"{IMAGES}\.gz: not a complete gzip file \(.*\); download it again"):
        load(folder)


def test_absent_files_and_folders_are_named(folder, tmp_path):
    (folder / LABELS).unlink()
    message = (
        f"^data.folder: '{folder}' holds no {LABELS} and no .*{LABELS}.gz and no .*; name the folder .* of dataset idx"
    )
    with pytest.raises(DataError, match=message):
        load(folder)
    with pytest.raises(DataError, match=f"^data.folder: '{tmp_path}/absent' is not a folder"):
        load(tmp_path / "absent")


@pytest.mark.parametrize("dot", [[], [IMAGES], [LABELS], [IMAGES, LABELS]], ids=["none", "images", "labels", "both"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("below", ["", "raw", "MNIST/raw", "FashionMNIST/raw", "KMNIST/raw"])
def test_other_spellings_and_torchvisions_folders_are_the_same_dataset(folder, tmp_path, dot, packed, below):
    plain = load(folder)
    (tmp_path / "root" / below).mkdir(parents=True)
    where = write(tmp_path / "root" / below)
    if packed:
        pack(where, IMAGES, LABELS)
    for name in dot:
        suffix = ".gz" * packed
        (where / f"{name}{suffix}").rename(where / f"{name.replace('-idx', '.idx')}{suffix}")
    found = load(tmp_path / "root")
    assert (found.images_spec(), found.table_spec()) == (plain.images_spec(), plain.table_spec())
    assert np.array_equal(found.images, plain.images)


def test_of_several_releases_one_has_to_be_named(tmp_path):
    for name in ("MNIST", "KMNIST"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "raw")
    message = f"^data.folder: '{tmp_path}' holds releases in MNIST/raw and in KMNIST/raw; name one of these folders$"
    with pytest.raises(DataError, match=message):
        load(tmp_path)
    assert len(load(tmp_path / "KMNIST").table) == 6
    write(tmp_path, classes=[1] * 6)  # what lies in the folder itself comes first
    assert set(load(tmp_path).table["label"]) == {"1"}


@pytest.mark.skipif(not FASHION_MNIST.is_dir(), reason=f"Debian's dataset-fashion-mnist is not at {FASHION_MNIST}")
def test_fashion_mnist_as_published():
    dataset = load(FASHION_MNIST)
    assert dataset.images.shape == (60_000, 1, 28, 28)
    assert dataset.table["label"].value_counts().to_dict() == {str(label): 6000 for label in range(10)}
    assert round(dataset.images.mean() / 255, 3) == 0.286  # its mean as everyone knows it
