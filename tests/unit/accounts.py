"""Acting as another account of the machine, which only root can; and folders that all accounts reach."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import pytest

ONE, OTHER = 65533, 65534  # numbers of accounts without rights
GROUP = 65532
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as other accounts")


@contextlib.contextmanager
def account(number, umask=0o077, group=None):
    """Everything in the block is done by this account, of this group (by default of its own), with this umask."""
    before = os.umask(umask), os.getgroups(), os.getegid()
    os.setgroups([])
    os.setegid(number if group is None else group)
    os.seteuid(number)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(before[2])
        os.setgroups(before[1])
        os.umask(before[0])


@contextlib.contextmanager
def folder_of_all(mode=0o1777):
    """A folder like /tmp; those of pytest are closed to other accounts."""
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(mode)
        yield folder
    finally:
        shutil.rmtree(folder)
