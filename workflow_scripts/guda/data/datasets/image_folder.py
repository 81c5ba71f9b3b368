"""A folder of images. Columns come from a table with a row per image, or from the sub-folders and their metadata."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from guda import config
from guda.core.errors import DataError
from guda.data.datasets.conversion import Conversion
from guda.data.datasets.dataset import Dataset, chosen_rows
from guda.data.datasets.encoded import Encoded, readable_shape
from guda.data.datasets.file_names import FILES, FileNames, known_files
from guda.data.datasets.folder_table import RESERVED, table_of_folder
from guda.data.datasets.image_files import Listing, contents, digest_or_none, list_images, some
from guda.data.datasets.soundness import faults, refusal
from guda.data.datasets.table_files import read_table


def load(settings: config.Data) -> Dataset:
    """The training images in a folder."""
    return read_folder(settings.root, settings.table, "data", Conversion.of(settings), settings.subset)


def read_folder(
    folder: str,
    table_file: str | None,
    section: str,
    conversion: Conversion,
    subset: config.Subset | None = None,
    like: tuple[str, tuple[int, int, int]] | None = None,
) -> Dataset:
    """Images in a folder named by the `section` of the configuration, with their relative paths as ids.

    Without a table, their metadata comes from `table_of_folder`. `like` names what the images must match, with its
    shape [C, H, W]; by default, the first readable image.
    """
    root = Path(folder)
    listing = list_images(root, f"{section}.folder")
    notes = listing.notes(root, f"{section}.folder")
    if table_file is None:
        table, of_table = table_of_folder(root, listing.images, f"{section}.folder")
        notes += tuple(of_table)
    else:
        table = _read_table(Path(table_file), FileNames(listing.images, root), section)
        notes += _without_row(listing, table, table_file, section)
    return of_files("image_folder", root, table, conversion, subset, like, notes)


def of_files(
    name: str,
    root: Path,
    table: pd.DataFrame,
    conversion: Conversion,
    subset: config.Subset | None = None,
    like: tuple[str, tuple[int, int, int]] | None = None,
    notes: tuple[str, ...] = (),
) -> Dataset:
    """The images in files under `root` that a table names in its column id.

    Raises DataError if a file cannot be read or no image can be decoded, listing all unusable files. `soundness` checks
    later whether the readable ones can be decoded.
    """
    table = table.iloc[chosen_rows(list(table["id"]), subset)].reset_index(drop=True)
    names = list(table["id"])
    table.insert(1, "sha256", [digest_or_none(root / name) for name in names])
    shapes = (readable_shape(*each, conversion) for each in contents(root, names))
    first = like or next(((repr(name), shape) for name, shape in zip(names, shapes, strict=True) if shape), None)
    like_name, shape = first or ("", (0, 0, 0))
    encoded = Encoded(lambda rows: contents(root, [names[row] for row in rows]), shape, like_name, conversion)
    if first is None or table["sha256"].isna().any():
        raise refusal([fault for fault in faults(encoded, range(len(names))) if fault], len(names))
    return Dataset.of_encoded(name, table, encoded, notes)


def _without_row(listing: Listing, table: pd.DataFrame, table_file: str, section: str) -> tuple[str, ...]:
    """A note on images that the table leaves out, if any."""
    left_out = sorted(set(listing.images) - set(table["id"]))
    return (f"{section}.table: images left out, with no row in {table_file!r}: {some(left_out)}",) if left_out else ()


def _read_table(path: Path, known: FileNames, section: str) -> pd.DataFrame:
    """The column id and all of the table's columns except the files', in its order of rows, without other images.

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
    table.insert(0, "id", known_files(table.pop(column), known, where))
    return table
