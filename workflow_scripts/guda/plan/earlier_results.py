"""Results that Snakemake has no record of: they are judged by their specs, not by their modification times."""

from __future__ import annotations

import contextlib
import os
import time
from base64 import urlsafe_b64encode
from pathlib import Path

from guda.core.artifacts import write_text
from guda.core.paths import MEMORY, SNAKEMAKE
from guda.specs import digest

LOGS = "logs"  # under the results; no rule reads files there
FIRST = 1_000_000_000  # nanoseconds since 1970: Snakemake treats a time of 0, as in some archives, as missing
LONGEST = 255  # bytes of a file name; Snakemake keeps longer records in nested folders, which are ignored here
LATER = 10_000_000  # nanoseconds by which the mark is newer than any file; file systems may round to milliseconds


def settle_dates(results: Path) -> Path:
    """Correct misleading modification times under `results`, and return a mark newer than every file there.

    Snakemake reruns a job when an input is newer than its output. If it has no record of any file (they were copied
    from elsewhere), the times are those of the copy, so every file gets the time of the oldest. A file dated in the
    future would be newer than anything made from it, so it gets the current time. Files of another account keep their
    times. The mark's content is new each time, so that a job with the mark among its inputs always runs. Raises
    ArtifactError if the mark cannot be written.
    """
    mark = MEMORY / f"foreign-{digest(str(results))}"
    write_text(mark, str(time.time_ns()))
    now = mark.stat().st_mtime_ns  # by the file system's clock, which may be another machine's
    dates = _dates(results)
    if not any(map(_remembered, dates)):
        _set(dates, dict.fromkeys(dates, max(FIRST, min([now, *dates.values()]))))
    else:
        _set(dates, {path: max(FIRST, min(now, date)) for path, date in dates.items() if not FIRST <= date <= now})
    newest = max([now, *dates.values()]) + LATER
    os.utime(mark, ns=(newest, newest))
    return mark


def _remembered(path: Path) -> bool:
    """Whether Snakemake has a record of the job that made this file."""
    record = urlsafe_b64encode(str(path).encode()).decode()
    return len(record) < LONGEST and (SNAKEMAKE / "metadata" / record).exists()


def _dates(results: Path) -> dict[Path, int]:
    """The files under `results` except logs and hidden files, with modification times in nanoseconds.

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
            with contextlib.suppress(OSError):  # a broken link, or one to a place that this account cannot read
                found[path] = path.stat().st_mtime_ns
    return found


def _set(dates: dict[Path, int], wanted: dict[Path, int]) -> None:
    """Set the files' times, in `dates` as well, where possible: another account's files cannot be changed."""
    for path, date in wanted.items():
        if date != dates[path]:
            with contextlib.suppress(OSError):
                os.utime(path, ns=(date, date))
                dates[path] = date
