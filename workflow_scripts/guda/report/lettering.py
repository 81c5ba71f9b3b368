"""Names in figures: choosing fonts that cover their characters, and breaking them into lines."""

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
# Fonts that map every character to a box or a picture.
NO_LETTERS = ("last resort", "lastresort", "emoji", "adobe blank")
INVISIBLE = {"Cf", "Cc", "Zs"}  # Unicode categories that need no glyph
ELLIPSIS = "…"


def drawable(
    names: Iterable[str], word: str, fonts: Mapping[str, frozenset[int]] | None = None
) -> tuple[dict[str, str], list[str]]:
    """The text drawn for each name, and the font families to draw it with.

    A name is drawn unchanged if the fonts cover its characters; otherwise as the word and the name's position in the
    sorted list, as in 'group 3', which is also logged. `fonts` maps families to the characters that they cover; None:
    the installed fonts.
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
            print(f"no installed font covers all characters of {name!r}: drawn as {drawn[name]!r}", file=sys.stderr)
    return drawn, families


@cache
def installed() -> dict[str, frozenset[int]]:
    """The characters that each installed text font family covers."""
    found: dict[str, frozenset[int]] = {}
    for entry in font_manager.fontManager.ttflist:
        if entry.style == "normal" and not any(word in entry.name.lower() for word in NO_LETTERS):
            found.setdefault(entry.name, _characters(entry.fname))
    return found


@cache
def _characters(file: str) -> frozenset[int]:
    """The characters that a font file has outlines for; none if the file is not such a font."""
    try:
        font = font_manager.get_font(file)
    except (OSError, RuntimeError):  # not readable by FreeType, which draws the figures
        return frozenset()
    return frozenset(font.get_charmap())


def _visible(text: str) -> set[int]:
    return {ord(character) for character in text if unicodedata.category(character) not in INVISIBLE}


class Lettering:
    """Measures text of one size (points) in a figure and breaks it into lines."""

    def __init__(self, figure: Figure, families: list[str], size: float):
        self.figure, self.families, self.size = figure, families, size
        self._renderer = FigureCanvasAgg(figure).get_renderer()

    @property
    def style(self) -> dict[str, Any]:
        """Keyword arguments for matplotlib text. Dollar signs in names are literal, not math."""
        return {"fontsize": self.size, "fontfamily": self.families, "parse_math": False}

    def width(self, text: str) -> float:
        """In inches."""
        drawn = self.figure.text(0, 0, text, **self.style)
        extent = drawn.get_window_extent(self._renderer)
        drawn.remove()
        return extent.width / self.figure.dpi

    def lines(self, text: str, width: float, most: int = 2) -> list[str]:
        """The text broken into at most `most` lines of a width (inches), at spaces and punctuation where possible.

        Text that does not fit is elided from the middle of the last line.
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
        """The length of the longest prefix that fits, at least one."""
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
