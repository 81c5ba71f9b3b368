"""Selection of a network's weights by regular expressions on their names."""

from __future__ import annotations

import difflib
import re

from guda.core.errors import ConfigError

NEAREST_NAMES = 3


def check_expressions(patterns: list[str]) -> None:
    """Raise ValueError for an invalid regular expression."""
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{pattern!r} is not a regular expression ({error})") from None


def matching(names: list[str], patterns: list[str] | None, key: str) -> list[str]:
    """The names in which one of the regular expressions is found; None: all names.

    Raises ConfigError, naming the setting `key`, for an expression that matches no name.
    """
    if patterns is None:
        return names
    for pattern in patterns:
        if not any(re.search(pattern, name) for name in names):
            near = difflib.get_close_matches(pattern, names, NEAREST_NAMES, cutoff=0)
            raise ConfigError(
                f"{key}: {pattern!r} is found in no name of the network's {len(names)} weights; "
                f"the nearest: {', '.join(near)}"
            )
    return [name for name in names if any(re.search(pattern, name) for pattern in patterns)]
