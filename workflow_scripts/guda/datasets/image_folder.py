"""A folder of images. Columns come from a table with a row per image, or from the sub-folders and their metadata."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from guda import config
from guda.datasets.conversion import Conversion
from guda.datasets.dataset import Dataset, chosen_rows
from guda.datasets.file_names import FILES, FileNames
from guda.datasets.image_files import file_digests, image_files, image_shape, read_images
from guda.datasets.tables import read_table
from guda.errors import DataError

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
    """Columns id and all of the table's own but the files'; rows in its order. Images without a row are left out.

    Raises DataError.
    """
    where = f"{section}.table: {str(path)!r}"
    table = read_table(path, f"{section}.table")
    for name in RESERVED:
        if name in table.columns:
            raise DataError(f"{where}: the column {name!r} is reserved; rename it")
    names = listed_files(table, FileNames(image_files(folder, f"{section}.folder"), folder), where)
    if table.empty:
        raise DataError(f"{where} has no rows")
    table.insert(0, "id", names)
    return table


def listed_files(table: pd.DataFrame, known: FileNames, where: str) -> list[str]:
    """The known names of the files that a table's rows are about; takes that column out of it. Raises DataError."""
    column = next((name for name in FILES if name in table.columns), None)
    if column is None:
        raise DataError(f"{where} has no column {FILES[0]!r}; found {', '.join(table.columns)}")
    listed = table.pop(column)
    if listed.isna().any():
        raise DataError(f"{where} has a row without a value in {column!r}; name its image")
    return known_files(listed, known, where)


def known_files(listed: Iterable[str], known: FileNames, where: str) -> list[str]:
    """The known name of each file. Raises DataError for one that is not known, or listed twice."""
    names = {}
    for name in listed:
        found = known.find(name, where)
        if found is None:
            raise DataError(
                f"{where} lists {name!r}, but there is no such image in {str(known.folder)!r}; {known.nearest(name)}"
            )
        if found in names:
            raise DataError(f"{where} lists {found!r} twice; keep one row")
        names[found] = None
    return list(names)
