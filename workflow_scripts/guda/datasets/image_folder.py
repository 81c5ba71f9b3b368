"""A folder of images. Columns come from a table (CSV or Parquet) with a row per image, or from the sub-folders."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pandas as pd

from guda import config
from guda.datasets.conversion import Conversion
from guda.datasets.dataset import Dataset, chosen_rows
from guda.datasets.image_files import file_digests, image_files, image_shape, read_images
from guda.datasets.tables import read_table
from guda.errors import DataError

KEY = "data.folder"
FILE = "file"
RESERVED = ("id", "sha256")


def load(settings: config.Data) -> Dataset:
    """An image's id is its path relative to the folder. Without a table, `label` is the sub-folder it lies in."""
    folder = Path(settings.folder)
    if settings.table is None:
        names = image_files(folder, KEY)
        labels = [str(PurePosixPath(name).parent) for name in names]
        table = pd.DataFrame({"id": names, "label": labels}).replace({"label": {".": None}})
    else:
        table = _read_table(Path(settings.table), folder)
    table = table.iloc[chosen_rows(list(table["id"]), settings.subset)].reset_index(drop=True)
    names, conversion = list(table["id"]), Conversion.of(settings)
    digests = file_digests(folder, names, KEY)
    table.insert(1, "sha256", digests)
    like, shape = f"{names[0]!r}", image_shape(folder / names[0], conversion)
    return Dataset(
        name="image_folder",
        table=table,
        image_shape=shape,
        load_images=lambda: read_images(folder, names, digests, shape, like, conversion),
        conversion=conversion,
    )


def _read_table(path: Path, folder: Path) -> pd.DataFrame:
    """Columns id and all of the table's own but `file`; rows in its order. Images without a row are left out."""
    table = read_table(path, "data.table")
    if FILE not in table.columns:
        raise DataError(f"data.table: {str(path)!r} has no column {FILE!r}; found {', '.join(table.columns)}")
    for name in RESERVED:
        if name in table.columns:
            raise DataError(f"data.table: the column {name!r} of {str(path)!r} is reserved; rename it")
    if table[FILE].isna().any():
        raise DataError(f"data.table: {str(path)!r} has a row without a value in {FILE!r}; name its image")
    repeated = table[FILE][table[FILE].duplicated()]
    if len(repeated):
        raise DataError(f"data.table: {str(path)!r} lists {repeated.iloc[0]!r} twice; keep one row")
    known = set(image_files(folder, KEY))
    for name in table[FILE]:
        if name not in known:
            raise DataError(f"data.table: {str(path)!r} lists {name!r}, but there is no such image in {str(folder)!r}")
    if table.empty:
        raise DataError(f"data.table: {str(path)!r} has no rows")
    table.insert(0, "id", table.pop(FILE))
    return table
