"""Locks shared by all processes on a machine, whatever their account.

A lock is an empty file, created by the first process that needs it and never removed; the system releases the lock
when the process that holds it ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import stat
from pathlib import Path
from typing import IO

from guda.core.errors import GudaError
from guda.core.files import KINDS

# Links are not followed, and pipes are not waited for.
FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
MODE = 0o644  # locking requires reading, so all accounts must be able to read the file, whatever the umask


def lock_folder() -> Path:
    """The folder of locks: $GUDA_LOCKS, else the folder for temporary files."""
    return Path(os.environ.get("GUDA_LOCKS") or os.environ.get("TMPDIR") or "/tmp")


def take(path: Path) -> IO | None:
    """The open file of a lock, which is held until the file is closed; None while another process holds it.

    Raises GudaError if the file cannot be made, read or locked, or if something else is at the path.
    """
    file = os.fdopen(_opened(path))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    except OSError as error:
        file.close()
        raise GudaError(f"{path}: cannot be locked ({error.strerror}). {_elsewhere()}") from None
    return file


def _opened(path: Path) -> int:
    while True:  # retry if another process made or removed the file in between
        try:
            return _existing(path)
        except FileNotFoundError:
            pass
        try:
            return _made(path)
        except FileExistsError:
            pass


def _existing(path: Path) -> int:
    """A descriptor of an existing file, opened without O_CREAT: in folders like /tmp the system refuses that for files
    of another account."""
    try:
        descriptor = os.open(path, FLAGS)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise GudaError(_refusal(path, error)) from None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise GudaError(_misplaced(path, found.st_mode))
    if found.st_uid == os.geteuid() and found.st_mode & MODE != MODE:
        os.fchmod(descriptor, MODE)
    return descriptor


def _made(path: Path) -> int:
    before = os.umask(0)
    try:
        return os.open(path, FLAGS | os.O_CREAT | os.O_EXCL, MODE)
    except FileExistsError:
        raise
    except OSError as error:
        raise GudaError(f"{path}: the lock file cannot be made ({error.strerror}). {_elsewhere()}") from None
    finally:
        os.umask(before)


def _refusal(path: Path, error: OSError) -> str:
    try:
        found = path.lstat()
    except OSError:
        return f"{path}: the lock file cannot be reached ({error.strerror}). {_elsewhere()}"
    if not stat.S_ISREG(found.st_mode):
        return _misplaced(path, found.st_mode)
    return (
        f"{path}: the lock file of account {_account(found.st_uid)} cannot be read ({error.strerror}). Ask its "
        f"owner to make it readable (chmod {MODE:o}), or to remove it while none of their jobs run."
    )


def _misplaced(path: Path, mode: int) -> str:
    kinds = KINDS | {stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a folder"}
    return f"{path}: {kinds.get(stat.S_IFMT(mode), 'something else')} is where a lock file belongs. Remove it."


def _elsewhere() -> str:
    return (
        "Set GUDA_LOCKS to a folder on this machine's own disk that all its accounts may write to, such as one made by "
        "mkdir -m 1777."
    )


def _account(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
