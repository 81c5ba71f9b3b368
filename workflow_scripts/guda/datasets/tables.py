"""Tables of the user's, in CSV or Parquet: every value as text, None where there is none."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import compute, types

from guda.artifacts import read_csv
from guda.errors import DataError
from guda.files import regular

FORMATS = {".csv": "CSV", ".parquet": "Parquet"}


def read_table(path: Path, key: str) -> pd.DataFrame:
    """All rows and columns of a file of the user's, which the setting `key` names. Raises DataError.

    What an empty field, a null or a NaN stands for is None. See `column_text` for the values of Parquet's types.
    """
    where, suffix = f"{key}: {str(path)!r}", path.suffix.lower()
    if suffix not in FORMATS:
        raise DataError(f"{where} is no table that can be read; known: {', '.join(FORMATS)}")
    try:
        return _read_parquet(path, where) if suffix == ".parquet" else _read_csv(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{where} cannot be read as {FORMATS[suffix]} ({' '.join(str(error).split())})") from None


def is_scalar(kind: pa.DataType) -> bool:
    """Whether values of this type of Arrow have a text: text, numbers, booleans, dates and times do."""
    if types.is_dictionary(kind):
        return is_scalar(kind.value_type)
    return any(
        fits(kind)
        for fits in (
            types.is_string,
            types.is_large_string,
            types.is_string_view,
            types.is_boolean,
            types.is_integer,
            types.is_floating,
            types.is_decimal,
            types.is_date,
            types.is_time,
            types.is_timestamp,
            types.is_null,
        )
    )


def column_text(column: pa.ChunkedArray) -> list[str | None]:
    """The text of each value of a scalar column, as Arrow writes it to CSV; of times with a date, that of ISO 8601.

    So whole numbers have no point (1950, also beside nulls), booleans are true and false, a category is its value, and
    dates are 2020-01-31. Null, NaN and the empty text are None.
    """
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if types.is_timestamp(column.type):
        return [value and value.isoformat() for value in column.to_pylist()]
    column = compute.if_else(compute.is_null(column, nan_is_null=True), None, column)
    return [text or None for text in column.cast(pa.string()).to_pylist()]


def _read_csv(path: Path) -> pd.DataFrame:
    return read_csv(path).astype(object).replace({"": None})


def _read_parquet(path: Path, where: str) -> pd.DataFrame:
    """Raises DataError, which begins with `where`, for columns that no table of text can hold."""
    from pyarrow import parquet

    with parquet.ParquetFile(regular(path)) as file:
        table = file.read()
    for field in table.schema:
        if not is_scalar(field.type):
            raise DataError(f"{where}: column {field.name!r} is of type {field.type}, which is no text; remove it")
        if table.column_names.count(field.name) > 1:
            raise DataError(f"{where} has two columns {field.name!r}; rename one")
    return pd.DataFrame({name: column_text(table[name]) for name in table.column_names}, dtype=object)
