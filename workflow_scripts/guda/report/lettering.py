"""Names in figures: fonts that have their characters, and lines that fit into a width."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

USUAL = "DejaVu Sans"  # comes with matplotlib
# Fonts that have a box or a picture for every character.
NO_LETTERS = ("last resort", "lastresort", "emoji", "adobe blank")
INVISIBLE = {"Cf", "Cc", "Zs"}  # categories of characters that need no glyph
ELLIPSIS = "…"


def drawable(
    names: Iterable[str], word: str, fonts: Mapping[str, frozenset[int]] | None = None
) -> tuple[dict[str, str], list[str]]:
    """What each name is drawn as, and the families of fonts to draw with.

    That is the name itself wherever the fonts have its characters; else the word and the name's place among all in the
    order of text, as in 'group 3', which the log says, too. `fonts` are families with the characters that they have;
    None: those that are installed.
    """
    ordered, families = sorted(set(names)), [USUAL]
    lacking = _visible("".join(ordered)) - (
        _characters(font_manager.findfont(USUAL)) if fonts is None else fonts[USUAL]
    )
    others = (installed() if fonts is None else fonts) if lacking else {}
    while lacking and others:
        best = max(others, key=lambda family: (len(others[family] & lacking), family))
        if not others[best] & lacking:
            break
        families.append(best)
        lacking -= others[best]
    drawn = {}
    for place, name in enumerate(ordered, start=1):
        drawn[name] = f"{word} {place}" if _visible(name) & lacking else name
        if drawn[name] != name:
            print(f"no installed font has all characters of {name!r}: drawn as {drawn[name]!r}", file=sys.stderr)
    return drawn, families


@cache
def installed() -> dict[str, frozenset[int]]:
    """The characters of each family of fonts of letters on this machine."""
    found: dict[str, frozenset[int]] = {}
    for entry in font_manager.fontManager.ttflist:
        if entry.style == "normal" and not any(word in entry.name.lower() for word in NO_LETTERS):
            found.setdefault(entry.name, _characters(entry.fname))
    return found


@cache
def _characters(file: str) -> frozenset[int]:
    """Those that a font has an outline for; none of a file that is no such font."""
    try:
        font = font_manager.get_font(file)
    except (OSError, RuntimeError):  # what FreeType does not read, others may use
        return frozenset()
    return frozenset(font.get_charmap())


def _visible(text: str) -> set[int]:
    return {ord(character) for character in text if unicodedata.category(character) not in INVISIBLE}


class Lettering:
    """Measures text of one size (points), and breaks it into lines, for a figure."""

    def __init__(self, figure: Figure, families: list[str], size: float):
        self.figure, self.families, self.size = figure, families, size
        self._renderer = FigureCanvasAgg(figure).get_renderer()

    @property
    def style(self) -> dict[str, Any]:
        """Arguments of matplotlib's texts. A name may hold dollars, which are no formula."""
        return {"fontsize": self.size, "fontfamily": self.families, "parse_math": False}

    def width(self, text: str) -> float:
        """In inches."""
        drawn = self.figure.text(0, 0, text, **self.style)
        extent = drawn.get_window_extent(self._renderer)
        drawn.remove()
        return extent.width / self.figure.dpi

    def lines(self, text: str, width: float, most: int = 2) -> list[str]:
        """The text in lines of a width (inches), broken at spaces and signs where there are any; `most` lines.

        What does not fit is left out of the middle of the last line.
        """
        text = " ".join(text.split())
        found: list[str] = []
        while text and self.width(text) > width and len(found) < most - 1:
            end = self._fitting(text, width)
            signs = [place + 1 for place in range(end // 3, end) if not text[place].isalnum()]
            end = signs[-1] if signs else end
            found.append(text[:end].rstrip())
            text = text[end:].lstrip()
        return [*found, self._shortened(text, width)]

    def _fitting(self, text: str, width: float) -> int:
        """How many of the first characters fit, at least one."""
        low, high = 1, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.width(text[:middle]) <= width else (low, middle - 1)
        return low

    def _shortened(self, text: str, width: float) -> str:
        kept, short = len(text), text
        while self.width(short) > width and kept > 2:
            kept -= 1
            short = text[: (kept + 1) // 2] + ELLIPSIS + text[len(text) - kept // 2 :]
        return short
