"""Files of the user's in JSON, and with one JSON object a line."""

from __future__ import annotations

import json
from typing import Any

from guda.errors import DataError
from guda.files import regular


def read_json(path: str, key: str) -> Any:
    """What a JSON file of the user's holds, which the setting `key` names. Raises DataError."""
    return _parsed(_text(path, key), f"{key}: {path!r}")


def read_json_lines(path: str, key: str) -> list[dict[str, Any]]:
    """The objects in a file with one JSON object a line, all with the keys of the first. Raises DataError."""
    where, rows = f"{key}: {path!r}", []
    for number, line in enumerate(_text(path, key).splitlines(), start=1):
        if line.strip():
            row = _parsed(line, f"{where}, line {number}")
            if not isinstance(row, dict):
                raise DataError(f"{where}, line {number}: expected an object, found {line[:40]!r}")
            if rows and row.keys() != rows[0].keys():
                raise DataError(
                    f"{where}, line {number} has the keys {', '.join(row)}, but the first line {', '.join(rows[0])}; "
                    "give each line the same"
                )
            rows.append(row)
    if not rows:
        raise DataError(f"{where} has no rows")
    return rows


def _text(path: str, key: str) -> str:
    try:
        return regular(path).read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{key}: {path!r} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise DataError(f"{key}: {path!r} is no UTF-8 text; convert it") from None


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # the latter for brackets in brackets
        raise DataError(f"{where} is no JSON ({error})") from None
