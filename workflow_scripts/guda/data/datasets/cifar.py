"""CIFAR-10 and CIFAR-100: 32x32 color training images, from the binary release or the python release.

The files are in the configured folder, or in the folder that the release unpacks to, below it.

Columns: id (`train-000123`, by position in the files), label (the class) and, for CIFAR-100, coarse_label.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from guda import config
from guda.core.errors import DataError
from guda.data.datasets.conversion import Conversion
from guda.data.datasets.dataset import Dataset
from guda.data.datasets.inert_pickle import read_mapping
from guda.data.datasets.raw_files import find_file, read_bytes, release_folder, training_ids

SHAPE = (3, 32, 32)
N_PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Labels:
    """Where one column of labels is stored."""

    byte: int  # its position in a record of the binary release
    names_file: str  # the binary release's list of the classes
    labels_key: str  # keys of the python release
    names_key: str


@dataclass(frozen=True)
class Release:
    batches: tuple[str, ...]  # the python release's files; the binary release adds .bin
    meta: str  # the python release's names of the classes
    folders: tuple[str, ...]  # that the releases unpack to
    columns: dict[str, Labels]


RELEASES = {
    "cifar10": Release(
        batches=tuple(f"data_batch_{number}" for number in range(1, 6)),
        meta="batches.meta",
        folders=("cifar-10-batches-py", "cifar-10-batches-bin"),
        columns={"label": Labels(0, "batches.meta.txt", "labels", "label_names")},
    ),
    "cifar100": Release(
        batches=("train",),
        meta="meta",
        folders=("cifar-100-python", "cifar-100-binary"),
        columns={
            "label": Labels(1, "fine_label_names.txt", "fine_labels", "fine_label_names"),
            "coarse_label": Labels(0, "coarse_label_names.txt", "coarse_labels", "coarse_label_names"),
        },
    ),
}


@dataclass(frozen=True)
class Batch:
    """`pixels` uint8 [n, 3072] and, by column, `labels` [n]: indices into the names of the classes."""

    path: Path
    pixels: np.ndarray
    labels: dict[str, np.ndarray]


def load(settings: config.Data) -> Dataset:
    release = RELEASES[settings.dataset]
    first, dataset = release.batches[0], settings.dataset
    folder = release_folder(settings, release.folders, f"{first}.bin", first)
    if find_file(folder, dataset, f"{first}.bin", first).suffix == ".bin":
        batches = [_read_binary(find_file(folder, dataset, f"{name}.bin"), release) for name in release.batches]
        names = {key: _read_names(find_file(folder, dataset, each.names_file)) for key, each in release.columns.items()}
    else:
        batches = [_read_pickled(find_file(folder, dataset, name), release) for name in release.batches]
        names = _pickled_names(find_file(folder, dataset, release.meta), release)
    images = [batch.pixels.reshape(-1, *SHAPE) for batch in batches]
    columns = {
        column: [label for batch in batches for label in _named(batch, column, names[column])]
        for column in release.columns
    }
    table = pd.DataFrame({"id": training_ids(sum(map(len, images))), **columns})
    return Dataset.build(settings.dataset, images, table, settings.subset, Conversion.of(settings))


def _named(batch: Batch, column: str, names: list[str]) -> list[str]:
    labels = batch.labels[column]
    wrong = labels[(labels < 0) | (labels >= len(names))]
    if len(wrong):
        raise DataError(f"{batch.path}: {column} {wrong[0]}, but there are {len(names)} names; download it all again")
    return [names[label] for label in labels]


def _read_binary(path: Path, release: Release) -> Batch:
    """A batch of records: a byte per column of labels, then red, green and blue. Raises DataError."""
    content, size = read_bytes(path), len(release.columns) + N_PIXELS
    if len(content) == 0 or len(content) % size:
        raise DataError(f"{path}: {len(content)} bytes, expected records of {size} bytes; download it again")
    records = content.reshape(-1, size)
    labels = {column: records[:, each.byte] for column, each in release.columns.items()}
    return Batch(path, records[:, len(release.columns) :], labels)


def _read_names(path: Path) -> list[str]:
    """Names of the classes, one per line. Raises DataError."""
    try:
        return read_bytes(path).tobytes().decode("utf-8").split()
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text; download it again") from None


def _read_pickled(path: Path, release: Release) -> Batch:
    """A batch of the python release. Raises DataError."""
    content = read_mapping(path)
    pixels = content.get("data")
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != N_PIXELS or not len(pixels):
        raise DataError(f"{path}: its 'data' is not an array of {N_PIXELS} bytes per image; download it again")
    labels = {}
    for column, each in release.columns.items():
        found = content.get(each.labels_key)
        if not isinstance(found, list) or len(found) != len(pixels) or {type(label) for label in found} != {int}:
            raise DataError(f"{path}: its {each.labels_key!r} is not a list of one number per image; download it again")
        labels[column] = np.array(found)
    return Batch(path, pixels, labels)


def _pickled_names(path: Path, release: Release) -> dict[str, list[str]]:
    """Names of the classes by column. Raises DataError."""
    content, names = read_mapping(path), {}
    for column, each in release.columns.items():
        found = content.get(each.names_key)
        if not isinstance(found, list) or not all(isinstance(name, (bytes, str)) for name in found):
            raise DataError(f"{path}: its {each.names_key!r} is not a list of names; download it again")
        names[column] = [name.decode("utf-8", "replace") if isinstance(name, bytes) else name for name in found]
    return names
