"""The user's files of prompts, captions and descriptors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from guda.core.errors import DataError
from guda.data.datasets.coco_format import CocoFile
from guda.data.datasets.json_files import described, read_json
from guda.data.datasets.table_files import FORMATS, read_table

PROMPT, DESCRIPTORS = "prompt", "descriptors"
OWN_COLUMNS = ("query", "bucket", "file", "sha256")


def read_prompt_table(path: str, key: str) -> list[dict[str, Any]]:
    """Rows of a table of prompts: `prompt`, optionally `descriptors` (a list), and other columns as text or None.

    Raises DataError, which gives the row's position.
    """
    read = read_table(Path(path), key, lists=[DESCRIPTORS]).to_dict("records")
    rows: list[dict[str, Any]] = [{str(name): value for name, value in row.items()} for row in read]
    if not rows:
        raise DataError(f"{key}: {path!r} has no rows")
    for number, row in enumerate(rows, start=1):
        where = f"{key}: {path!r}, row {number}"
        _check_prompt(row.get(PROMPT), where)
        if DESCRIPTORS in row:
            row[DESCRIPTORS] = _phrases(row[DESCRIPTORS], f"{where}: {DESCRIPTORS}")
    return rows


def read_descriptors(path: str, style: str, key: str) -> dict[str, list[str]]:
    """Phrases of each style: from a JSON object, or from a table with columns `style` and `descriptors` (lists).

    Raises DataError.
    """
    where, suffix = f"{key}: {path!r}", Path(path).suffix.lower()
    if suffix in FORMATS and suffix != ".json":
        table = read_table(Path(path), key, lists=[DESCRIPTORS])
        for name in (style, DESCRIPTORS):
            if name not in table.columns:
                raise DataError(f"{where} has no {name!r} in its rows; found {', '.join(table.columns)}")
        pairs = list(zip(table[style], table[DESCRIPTORS], strict=True))
    else:
        value = read_json(path, key)
        if not isinstance(value, dict) or not value:
            raise DataError(f"{where}: expected an object that maps each style to a list of phrases")
        pairs = list(value.items())
    found: dict[str, Any] = {}
    for name, phrases in pairs:
        if name is None:
            raise DataError(f"{where} has a row without a {style}; name it")
        known = found.setdefault(name, [])
        known += [each for each in _phrases(phrases, f"{where}: {name!r}") if each not in known]
    return found


def read_captions(path: str, key: str) -> dict[str, list[str]]:
    """Captions by image file name, from a file in COCO's annotations format, in its order. Raises DataError.

    That is an object with `images` (id, file_name) and `annotations` (image_id, caption); null captions are skipped.
    """
    annotated = CocoFile.read(path, key, "COCO captions file")
    files, where = annotated.files(), annotated.where
    captions: dict[str, list[str]] = {name: [] for name in files.values()}
    for annotation in annotated.entries("annotations"):
        number, caption = annotated.number(annotation, "image_id"), annotated.value(annotation, "caption")
        if number not in files:
            raise annotated.problem(f"a caption belongs to image {number}, which `images` lacks")
        if caption is not None:
            captions[files[number]].append(" ".join(annotated.text(annotation, "caption").split()))
    for name, texts in captions.items():
        for text in texts:
            _check_prompt(text, f"{where}: caption of {name!r}")
    return captions


def read_query_prompts(path: str, key: str) -> pd.DataFrame:
    """The prompts to generate queries from: `query` (named by row), `prompt`, and the file's other columns.

    All values are text or None. Raises DataError.
    """
    where, table = f"{key}: {path!r}", read_table(Path(path), key)
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


def _check_prompt(text: Any, where: str) -> None:
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{where} has no {PROMPT}; write one")
    if "\n" in text or "\r" in text:
        raise DataError(f"{where}: the prompt {text[:40]!r} has a line break; write it on one line")


def _phrases(value: Any, where: str) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(each, str) and each.strip() for each in value):
        raise DataError(f"{where}: expected a list of phrases, found {described(value)}")
    return value
