"""The user's files in JSON, and with one JSON object per line."""

from __future__ import annotations

from typing import Any

from guda.core.errors import DataError
from guda.core.files import regular
from guda.core.json_text import parse_json


def read_json(path: str, key: str) -> Any:
    """The content of the user's JSON file that the setting `key` names. Raises DataError."""
    return _parsed(_text(path, key), f"{key}: {path!r}")


def read_json_rows(path: str, key: str, same_keys: bool = True) -> list[dict[str, Any]]:
    """The objects in a file with one JSON object per line, or with a list of them.

    Raises DataError, also if all must have the `same_keys` and one's keys differ from the first's.
    """
    where, text = f"{key}: {path!r}", _text(path, key)
    if text.lstrip().startswith("["):
        kind, numbered = "row", list(enumerate(_parsed(text, where), start=1))
    else:
        lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
        kind, numbered = "line", [(number, _parsed(line, f"{where}, line {number}")) for number, line in lines]
    for number, row in numbered:
        if not isinstance(row, dict):
            raise DataError(f"{where}, {kind} {number}: expected an object, found {described(row)}")
        first = numbered[0][1]
        if same_keys and row.keys() != first.keys():
            raise DataError(
                f"{where}, {kind} {number} has the keys {', '.join(row)}, but the first {kind} {', '.join(first)}; "
                "give each the same keys, with null for missing values"
            )
    if not numbered:
        raise DataError(f"{where} has no rows")
    return [row for _, row in numbered]


def described(value: Any) -> str:
    """A JSON value as shown in an error."""
    kinds = {dict: "an object", list: "a list", bool: str(value).lower(), type(None): "null"}
    return kinds.get(type(value)) or repr(value)[:40]


def _text(path: str, key: str) -> str:
    try:
        return regular(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{key}: {path!r} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise DataError(f"{key}: {path!r} is not UTF-8 text; convert it") from None


def _parsed(text: str, where: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise DataError(f"{where} is not readable JSON ({error})") from None
