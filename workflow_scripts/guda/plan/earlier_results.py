"""Results that Snakemake does not remember making: what they were made for counts, and their dates do not."""

from __future__ import annotations

import contextlib
import os
import time
from base64 import urlsafe_b64encode
from pathlib import Path

from guda.core.artifacts import write_text
from guda.core.paths import MEMORY, SNAKEMAKE
from guda.specs import digest

LOGS = "logs"  # under the results; no rule reads what lies there
FIRST = 1_000_000_000  # nanoseconds since 1970: Snakemake takes a date of 0, as archives have it, for none
LONGEST = 255  # bytes of a file's name; Snakemake's records of longer ones lie in folders, and are passed over here
LATER = 10_000_000  # nanoseconds by which the mark is newer than any file, where file systems may round to milliseconds


def settle_dates(results: Path) -> Path:
    """Take from the dates of files under `results` what they cannot mean, and return a mark newer than all of them.

    Snakemake makes a file again when an input is newer. Where it remembers none of them (they came from elsewhere)
    dates are those of copying: every file gets the date of the oldest. A file whose date is ahead of the clock would be
    newer than whatever is made from it: it gets the present one. Another account's file keeps its date. The mark's
    content is new each time, so that a job with the mark among its inputs always runs. Raises ArtifactError where the
    mark cannot be written.
    """
    mark = MEMORY / f"foreign-{digest(str(results))}"
    write_text(mark, str(time.time_ns()))
    now = mark.stat().st_mtime_ns  # by the clock of the file system, which may be another machine's
    dates = _dates(results)
    if not any(map(_remembered, dates)):
        _set(dates, dict.fromkeys(dates, max(FIRST, min([now, *dates.values()]))))
    else:
        _set(dates, {path: max(FIRST, min(now, date)) for path, date in dates.items() if not FIRST <= date <= now})
    newest = max([now, *dates.values()]) + LATER
    os.utime(mark, ns=(newest, newest))
    return mark


def _remembered(path: Path) -> bool:
    """Whether Snakemake knows of a job that made this file."""
    record = urlsafe_b64encode(str(path).encode()).decode()
    return len(record) < LONGEST and (SNAKEMAKE / "metadata" / record).exists()


def _dates(results: Path) -> dict[Path, int]:
    """The files under `results` but for logs and hidden ones, and when each was changed, in nanoseconds.

    Folders may be links to another disk.
    """
    found, seen = {}, set()
    for folder, folders, files in os.walk(results, followlinks=True):
        place = Path(folder).resolve()
        folders[:] = [name for name in folders if name[0] != "." and Path(folder, name) != results / LOGS]
        if place in seen:
            folders.clear()
            continue
        seen.add(place)
        for path in (Path(folder, name) for name in files if name[0] != "."):
            with contextlib.suppress(OSError):  # a link to nothing, or one that leads where this account may not look
                found[path] = path.stat().st_mtime_ns
    return found


def _set(dates: dict[Path, int], wanted: dict[Path, int]) -> None:
    """Set the files' dates, in `dates` as well, where they can be: another account's cannot."""
    for path, date in wanted.items():
        if date != dates[path]:
            with contextlib.suppress(OSError):
                os.utime(path, ns=(date, date))
                dates[path] = date
