"""The HTML report of an experiment: one self-contained file that needs no network and no server.

Its data are embedded as JSON, and its script inserts them as text, never as markup.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

# Characters that could close the script element that holds the data, or open a comment in it.
ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def page_html(content: dict[str, Any]) -> str:
    """The page's HTML. `content` comes from `guda.jobs.page` and is embedded as JSON."""
    from jinja2 import Environment

    here = files(__name__)
    template = Environment(autoescape=True).from_string(here.joinpath("page.html").read_text(encoding="utf-8"))
    parts = {name: here.joinpath(f"page.{name}").read_text(encoding="utf-8") for name in ("css", "js")}
    return template.render(title=content["title"], data=json_text(content), **parts)


def json_text(content: dict[str, Any]) -> str:
    """`content` as JSON that is safe inside a script element. Raises ValueError for numbers that JSON cannot hold."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return "".join(ESCAPED.get(character, character) for character in text) if set(ESCAPED) & set(text) else text
