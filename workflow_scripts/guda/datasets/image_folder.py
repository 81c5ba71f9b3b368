"""A folder of images. Columns come from a table (CSV or Parquet) with a row per image, or from the sub-folders."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pandas as pd

from guda import config
from guda.datasets.conversion import Conversion
from guda.datasets.dataset import Dataset, chosen_rows
from guda.datasets.encoded import Encoded, readable_shape
from guda.datasets.image_files import Listing, contents, digest_or_none, image_files, list_images, some
from guda.datasets.soundness import faults, refusal
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
    [C, H, W] of, and the shape; the first image that is readable otherwise.
    """
    root = Path(folder)
    listing = list_images(root, f"{section}.folder")
    notes = listing.notes(root, f"{section}.folder")
    if table_file is None:
        labels = [str(PurePosixPath(name).parent) for name in listing.images]
        table = pd.DataFrame({"id": listing.images, "label": labels}).replace({"label": {".": None}})
    else:
        table = _read_table(Path(table_file), root, section)
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

    Raises DataError where a file cannot be read or no image can be decoded; it lists all that cannot be used. Whether
    those can be decoded that are readable is a matter of `soundness`.
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
    """A note of the images that the table leaves out, if any."""
    left_out = sorted(set(listing.images) - set(table["id"]))
    return (f"{section}.table: images left out, without a row in {table_file!r}: {some(left_out)}",) if left_out else ()


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
