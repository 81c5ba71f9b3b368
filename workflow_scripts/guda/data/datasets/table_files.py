"""The user's tables: every value as text, None if missing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import compute, types

from guda.core.errors import DataError
from guda.core.files import regular
from guda.data.datasets.delimited import read_delimited
from guda.data.datasets.json_files import described, read_json_rows

DELIMITED, JSON = (".csv", ".tsv", ".tab", ".txt"), (".jsonl", ".ndjson", ".json")
FORMATS = (*DELIMITED, *JSON, ".parquet")
SPREADSHEETS = (".xlsx", ".xlsm", ".xls", ".ods", ".numbers")


def read_table(path: Path, key: str, lists: Collection[str] = (), lenient: bool = False) -> pd.DataFrame:
    """All rows and columns of the user's file that the setting `key` names. Raises DataError.

    Empty fields, nulls and NaNs become None. See `column_text` for the values of Parquet's types, and `scalar_text` for
    those of JSON. Columns named in `lists` may hold lists, which are kept; other columns of lists or objects are
    rejected, as are JSON rows whose keys differ from the first's. `lenient`, for files written by others for other
    purposes, leaves such columns out and treats missing keys as null.
    """
    where, suffix = f"{key}: {str(path)!r}", path.suffix.lower()
    if suffix in SPREADSHEETS:
        raise DataError(f"{where} cannot be read as a table; export the spreadsheet as CSV (in Excel: CSV UTF-8)")
    if suffix not in FORMATS:
        raise DataError(f"{where} cannot be read as a table; known: {', '.join(FORMATS)}")
    if suffix in DELIMITED:
        table = read_delimited(path, where)
    else:
        columns = _of_json(path, key, lists, lenient) if suffix in JSON else _of_parquet(path, where, lists)
        for _, values in columns:
            if isinstance(values, str) and not lenient:
                raise DataError(f"{where}{values}")
        columns = [(name.strip(), values) for name, values in columns if not isinstance(values, str)]
        frame = pd.DataFrame({place: values for place, (_, values) in enumerate(columns)}, dtype=object)
        table = frame.set_axis([name for name, _ in columns], axis="columns")
    for name, count in Counter(table.columns).items():
        if count > 1:
            raise DataError(f"{where} has two columns {name!r}; rename one")
    return table


def scalar_text(value: Any) -> str | None:
    """A JSON scalar as text: integers without a point, true and false; None for null and the empty string."""
    if value is None or isinstance(value, str):
        return value or None
    return json.dumps(value)


def is_scalar(kind: pa.DataType) -> bool:
    """Whether values of this Arrow type can be written as text: strings, numbers, booleans, dates and times can."""
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
    """Each value of a scalar column as text, as Arrow writes it to CSV; timestamps as in ISO 8601.

    So integers have no point (1950, also beside nulls), booleans are true and false, a category is its value, and dates
    are 2020-01-31. Null, NaN and the empty string are None.
    """
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if types.is_timestamp(column.type):
        return [value and value.isoformat() for value in column.to_pylist()]
    column = compute.if_else(compute.is_null(column, nan_is_null=True), None, column)
    return [text or None for text in column.cast(pa.string()).to_pylist()]


# Columns as pairs of a name and its values, or the error text for a column that cannot be text.
Columns = list[tuple[str, list[Any] | str]]


def _of_json(path: Path, key: str, lists: Collection[str], lenient: bool) -> Columns:
    rows = read_json_rows(str(path), key, same_keys=not lenient)
    names = dict.fromkeys(name for row in rows for name in row)
    return [(name, _json_column([row.get(name) for row in rows], name, name in lists)) for name in names]


def _json_column(values: list[Any], name: str, lists: bool) -> list[Any] | str:
    texts = []
    for number, value in enumerate(values, start=1):
        if isinstance(value, dict) or (isinstance(value, list) and not lists):
            return f", row {number}: {name} is {described(value)}, expected a text; remove it"
        texts.append(value if isinstance(value, list) else scalar_text(value))
    return texts


def _of_parquet(path: Path, where: str, lists: Collection[str]) -> Columns:
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(regular(path)) as file:
            table = file.read()
        return [
            (field.name, _parquet_column(table.column(place), field, field.name in lists))
            for place, field in enumerate(table.schema)
        ]
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{where} cannot be read as Parquet ({' '.join(str(error).split())})") from None


def _parquet_column(column: pa.ChunkedArray, field: pa.Field, lists: bool) -> list[Any] | str:
    if lists and (types.is_list(field.type) or types.is_large_list(field.type)):
        return column.to_pylist()
    if not is_scalar(field.type):
        return f": column {field.name!r} is of type {field.type}, which is not text; remove it"
    return column_text(column)
