"""Prompts of the training images, and anchors: prompts for each content in each style.

An image's prompt depends on the seed, the image's id and its row of the training table, an anchor on its content and
style; neither depends on other images.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from guda.config.prompts import DESCRIPTORS, PLACEHOLDER, Prompts, placeholders
from guda.core.artifacts import read_csv
from guda.core.errors import ConfigError, DataError, nearest_name
from guda.core.records import check_recorded
from guda.core.seeding import chosen, derive_seed
from guda.data.datasets import styled_digits
from guda.data.datasets.file_names import FILES, FileNames
from guda.data.prompt_files import PROMPT, read_captions, read_descriptors, read_prompt_table

KEY = "text_to_image.prompts"
OF_DATASETS = {"styled_digits": styled_digits.DESCRIPTORS}


@dataclass(frozen=True)
class PromptBook:
    """`descriptors` of each style, and `given`: the prompts by image id from a file, if there is one.

    `table` is the training table.
    """

    settings: Prompts
    table: pd.DataFrame
    descriptors: dict[str, list[str]]
    given: dict[str, list[str]] | None = None

    @cached_property
    def styles(self) -> list[str]:
        """The styles in the training table, sorted."""
        return self._values("style")

    @cached_property
    def styles_of_images(self) -> pd.Series:
        """The style of each image, by id."""
        return self._column("style").set_axis(self.table["id"])

    @cached_property
    def contents(self) -> list[str]:
        """The contents in the training table, sorted."""
        return self._values("content")

    def of_images(self) -> list[list[str]]:
        """One or more prompts for each row of the training table. Raises DataError for an image that has none.

        They are the image's captions or its rows in the file, at most `prompts_per_image` of them; without a file, that
        many are made from the template, or from the template without a style for an image without one.
        """
        if self.given is not None:
            return [self._chosen(sample_id, self.given[sample_id]) for sample_id in self.table["id"]]
        asked = placeholders(self.settings.template)
        if DESCRIPTORS not in asked and self.settings.style not in asked:
            return [[filled(self.settings.template, row, ())] for row in _rows(self.table)]
        self._column("style")
        return [self._made(row) for row in _rows(self.table)]

    def anchors(self) -> pd.DataFrame:
        """Columns content, style, prompt: `anchors_per_pair` rows for each content in each style.

        Then a row for each content without a style (None). Contents and styles are sorted.
        """
        each = range(self.settings.anchors_per_pair)
        rows: list[tuple[str, str | None, str]] = [
            (content, style, self.prompt(content, style, self.drawn(style, "anchor", content, style, number)))
            for content in self.contents
            for style in self.styles
            for number in each
        ]
        rows += [(content, None, self.content_prompt(content)) for content in self.contents]
        return pd.DataFrame(rows, columns=["content", "style", PROMPT], dtype=object)

    def prompt(self, content: str, style: str, descriptors: Iterable[str]) -> str:
        """The template's prompt for a content in a style. Raises ConfigError if the template needs more."""
        row = {self.settings.content: content, self.settings.style: style}
        return filled(self.settings.template, row, descriptors)

    def content_prompt(self, content: str) -> str:
        """The prompt for the content alone."""
        return filled(self.settings.content_template, {self.settings.content: content}, ())

    def drawn(self, style: str, *parts: str | int) -> list[str]:
        """`per_prompt` descriptors of a style, or all if fewer, in an order shuffled by `parts`."""
        return drawn(self.descriptors_of(style), self.settings.per_prompt, self.settings.seed, *parts)

    def descriptors_of(self, style: str) -> list[str]:
        """Raise DataError for a style without descriptors."""
        if style not in self.descriptors:
            raise DataError(
                f"{KEY}.descriptors: style {style!r} of the training table has no descriptors; add some, or correct "
                f"the style's name ({nearest_name(style, list(self.descriptors))})"
            )
        return self.descriptors[style]

    def _made(self, row: dict[str, Any]) -> list[str]:
        """Prompts of an image, made from a template that describes its style."""
        style, sample_id = row[self.settings.style], row["id"]
        if style is None:
            return [filled(self.settings.content_template, row, ())]
        numbers = range(self.settings.prompts_per_image)
        draws = [self.drawn(style, "image", sample_id, number) for number in numbers]
        return [filled(self.settings.template, row, each) for each in draws]

    def _chosen(self, sample_id: str, texts: list[str]) -> list[str]:
        rows = chosen(texts, self.settings.prompts_per_image, "caption", self.settings.seed, sample_id)
        return [texts[row] for row in rows]

    def _values(self, key: str) -> list[str]:
        return sorted(self._column(key).dropna().unique())

    def _column(self, key: str) -> pd.Series:
        """The column of the training table that a key names."""
        column, known = getattr(self.settings, key), list(self.table.columns)
        if column not in known:
            raise ConfigError(f"{KEY}.{key}: no column {column!r} in the training table; {nearest_name(column, known)}")
        return self.table[column]


def prompt_book(settings: Prompts, table: pd.DataFrame, dataset: str = "") -> PromptBook:
    """The prompts of the images in a training table of the dataset `dataset`.

    Raises ConfigError and DataError for files, columns and images that do not match.
    """
    rows = None if settings.table is None else read_prompt_table(settings.table, f"{KEY}.table")
    given = None
    if rows is not None:
        given = _matched(rows, table, str(settings.table))
    elif settings.captions is not None:
        given = _captioned(read_captions(settings.captions, f"{KEY}.captions"), table, settings.captions)
    return PromptBook(settings, table, _descriptors(settings, rows, table, dataset), given)


def read_prompts(path: str, spec_digest: str) -> dict[str, list[str]]:
    """The prompts of each image in a table, by its id. Raises ArtifactError for a table of another spec."""
    check_recorded(path, spec_digest)
    prompts: dict[str, list[str]] = {}
    for sample_id, text in read_csv(path)[["id", PROMPT]].itertuples(index=False):
        prompts.setdefault(sample_id, []).append(text)
    return prompts


def filled(template: str, row: Mapping[str, str | None], descriptors: Iterable[str]) -> str:
    """A template filled in with a row's values and descriptors. Raises ConfigError and DataError for missing ones."""

    def value(match: re.Match) -> str:
        if (name := match[1]) == DESCRIPTORS:
            return ", ".join(descriptors)
        if name not in row:
            raise ConfigError(f"{KEY}: {template!r} has unknown {match[0]}; {nearest_name(name, [*row, DESCRIPTORS])}")
        if row[name] is None:
            raise DataError(f"{KEY}: {template!r} needs {match[0]}, but image {row['id']!r} has no value for it")
        return str(row[name])

    return PLACEHOLDER.sub(value, template)


def drawn(phrases: Sequence[str], count: int, *parts: str | int) -> list[str]:
    """`count` different phrases (or all, if fewer), in an order shuffled by `parts`."""
    left, seed, result = list(phrases), derive_seed("descriptors", *parts), []
    for _ in range(min(count, len(left))):
        seed, place = divmod(seed, len(left))
        result.append(left.pop(place))
    return result


def _descriptors(settings: Prompts, rows: list[dict] | None, table: pd.DataFrame, dataset: str) -> dict[str, list[str]]:
    """Phrases of each style: from the file of descriptors, the file of prompts, the dataset, or else its name."""
    if settings.descriptors is not None:
        return read_descriptors(settings.descriptors, settings.style, f"{KEY}.descriptors")
    if rows is not None and {DESCRIPTORS, settings.style} <= rows[0].keys():
        found: dict[str, list[str]] = {}
        for row in rows:
            if row[settings.style] is None:
                continue
            known = found.setdefault(row[settings.style], [])
            known += [each for each in row[DESCRIPTORS] if each not in known]
        return found
    if dataset in OF_DATASETS:
        return {style: list(phrases) for style, phrases in OF_DATASETS[dataset].items()}
    known_styles = table[settings.style].dropna().unique().tolist() if settings.style in table.columns else []
    return {style: [style] for style in sorted(known_styles)}


def _matched(rows: list[dict], table: pd.DataFrame, path: str) -> dict[str, list[str]]:
    """Prompts by image id: from the rows that match the image in all columns that both tables share."""
    where = f"{KEY}.table: {path!r}"
    rows = _with_known_ids(rows, table, where)
    shared = [name for name in table.columns if name in rows[0] and name not in (PROMPT, DESCRIPTORS)]
    if not shared:
        raise DataError(
            f"{where} shares no column with the training table; it has {', '.join(rows[0])}, "
            f"the training table {', '.join(table.columns)}"
        )
    prompts: dict[tuple, list[str]] = {}
    for row in rows:
        prompts.setdefault(tuple(row[name] for name in shared), []).append(row[PROMPT])
    given: dict[str, list[str]] = {}
    for row in _rows(table):
        values = tuple(row[name] for name in shared)
        if values not in prompts:
            found = ", ".join(f"{name} {row[name]!r}" for name in shared)
            raise DataError(f"{where} has no prompt for image {row['id']!r} ({found}); add a row")
        given[row["id"]] = prompts[values]
    return given


def _with_known_ids(rows: list[dict], table: pd.DataFrame, where: str) -> list[dict]:
    """The rows with image ids as in the training table.

    Rows that share no column with it but name files get the ids of these files' images.
    """
    shared = rows[0].keys() & set(table.columns) - {PROMPT, DESCRIPTORS}
    name = "id" if "id" in shared else next((each for each in FILES if each in rows[0] and not shared), None)
    if name is None:
        return rows
    ids = FileNames(table["id"])
    return [row | {"id": row[name] and (ids.find(row[name], where) or row[name])} for row in rows]


def _captioned(captions: dict[str, list[str]], table: pd.DataFrame, path: str) -> dict[str, list[str]]:
    """Captions by image id, which is the file's name."""
    where, ids = f"{KEY}.captions: {path!r}", FileNames(table["id"])
    given: dict[str, list[str]] = {}
    for name, texts in captions.items():
        if (sample_id := ids.find(name, where)) is not None:
            given.setdefault(sample_id, []).extend(texts)
    for sample_id in table["id"]:
        if not given.get(sample_id):
            raise DataError(f"{where} has no caption for image {sample_id!r}; add one, or remove the image")
    return given


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    records = table.astype(object).where(table.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in records]
