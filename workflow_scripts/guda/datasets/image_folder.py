"""A folder of images. Columns come from a table with a row per image, or from the sub-folders and their metadata."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from guda import config
from guda.datasets.conversion import Conversion
from guda.datasets.dataset import Dataset, chosen_rows
from guda.datasets.file_names import FILES, FileNames, known_files
from guda.datasets.folder_table import RESERVED, table_of_folder
from guda.datasets.image_files import file_digests, image_files, image_shape, read_images
from guda.datasets.tables import read_table
from guda.errors import DataError


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

    Without a table, `table_of_folder` says what is known of the images. `like` is what the images must have the shape
    [C, H, W] of, and the shape; the first image otherwise.
    """
    root = Path(folder)
    if table_file is None:
        table, notes = table_of_folder(root, image_files(root, f"{section}.folder"), f"{section}.folder")
    else:
        table, notes = _read_table(Path(table_file), root, section), []
    dataset = of_files("image_folder", root, table, section, conversion, subset, like)
    return replace(dataset, notes=(*dataset.notes, *notes))


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
    """Columns id and all of the table's own but the files'; rows in its order. Images without a row are left out.

    Raises DataError.
    """
    where = f"{section}.table: {str(path)!r}"
    table = read_table(path, f"{section}.table")
    for name in RESERVED:
        if name in table.columns:
            raise DataError(f"{where}: the column {name!r} is reserved; rename it")
    column = next((name for name in FILES if name in table.columns), None)
    if column is None:
        raise DataError(f"{where} has no column {FILES[0]!r}; found {', '.join(table.columns)}")
    if table.empty:
        raise DataError(f"{where} has no rows")
    known = FileNames(image_files(folder, f"{section}.folder"), folder)
    table.insert(0, "id", known_files(table.pop(column), known, where))
    return table
