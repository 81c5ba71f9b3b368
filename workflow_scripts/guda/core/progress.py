"""Progress of long work: a bar on a terminal, an occasional plain line in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
FIRST_SECONDS, LAST_SECONDS = 5.0, 60.0  # between lines: short at first, then a line per minute


def track(
    items: Iterable[T],
    description: str,
    total: int,
    done_before: int = 0,
    at_work: Callable[[int], str] | None = None,
) -> Iterator[T]:
    """Yield `items`, showing on stderr how many of `total` are done.

    An earlier run may have done some of them (`done_before`). After an item is used, `at_work` adds details on the
    item at this place.
    """
    if sys.stderr.isatty():
        yield from _bar(items, description, total, done_before, at_work)
        return
    started = shown = time.monotonic()
    wait = FIRST_SECONDS
    for index, item in enumerate(items):
        yield item
        now, done = time.monotonic(), done_before + index + 1
        if done == total or now - shown >= wait:
            wait, shown = min(2 * wait, LAST_SECONDS), now
            more = f", {at_work(index)}" if at_work else ""
            print(f"{description}: {done}/{total} in {now - started:.0f} s{more}", file=sys.stderr, flush=True)


def _bar(
    items: Iterable[T], description: str, total: int, done_before: int, at_work: Callable[[int], str] | None
) -> Iterator[T]:
    from tqdm import tqdm

    bar = tqdm(items, desc=description, total=total, initial=done_before)
    shown = time.monotonic()
    for index, item in enumerate(bar):
        yield item
        if at_work and time.monotonic() - shown >= 1:
            shown = time.monotonic()
            bar.set_postfix_str(at_work(index))
