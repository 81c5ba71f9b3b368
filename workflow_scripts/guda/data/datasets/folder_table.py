"""Metadata of the images in a folder: from sub-folders, and from metadata files as in the `datasets` library."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pandas as pd

from guda.core.errors import DataError
from guda.data.datasets.file_names import FILES, FileNames, known_files
from guda.data.datasets.table_files import read_table

METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
RESERVED = ("id", "sha256")


def table_of_folder(root: Path, names: list[str], key: str) -> tuple[pd.DataFrame, list[str]]:
    """A row for each of the images `names` under `root`, in their order, and notes for the user.

    Columns are id; label, the sub-folder that the image is in; if any sub-folders are nested, folder_1, folder_2 and so
    on, their names level by level; and those of the metadata files, which replace columns of the same name. `key` is
    the setting that names the folder. Raises DataError.
    """
    folders = [PurePosixPath(name).parts[:-1] for name in names]
    columns: dict[str, list[str | None]] = {"id": [*names], "label": ["/".join(each) or None for each in folders]}
    depth = max(map(len, folders), default=0)
    for level in range(depth if depth > 1 else 0):
        columns[f"folder_{level + 1}"] = [each[level] if len(each) > level else None for each in folders]
    rows, notes = _metadata(root, names, key)
    for column in dict.fromkeys(column for row in rows.values() for column in row):
        columns[column] = [rows.get(name, {}).get(column) for name in names]
    if 0 < len(rows) < len(names):
        notes.append(f"{key}: {len(names) - len(rows)} of {len(names)} images have no row in the folder's metadata")
    return pd.DataFrame(columns, dtype=object), notes


def _metadata(root: Path, names: list[str], key: str) -> tuple[dict[str, dict[str, str | None]], list[str]]:
    """Rows of the metadata files, whose paths count from the files' own folders, by image; and notes."""
    rows: dict[str, dict[str, str | None]] = {}
    notes: list[str] = []
    for file in _metadata_files(root, names, key):
        where, table = f"{key}: {str(file)!r}", read_table(file, key, lenient=True)
        column = next((name for name in FILES if name in table.columns), None)
        if column is None:
            notes.append(f"{where} has no column {FILES[-1]!r}, so it is not read as image metadata")
            continue
        prefix = file.relative_to(root).as_posix().removesuffix(file.name)
        inside = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
        listed = known_files(table.pop(column), FileNames(inside, file.parent), where)
        for name in set(RESERVED) & set(table.columns):
            notes.append(f"{where}: its column {name!r} is left out, since the name is reserved")
        table = table.drop(columns=list(RESERVED), errors="ignore")
        for name, row in zip(listed, table.to_dict("records"), strict=True):
            if prefix + name in rows:
                raise DataError(f"{where} lists {name!r}, as does the metadata of a parent folder; keep one row")
            rows[prefix + name] = {str(column): value for column, value in row.items()}
    return rows, notes


def _metadata_files(root: Path, names: list[str], key: str) -> list[Path]:
    """The metadata files of the folders that lead to an image, outermost first. Raises DataError."""
    folders = {""}
    for folder in {name.rpartition("/")[0] for name in names}:
        folders |= {str(each) for each in (PurePosixPath(folder), *PurePosixPath(folder).parents)} - {"."}
    files = []
    for folder in sorted(folders):
        found = [root / folder / name for name in METADATA if (root / folder / name).is_file()]
        if len(found) > 1:
            both, setting = f"{found[0].name} and {found[1].name}", f"{key.removesuffix('folder')}table"
            raise DataError(f"{key}: {str(root / folder)!r} holds {both}; remove one, or name one in {setting}")
        files += found
    return files
