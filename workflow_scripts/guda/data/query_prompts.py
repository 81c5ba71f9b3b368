"""Prompts that queries are generated from: each target style and content in turn, some with two styles at once."""

from __future__ import annotations

import pandas as pd

from guda.config.prompts import DESCRIPTORS, placeholders
from guda.config.text_to_image import QueryPrompts
from guda.core.errors import ConfigError
from guda.core.seeding import derive_seed, uniform
from guda.data.prompt_files import query_id
from guda.data.prompts import KEY, PromptBook, drawn

QUERIES_KEY = "text_to_image.queries"
COLUMNS = ["query", "prompt", "style", "second_style", "content"]


def query_prompts(settings: QueryPrompts, book: PromptBook, styles: list[str], count: int, seed: int) -> pd.DataFrame:
    """Columns query, prompt, style, second_style (None for one style), content.

    `styles` are the target styles. A query depends on them, the contents, the seed and its own index, but not on the
    count. Raises ConfigError and DataError.
    """
    if settings.mixed and (len(styles) < 2 or DESCRIPTORS not in placeholders(book.settings.template)):
        raise ConfigError(
            f"{QUERIES_KEY}.mixed is {settings.mixed}, which needs two target styles and {{{DESCRIPTORS}}} in "
            f"{KEY}.template; set it to 0"
        )
    rows = [_row(number, settings.mixed, book, styles, seed) for number in range(count)]
    return pd.DataFrame(rows, columns=COLUMNS, dtype=object)


def _row(number: int, mixed: float, book: PromptBook, styles: list[str], seed: int) -> tuple[str | None, ...]:
    """Cycle through the styles query by query; after as many rounds as contents, each style has had them all."""
    query, contents = query_id(number), book.contents
    style = styles[number % len(styles)]
    content = contents[(number % len(styles) + number // len(styles)) % len(contents)]
    second = None
    phrases = book.drawn(style, "query", seed, query)
    if uniform("mixed", seed, query) < mixed:
        others = [each for each in styles if each != style]
        second = others[derive_seed("second style", seed, query) % len(others)]
        phrases = mixture(book.descriptors_of(style), book.descriptors_of(second), seed, query)
    return query, book.prompt(content, style, phrases), style, second, content


def mixture(first: list[str], second: list[str], *parts: str | int) -> list[str]:
    """One or two descriptors of the first style and one that only the second has, if any, shuffled."""
    count = 1 + derive_seed("how many", *parts) % 2
    of_first = drawn(first, count, "first", *parts)
    alone = [each for each in second if each not in first] or [each for each in second if each not in of_first]
    return drawn([*of_first, *drawn(alone, 1, "second", *parts)], 3, "order", *parts)
