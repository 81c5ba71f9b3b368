"""IDX files, the format of MNIST and its relatives: gray training images and their labels, each with or without .gz.

They are in the configured folder, or where torchvision puts them below it.

Columns: id (`train-000123`, by position in the file) and label (the number, as text).
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd

from guda import config
from guda.core.errors import DataError
from guda.data.datasets.conversion import Conversion
from guda.data.datasets.dataset import Dataset
from guda.data.datasets.raw_files import find_file, read_bytes, release_folder, training_ids

# As on Yann LeCun's page, and as some unpackers name them.
IMAGES = ("train-images-idx3-ubyte", "train-images.idx3-ubyte")
LABELS = ("train-labels-idx1-ubyte", "train-labels.idx1-ubyte")
TORCHVISION = ("raw", "MNIST/raw", "FashionMNIST/raw", "KMNIST/raw")
UNSIGNED_BYTES = 0x08


def load(settings: config.Data) -> Dataset:
    images_names, labels_names = ([*names, *(f"{name}.gz" for name in names)] for names in (IMAGES, LABELS))
    folder = release_folder(settings, TORCHVISION, *images_names)
    images_file, labels_file = (find_file(folder, "idx", *names) for names in (images_names, labels_names))
    images, labels = read_idx(images_file, 3), read_idx(labels_file, 1)
    if len(images) != len(labels):
        raise DataError(
            f"{labels_file}: {len(labels)} labels, but {images_file.name} has {len(images)} images; "
            "take both from one release"
        )
    table = pd.DataFrame({"id": training_ids(len(images)), "label": [str(label) for label in labels]})
    return Dataset.build("idx", [images[:, None]], table, settings.subset, Conversion.of(settings))


def read_idx(path: Path, n_dimensions: int) -> np.ndarray:
    """The array in an IDX file, uint8 with `n_dimensions` non-empty dimensions. Raises DataError."""
    content, start = read_bytes(path), 4 * (1 + n_dimensions)
    header = content[:start].tobytes()
    if len(header) < start or header[:2] != b"\0\0":
        raise DataError(
            f"{path}: not an IDX file (it begins with {header[:4].hex(' ') or 'nothing'}); download it again"
        )
    if header[2] != UNSIGNED_BYTES:
        raise DataError(f"{path}: values of IDX type 0x{header[2]:02x}, expected 0x08, unsigned bytes; convert it")
    if header[3] != n_dimensions:
        raise DataError(f"{path}: {header[3]} dimension(s), expected {n_dimensions}; images and labels swapped?")
    shape = [int(length) for length in np.frombuffer(header, ">u4", offset=4)]
    found, expected = len(content), start + math.prod(shape)
    if found != expected:
        raise DataError(f"{path}: {found} bytes, but its header gives {shape}, {expected} bytes; download it again")
    if found == start:
        raise DataError(f"{path}: empty, its header gives {shape}; download it again")
    return content[start:].reshape(shape)
