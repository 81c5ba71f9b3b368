"""What every dataset gives: images, and a table with one row an image."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from guda import config
from guda.artifacts import CURE
from guda.datasets.conversion import AS_IT_IS, Conversion, fit_all
from guda.errors import ArtifactError, DataError
from guda.noise import chosen
from guda.specs import ImagesSpec, TableSpec, digest, digest_lines


def check_table(path: str | Path, content: str) -> None:
    """Raise ArtifactError unless the training table in the file has the expected digest."""
    if digest(Path(path).read_bytes()) != content:
        raise ArtifactError(f"{path}: not the training table of this configuration, or altered. {CURE}")


def chosen_rows(ids: list[str], subset: config.Subset | None) -> list[int]:
    """Rows of the images that are used, ascending; a new image takes the place of one at most."""
    if subset is None:
        return list(range(len(ids)))
    return chosen(ids, subset.count, "subset", subset.seed)


@dataclass(frozen=True)
class Dataset:
    """N images in the order of `table`, whose columns are id, sha256 and any others; an empty value is None.

    `sha256` is that of an image's raw bytes, or of its file. Planning reads `table`, `image_shape` ([C, H, W]) and
    `conversion` alone; `load_images` gives the pixels, uint8 [N, C, H, W], with the conversion done.
    """

    name: str
    table: pd.DataFrame
    image_shape: tuple[int, int, int]
    load_images: Callable[[], np.ndarray]
    conversion: Conversion = AS_IT_IS

    @classmethod
    def build(
        cls,
        name: str,
        images: np.ndarray,
        table: pd.DataFrame,
        subset: config.Subset | None = None,
        conversion: Conversion = AS_IT_IS,
    ) -> Dataset:
        """A dataset in memory: adds each image's sha256 to a table that has the ids and the other columns.

        Of `images` and `table`, only the `subset` is kept; the conversion is done when the images are asked for.
        Raises DataError unless the images are uint8 [N, C, H, W] with one row of the table each.
        """
        if images.dtype != np.uint8 or images.ndim != 4:
            raise DataError(
                f"dataset {name!r}: images must be uint8 [N, C, H, W], found {images.dtype} {list(images.shape)}"
            )
        if len(images) != len(table):
            raise DataError(f"dataset {name!r}: {len(images)} images, but {len(table)} rows in the table")
        rows = chosen_rows(list(table["id"]), subset)
        table = table.iloc[rows].reset_index(drop=True)
        table.insert(1, "sha256", [hashlib.sha256(images[row].tobytes()).hexdigest() for row in rows])
        shape = conversion.shape(images.shape[1:])
        return cls(name, table, shape, lambda: fit_all(images if subset is None else images[rows], shape), conversion)

    @cached_property
    def images(self) -> np.ndarray:
        """All images, uint8 [N, C, H, W]."""
        return self.load_images()

    def images_spec(self) -> ImagesSpec:
        lines = list(self.table["id"] + " " + self.table["sha256"])
        if self.conversion != AS_IT_IS:
            lines.append(f"as {list(self.image_shape)}")
        return ImagesSpec(dataset=self.name, content=digest_lines(lines))

    def table_spec(self) -> TableSpec:
        return TableSpec(dataset=self.name, content=digest(self.table.to_csv(index=False)))
