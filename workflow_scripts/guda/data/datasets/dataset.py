"""What every dataset provides: images, and a table with one row per image."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from guda import config
from guda.core.artifacts import Stream
from guda.core.errors import DataError
from guda.core.seeding import chosen
from guda.data.datasets.conversion import AS_IT_IS, Conversion, fit_array
from guda.data.datasets.encoded import Encoded
from guda.specs import ImagesSpec, TableSpec, digest, digest_lines


def chosen_rows(ids: list[str], subset: config.Subset | None) -> list[int]:
    """Rows of the images that are used, ascending; a new image replaces at most one."""
    if subset is None:
        return list(range(len(ids)))
    return chosen(ids, subset.count, "subset", subset.seed)


@dataclass(frozen=True)
class Dataset:
    """N images in the order of `table`, whose columns are id, sha256 and any others; an empty value is None.

    `sha256` is that of an image's raw bytes or of its file. Planning reads only `table`, `image_shape` ([C, H, W]) and
    `conversion`; `load_images` yields the converted pixels of some rows (ascending), uint8 [C, H, W] per image.
    `held_out` are the images that the configuration keeps out of training as queries, `kept_aside` those that no model
    sees, for the base model's loss on them; `notes` are for the user, one sentence each. `encoded` are the images as
    stored in their files, if planning has to check that they can be decoded.
    """

    name: str
    table: pd.DataFrame
    image_shape: tuple[int, int, int]
    load_images: Callable[[Sequence[int]], Iterator[np.ndarray]]
    conversion: Conversion = AS_IT_IS
    held_out: Dataset | None = None
    kept_aside: Dataset | None = None
    notes: tuple[str, ...] = ()
    encoded: Encoded | None = None

    @classmethod
    def of_encoded(cls, name: str, table: pd.DataFrame, encoded: Encoded, notes: tuple[str, ...] = ()) -> Dataset:
        """A dataset of encoded images, whose SHA-256 are in the table; they are decoded on demand."""
        digests = list(table["sha256"])
        return cls(
            name=name,
            table=table,
            image_shape=encoded.shape,
            load_images=lambda rows: encoded.images(rows, [digests[row] for row in rows]),
            conversion=encoded.conversion,
            notes=notes,
            encoded=encoded,
        )

    @classmethod
    def build(
        cls,
        name: str,
        images: list[np.ndarray],
        table: pd.DataFrame,
        subset: config.Subset | None = None,
        conversion: Conversion = AS_IT_IS,
    ) -> Dataset:
        """A dataset of arrays, possibly memory-mapped: adds each image's sha256 to a table of all other columns.

        Of `images` (the concatenated arrays) and `table`, only the `subset` is kept. Images are converted on demand.
        Raises DataError unless all are uint8 [N, C, H, W] with one row of the table each.
        """
        for array in images:
            if array.dtype != np.uint8 or array.ndim != 4:
                raise DataError(
                    f"dataset {name!r}: images must be uint8 [N, C, H, W], found {array.dtype} {list(array.shape)}"
                )
        n_images = sum(map(len, images))
        if n_images != len(table):
            raise DataError(f"dataset {name!r}: {n_images} images, but {len(table)} rows in the table")
        rows = chosen_rows(list(table["id"]), subset)
        starts = np.cumsum([0, *map(len, images)]).tolist()

        def as_it_is(row: int) -> np.ndarray:
            which = bisect_right(starts, row) - 1
            return images[which][row - starts[which]]

        table = table.iloc[rows].reset_index(drop=True)
        table.insert(1, "sha256", [hashlib.sha256(as_it_is(row).tobytes()).hexdigest() for row in rows])
        shape = conversion.shape(images[0].shape[1:])
        return cls(name, table, shape, lambda some: (fit_array(as_it_is(rows[row]), shape) for row in some), conversion)

    @cached_property
    def images(self) -> np.ndarray:
        """All images at once in memory, uint8 [N, C, H, W]."""
        return np.stack(list(self.load_images(range(len(self.table)))))

    def stream(self) -> Stream:
        """All images, as parts to write to a file."""
        n_images = len(self.table)
        return Stream("uint8", (n_images, *self.image_shape), self.load_images(range(n_images)))

    def select(self, rows: Sequence[int]) -> Dataset:
        """The dataset with only these rows (ascending)."""
        table = self.table.iloc[list(rows)].reset_index(drop=True)
        encoded = self.encoded and self.encoded.select(rows)

        def load_images(some: Sequence[int]) -> Iterator[np.ndarray]:
            return self.load_images([rows[row] for row in some])

        return replace(self, table=table, load_images=load_images, encoded=encoded)

    def without(self, held_out: config.Subset) -> Dataset:
        """The dataset without its `held_out` images, which a hash of the ids chooses. Raises DataError."""
        rows = chosen(list(self.table["id"]), held_out.count, "held out", held_out.seed)
        return replace(self._leaving(rows, held_out.count, "data.held_out.count"), held_out=self.select(rows))

    def keeping_aside(self, count: int) -> Dataset:
        """The dataset without its `kept_aside` images, chosen likewise. Raises DataError."""
        rows = chosen(list(self.table["id"]), count, "kept aside")
        return replace(self._leaving(rows, count, "data.kept_aside"), kept_aside=self.select(rows))

    def _leaving(self, rows: list[int], asked: int, key: str) -> Dataset:
        """The dataset without these rows, of which the key requested `asked`."""
        if len(rows) == len(self.table):
            raise DataError(f"{key} is {asked}, but there are only {len(rows)} images; lower it")
        left_out = set(rows)
        return self.select([row for row in range(len(self.table)) if row not in left_out])

    def images_spec(self) -> ImagesSpec:
        lines = list(self.table["id"] + " " + self.table["sha256"])
        if self.conversion != AS_IT_IS:
            lines.append(f"as {list(self.image_shape)}")
        return ImagesSpec(dataset=self.name, content=digest_lines(lines))

    def table_spec(self) -> TableSpec:
        return TableSpec(dataset=self.name, content=self._table_digest)

    @cached_property
    def _table_digest(self) -> str:
        return digest(self.table.to_csv(index=False))
