"""Files that a user names: only what can be read from end to end is opened."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def regular(path: str | Path) -> Path:
    """The path of a regular file, or of a link to one.

    Reading a pipe waits for whoever writes to it, and reading a device may never end. Raises OSError for these, and
    for what is missing or a folder, with a `strerror` that says so.
    """
    kind = stat.S_IFMT(Path(path).stat().st_mode)
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if kind != stat.S_IFREG:
        raise OSError(errno.EINVAL, f"it is {KINDS.get(kind, 'something else')}, no regular file", str(path))
    return Path(path)
