"""Progress of long work: a bar on a terminal, a plain line now and then in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
LOG_INTERVAL_SECONDS = 10


def track(items: Iterable[T], description: str, total: int) -> Iterator[T]:
    """Yield `items`, showing on stderr how many of `total` are done."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, desc=description, total=total)
        return
    started = shown = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if done == total or now - shown >= LOG_INTERVAL_SECONDS:
            shown = now
            print(f"{description}: {done}/{total} in {now - started:.0f} s", file=sys.stderr, flush=True)
