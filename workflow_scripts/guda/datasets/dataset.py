"""What every dataset gives: images, and a table with one row an image."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from guda.artifacts import CURE
from guda.errors import ArtifactError, DataError
from guda.specs import ImagesSpec, TableSpec, digest, digest_lines


def check_table(path: str | Path, content: str) -> None:
    """Raise ArtifactError unless the training table in the file has the expected digest."""
    if digest(Path(path).read_bytes()) != content:
        raise ArtifactError(f"{path}: not the training table of this configuration, or altered. {CURE}")


@dataclass(frozen=True)
class Dataset:
    """N images in the order of `table`, whose columns are id, sha256 and any others; an empty value is None.

    `sha256` is that of an image's raw bytes, or of its file. Planning reads `table` and `image_shape` ([C, H, W])
    alone; `load_images` gives the pixels, uint8 [N, C, H, W].
    """

    name: str
    table: pd.DataFrame
    image_shape: tuple[int, int, int]
    load_images: Callable[[], np.ndarray]

    @classmethod
    def build(cls, name: str, images: np.ndarray, table: pd.DataFrame) -> Dataset:
        """A dataset in memory: adds each image's sha256 to a table that has the ids and the other columns.

        Raises DataError unless the images are uint8 [N, C, H, W] with one row of the table each.
        """
        if images.dtype != np.uint8 or images.ndim != 4:
            raise DataError(
                f"dataset {name!r}: images must be uint8 [N, C, H, W], found {images.dtype} {list(images.shape)}"
            )
        if len(images) != len(table):
            raise DataError(f"dataset {name!r}: {len(images)} images, but {len(table)} rows in the table")
        table = table.copy()
        table.insert(1, "sha256", [hashlib.sha256(image.tobytes()).hexdigest() for image in images])
        return cls(name, table, images.shape[1:], lambda: images)

    @cached_property
    def images(self) -> np.ndarray:
        """All images, uint8 [N, C, H, W]."""
        return self.load_images()

    def images_spec(self) -> ImagesSpec:
        rows = self.table["id"] + " " + self.table["sha256"]
        return ImagesSpec(dataset=self.name, content=digest_lines(rows))

    def table_spec(self) -> TableSpec:
        return TableSpec(dataset=self.name, content=digest(self.table.to_csv(index=False)))
