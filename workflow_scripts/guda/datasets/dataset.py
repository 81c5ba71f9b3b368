"""What every dataset gives: images, and a table with one row an image."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
    `conversion` alone; `load_images` gives the pixels of some rows, uint8 [n, C, H, W], with the conversion done.
    `held_out` are the images that the configuration keeps out of training.
    """

    name: str
    table: pd.DataFrame
    image_shape: tuple[int, int, int]
    load_images: Callable[[Sequence[int]], np.ndarray]
    conversion: Conversion = AS_IT_IS
    held_out: Dataset | None = None

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
        kept = np.array(rows)
        return cls(name, table, shape, lambda some: fit_all(images[kept[some]], shape), conversion)

    @cached_property
    def images(self) -> np.ndarray:
        """All images, uint8 [N, C, H, W]."""
        return self.load_images(range(len(self.table)))

    def select(self, rows: Sequence[int]) -> Dataset:
        """The dataset of these rows alone, in their order."""
        table = self.table.iloc[rows].reset_index(drop=True)
        return replace(self, table=table, load_images=lambda some: self.load_images([rows[row] for row in some]))

    def without(self, held_out: config.Subset) -> Dataset:
        """The dataset without some images, its `held_out`, chosen by a hash of their ids. Raises DataError."""
        rows = chosen(list(self.table["id"]), held_out.count, "held out", held_out.seed)
        if len(rows) == len(self.table):
            raise DataError(f"data.held_out.count is {held_out.count}, but there are only {len(rows)} images; lower it")
        left_out = set(rows)
        kept = [row for row in range(len(self.table)) if row not in left_out]
        return replace(self.select(kept), held_out=self.select(rows))

    def images_spec(self) -> ImagesSpec:
        lines = list(self.table["id"] + " " + self.table["sha256"])
        if self.conversion != AS_IT_IS:
            lines.append(f"as {list(self.image_shape)}")
        return ImagesSpec(dataset=self.name, content=digest_lines(lines))

    def table_spec(self) -> TableSpec:
        return TableSpec(dataset=self.name, content=digest(self.table.to_csv(index=False)))
