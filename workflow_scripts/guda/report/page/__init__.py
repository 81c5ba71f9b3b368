"""The page that shows an experiment's answers to anybody: one file of HTML, without network or server.

Its data stand in it as JSON, and its script shows them as text, never as markup.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

# What would end the element that the data stand in, or begin a comment there.
ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def page_html(content: dict[str, Any]) -> str:
    """The page as text, of what `guda.jobs.page` gathers; `content` becomes JSON."""
    from jinja2 import Environment

    here = files(__name__)
    template = Environment(autoescape=True).from_string(here.joinpath("page.html").read_text(encoding="utf-8"))
    parts = {name: here.joinpath(f"page.{name}").read_text(encoding="utf-8") for name in ("css", "js")}
    return template.render(title=content["title"], data=json_text(content), **parts)


def json_text(content: dict[str, Any]) -> str:
    """`content` as JSON that may stand in a script element. Raises ValueError for numbers that JSON has not."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return "".join(ESCAPED.get(character, character) for character in text) if set(ESCAPED) & set(text) else text
