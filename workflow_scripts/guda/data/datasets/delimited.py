"""Tables in delimited text, as written by spreadsheets and people: with commas, semicolons or tabs."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from guda.core.errors import DataError
from guda.core.files import regular

MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
DECIMAL_COMMA = re.compile(r"[+-]?\d+(,\d+)?")
CURE = "save it as UTF-8 (in Excel: CSV UTF-8)"


def read_delimited(path: Path, where: str) -> pd.DataFrame:
    """All values as text, stripped of spaces, None if empty. `where` begins error messages.

    Rows without any value are left out. A column without a name is named as by pandas, e.g. `Unnamed: 0`. If commas are
    not the delimiter, decimal commas in a purely numeric column become points. Raises DataError for a row that is
    shorter than the header, or longer by more than empty fields.
    """
    where = f"{where} cannot be read as CSV"
    text = _text(path, where)
    if separator := re.match(r"sep=(.)\r?\n", text):  # written and read by Excel
        text, delimiter = text[separator.end() - 1 :], separator[1]
    else:
        possible = "\t,;|" if path.suffix.lower() in (".tsv", ".tab") else ",;\t|"
        delimiter = max(possible, key=lambda each: _delimits(text, each))  # the first among equals
    rows = _rows(text, delimiter, where)
    _, header = next(rows, (0, []))
    if not header:
        raise DataError(f"{where} (No columns: it is empty); its first line must name them")
    needed = max(place for place, name in enumerate(header, start=1) if name)
    names = [name or f"Unnamed: {place}" for place, name in enumerate(header)]
    columns = [list(values) for values in zip(*_fitted(rows, needed, len(names), where), strict=True)]
    if delimiter != ",":
        columns = [_with_points(values) for values in columns]
    found = dict(enumerate(columns or [[] for _ in names]))
    return pd.DataFrame(found, dtype=object).set_axis(names, axis="columns")


def _text(path: Path, where: str) -> str:
    """A file's text, in UTF-8, or in UTF-16 with a byte-order mark. Raises DataError."""
    try:
        content = regular(path).read_bytes()
    except OSError as error:
        raise DataError(f"{where} ({error.strerror})") from None
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{where} (line {line} has the byte 0x{content[error.start]:02x}, which is not {encoding}); {CURE}"
        ) from None
    if "\0" in text:
        raise DataError(f"{where} (it has zero bytes, so it is not text); {CURE}")
    return text


def _delimits(text: str, delimiter: str) -> int:
    """Whether it splits the header (1), and the first row as well (2)."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        header: list[str]
        first: list[str]
        header, first, *_ = [*itertools.islice((row for row in rows if any(map(str.strip, row))), 2), [], []]
    except csv.Error:
        return 0
    alike = len(header) <= len(first) and not any(first[len(header) :])
    return (len(header) > 1) * (1 + alike)


def _rows(text: str, delimiter: str, where: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that have a value, each with the number of its first line. Raises DataError."""
    csv.field_size_limit(2**31 - 1)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        line = rows.line_num + 1
        try:
            fields = [field.strip() for field in next(rows)]
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"{where} (line {line}: {error}); quotes must enclose a whole value, and be doubled inside it"
            ) from None
        if any(fields):
            yield line, fields


def _fitted(rows: Iterator[tuple[int, list[str]]], needed: int, width: int, where: str) -> Iterator[list[str | None]]:
    """Rows of `width` values, of which those after the first `needed` may be missing. Raises DataError."""
    for line, fields in rows:
        if len(fields) < needed or any(fields[width:]):
            cure = "leave missing values empty" if len(fields) < needed else "quote values that contain a delimiter"
            raise DataError(f"{where} (line {line} has {len(fields)} field(s), the header {width}); {cure}")
        yield [value or None for value in [*fields, *[""] * width][:width]]


def _with_points(values: list[str | None]) -> list[str | None]:
    """A column with decimal commas turned into points, if it holds only numbers."""
    known = [value for value in values if value]
    if not all(DECIMAL_COMMA.fullmatch(value) for value in known):
        return values
    return [value and value.replace(",", ".") for value in values]
