"""Files of prompts, captions and descriptors, as users have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from guda.datasets.json_files import read_json, read_json_lines
from guda.datasets.tables import read_table
from guda.errors import DataError

PROMPT, DESCRIPTORS = "prompt", "descriptors"
JSON_LINES = (".jsonl", ".ndjson")
OWN_COLUMNS = ("query", "bucket", "file", "sha256")


def read_prompt_table(path: str, key: str) -> list[dict[str, Any]]:
    """Rows of a JSONL file of prompts: `prompt`, perhaps `descriptors` (a list), and columns as text or None.

    Raises DataError, which names the line's place among the rows.
    """
    rows = read_json_lines(path, key)
    for number, row in enumerate(rows, start=1):
        where = f"{key}: {path!r}, row {number}"
        _check_prompt(row.get(PROMPT), where)
        if DESCRIPTORS in row:
            row[DESCRIPTORS] = _phrases(row[DESCRIPTORS], f"{where}: {DESCRIPTORS}")
        for name in row.keys() - {PROMPT, DESCRIPTORS}:
            row[name] = _value(row[name], f"{where}: {name}")
    return rows


def read_descriptors(path: str, style: str, key: str) -> dict[str, list[str]]:
    """Phrases of each style: from a JSON object, or from JSONL rows of the column `style` and `descriptors`.

    Raises DataError.
    """
    where = f"{key}: {path!r}"
    if Path(path).suffix.lower() in JSON_LINES:
        rows = read_json_lines(path, key)
        for name in (style, DESCRIPTORS):
            if name not in rows[0]:
                raise DataError(f"{where} has no {name!r} in its rows; found {', '.join(rows[0])}")
        pairs = [(_value(row[style], f"{where}: {style}"), row[DESCRIPTORS]) for row in rows]
    else:
        value = read_json(path, key)
        if not isinstance(value, dict) or not value:
            raise DataError(f"{where}: expected an object that gives each style a list of phrases")
        pairs = list(value.items())
    found = {}
    for name, phrases in pairs:
        if name is None:
            raise DataError(f"{where} has a row without a {style}; name it")
        known = found.setdefault(name, [])
        known += [each for each in _phrases(phrases, f"{where}: {name!r}") if each not in known]
    return found


def read_captions(path: str, key: str) -> dict[str, list[str]]:
    """Captions of each image's file name, in COCO's order, from its annotations format. Raises DataError.

    That is an object with `images` (id, file_name) and `annotations` (image_id, caption).
    """
    where, value = f"{key}: {path!r}", read_json(path, key)
    try:
        names = {image["id"]: image["file_name"] for image in value["images"]}
        captions: dict[str, list[str]] = {name: [] for name in names.values()}
        for annotation in value["annotations"]:
            captions[names[annotation["image_id"]]].append(" ".join(annotation["caption"].split()))
    except KeyError as error:
        raise DataError(f"{where} is no captions file of COCO: {error} is missing") from None
    except (TypeError, AttributeError):
        raise DataError(f"{where} is no captions file of COCO: give one with `images` and `annotations`") from None
    for name, texts in captions.items():
        for text in texts:
            _check_prompt(text, f"{where}: caption of {name!r}")
    return captions


def read_query_prompts(path: str, key: str) -> pd.DataFrame:
    """The prompts to generate queries from: `query` (by the row's number), `prompt`, and the file's other columns.

    From JSONL, CSV or Parquet. All values are text or None. Raises DataError.
    """
    where = f"{key}: {path!r}"
    if Path(path).suffix.lower() in JSON_LINES:
        rows = [
            {name: _value(value, f"{where}: {name}") for name, value in row.items()}
            for row in read_json_lines(path, key)
        ]
        table = pd.DataFrame(rows, dtype=object)
    else:
        table = read_table(Path(path), key)
    if PROMPT not in table.columns:
        raise DataError(f"{where} has no column {PROMPT!r}; found {', '.join(table.columns)}")
    for name in OWN_COLUMNS:
        if name in table.columns:
            raise DataError(f"{where}: the column {name!r} is reserved; rename it")
    for number, prompt in enumerate(table[PROMPT], start=1):
        _check_prompt(prompt, f"{where}, row {number}")
    if table.empty:
        raise DataError(f"{where} has no rows")
    others = [name for name in table.columns if name != PROMPT]
    table = table[[PROMPT, *others]]
    table.insert(0, "query", [query_id(number) for number in range(len(table))])
    return table


def query_id(number: int) -> str:
    return f"query-{number:06d}"


def _value(value: Any, where: str) -> str | None:
    """A scalar of JSON as a table has it: text, whole numbers without a point, None for null and the empty text."""
    if isinstance(value, (dict, list)):
        raise DataError(f"{where} is {json.dumps(value)[:40]}, expected a text")
    if value is None or isinstance(value, str):
        return value or None
    return json.dumps(value)


def _check_prompt(text: Any, where: str) -> None:
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{where} has no {PROMPT}; write one")
    if "\n" in text or "\r" in text:
        raise DataError(f"{where}: the prompt {text[:40]!r} has a line break; write it on one line")


def _phrases(value: Any, where: str) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(each, str) and each.strip() for each in value):
        raise DataError(f"{where}: expected a list of phrases, found {json.dumps(value)[:40]}")
    return value
