"""JSON, read more strictly than Python does: rejects text that would not be read as the value written."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any

MAX_DIGITS = 300  # digits of an integer; with more than 308 it does not fit a 64-bit float
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(text: str, finite: bool = True) -> Any:
    """The value of a JSON text, with or without a byte-order mark.

    Raises ValueError, with a one-line message, for invalid JSON and for what would cause trouble later: duplicate keys
    in an object, numbers that no float holds, unpaired surrogates, excessive nesting. NaN and Infinity, which Python
    writes although JSON lacks them, are read unless all numbers must be `finite`.
    """
    try:
        value = json.loads(
            text.removeprefix("\ufeff"),
            object_pairs_hook=_object,
            parse_int=_whole_number,
            parse_float=_number,
            parse_constant=_refused if finite else float,
        )
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("brackets are nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError(r"it has half of a character, an escape such as \ud800 without its other half") from None
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        key, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {key[:40]!r} occurs twice in an object")
    return found


def _whole_number(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"the number {text[:10]}... has {len(text)} digits")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


def _refused(text: str) -> None:
    raise ValueError(f"{text} is not a JSON number")
