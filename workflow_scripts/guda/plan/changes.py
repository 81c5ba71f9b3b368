"""Why jobs rerun: the keys that changed in their specs, with old and new values, in a few lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from guda.core.json_text import parse_json
from guda.specs import digest

LINES = 10
NAMED = 2  # jobs named per line
SHOWN = 40  # characters of a value
_DIGEST = re.compile(r"[0-9a-f]{20}")


class Changes:
    """Existing files, each with the spec it was made for and the spec now required, as JSON.

    Files are added while Snakemake plans, some of them several times.
    """

    def __init__(self) -> None:
        self._specs: dict[str, tuple[str, str]] = {}

    def add(self, file: str, found: str, wanted: str) -> None:
        """Add a file, by its path in the results, whose spec differs from the required one."""
        self._specs[_job(file)] = found, wanted

    def lines(self) -> list[str]:
        """One line per set of jobs whose specs changed in the same way, at most LINES.

        A spec names its inputs by their specs' digests. Jobs that rerun only because an input listed here changed get
        no line of their own.
        """
        followed = {(digest(found), digest(wanted)) for found, wanted in self._specs.values()}
        jobs: dict[str, list[str]] = {}
        # Reversed, since Snakemake walks from the results back to their inputs.
        for job, (found, wanted) in reversed(self._specs.items()):
            differences = _differences("", _read(found), _read(wanted))
            shown = [text for old, new, text in differences if (old, new) not in followed]
            if shown:
                jobs.setdefault("; ".join(shown), []).append(job)
        found_lines = [f"{_named(sorted(names))}: {shown}" for shown, names in jobs.items()]
        more = len(found_lines) - LINES
        return found_lines[:LINES] + ([f"and {more} more such lines"] if more > 0 else [])


def _read(spec: str) -> Any:
    """A spec's values; text that is not JSON, as in a damaged file, counts as a single value."""
    try:
        return parse_json(spec)
    except ValueError:
        return {"spec": spec}


def _job(file: str) -> str:
    """A job's name: its model's folder, or its main output without the suffix."""
    path = PurePosixPath(file)
    return str(path.parent if path.parts[0] == "models" else path.with_suffix(""))


def _named(jobs: list[str]) -> str:
    """ "models/guda/amber, models/guda/basil and 4 more (6 jobs)"."""
    more = len(jobs) - NAMED
    shown = ", ".join(jobs[:NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"{shown} ({len(jobs)} jobs)" if len(jobs) > 1 else shown


def _differences(key: str, old: Any, new: Any) -> Iterator[tuple[Any, Any, str]]:
    """Yield each difference between two specs: the old value, the new value, and a description."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            inner = f"{key}.{name}" if key else name
            if name not in new or name not in old:
                yield None, None, f"{inner} {'is new' if name in new else 'is gone'}"
            else:
                yield from _differences(inner, old[name], new[name])
    elif old != new:
        if _is_digest(old) and _is_digest(new):
            yield old, new, f"{key} changed"
        elif isinstance(old, list) and isinstance(new, list) and len(old) != len(new):
            yield None, None, f"{key} {len(old)} values -> {len(new)}"
        else:
            yield None, None, f"{key} {_short(old)} -> {_short(new)}"


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and bool(_DIGEST.fullmatch(value))


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ..."
