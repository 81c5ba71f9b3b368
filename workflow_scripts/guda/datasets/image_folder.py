"""A folder of images. Columns come from a table (CSV or Parquet) with a row per image, or from the sub-folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from guda import config
from guda.datasets.conversion import Conversion
from guda.datasets.dataset import Dataset, chosen_rows
from guda.datasets.image_files import file_digests, image_files, image_shape, read_images
from guda.datasets.tables import read_table
from guda.errors import DataError

FILE = "file"
RESERVED = ("id", "sha256")


def load(settings: config.Data) -> Dataset:
    """The training images in a folder."""
    return read_folder(settings.folder, settings.table, "data", Conversion.of(settings), settings.subset)


def read_folder(
    folder: str,
    table_file: str | None,
    section: str,
    conversion: Conversion,
    subset: config.Subset | None = None,
    like: tuple[str, tuple[int, int, int]] | None = None,
) -> Dataset:
    """Images in a folder, each with its path relative to it as its id; `section` of the configuration names it.

    Without a table, `label` is the sub-folder that an image lies in. `like` is what the images must have the shape
    [C, H, W] of, and the shape; the first image otherwise.
    """
    root = Path(folder)
    if table_file is None:
        names = image_files(root, f"{section}.folder")
        labels = [str(PurePosixPath(name).parent) for name in names]
        table = pd.DataFrame({"id": names, "label": labels}).replace({"label": {".": None}})
    else:
        table = _read_table(Path(table_file), root, section)
    return of_files("image_folder", root, table, section, conversion, subset, like)


def of_files(
    name: str,
    root: Path,
    table: pd.DataFrame,
    section: str,
    conversion: Conversion,
    subset: config.Subset | None = None,
    like: tuple[str, tuple[int, int, int]] | None = None,
) -> Dataset:
    """The images in files under `root` that a table names in its column id. Raises DataError for one not readable."""
    table = table.iloc[chosen_rows(list(table["id"]), subset)].reset_index(drop=True)
    names = list(table["id"])
    digests = file_digests(root, names, f"{section}.folder")
    table.insert(1, "sha256", digests)
    whose, shape = like or (f"{names[0]!r}", image_shape(root / names[0], conversion))

    def load_images(rows: Sequence[int]) -> Iterator[np.ndarray]:
        return read_images(root, [names[row] for row in rows], [digests[row] for row in rows], shape, whose, conversion)

    return Dataset(name, table, shape, load_images, conversion)


def _read_table(path: Path, folder: Path, section: str) -> pd.DataFrame:
    """Columns id and all of the table's own but `file`; rows in its order. Images without a row are left out."""
    where = f"{section}.table: {str(path)!r}"
    table = read_table(path, f"{section}.table")
    if FILE not in table.columns:
        raise DataError(f"{where} has no column {FILE!r}; found {', '.join(table.columns)}")
    for name in RESERVED:
        if name in table.columns:
            raise DataError(f"{where}: the column {name!r} is reserved; rename it")
    if table[FILE].isna().any():
        raise DataError(f"{where} has a row without a value in {FILE!r}; name its image")
    repeated = table[FILE][table[FILE].duplicated()]
    if len(repeated):
        raise DataError(f"{where} lists {repeated.iloc[0]!r} twice; keep one row")
    known = set(image_files(folder, f"{section}.folder"))
    for name in table[FILE]:
        if name not in known:
            raise DataError(f"{where} lists {name!r}, but there is no such image in {str(folder)!r}")
    if table.empty:
        raise DataError(f"{where} has no rows")
    table.insert(0, "id", table.pop(FILE))
    return table
