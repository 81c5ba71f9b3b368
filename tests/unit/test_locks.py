"""Locks between accounts, and what may lie where a lock belongs."""

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from accounts import ONE, OTHER, account, folder_of_all, needs_root

from guda.core import locks
from guda.core.errors import GudaError
from guda.core.locks import lock_folder, take


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def refusal(path):
    with pytest.raises(GudaError) as caught:
        take(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def test_a_lock_is_held_until_its_file_is_closed(tmp_path):
    first = take(tmp_path / "lock")
    assert take(tmp_path / "lock") is None
    first.close()
    assert take(tmp_path / "lock") is not None


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_the_mode_of_a_lock_does_not_hang_on_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        take(tmp_path / "lock")
    finally:
        after = os.umask(before)
    assert after == umask
    assert mode(tmp_path / "lock") == 0o644


def test_ones_own_lock_of_an_earlier_version_is_opened_to_the_others(tmp_path):
    (tmp_path / "lock").touch(mode=0o600)
    assert take(tmp_path / "lock") is not None
    assert mode(tmp_path / "lock") == 0o644


@needs_root
def test_accounts_share_a_lock_whatever_their_umask():
    with folder_of_all() as folder:
        with account(ONE):
            first = take(folder / "lock")
        with account(OTHER):
            assert take(folder / "lock") is None
            first.close()
            assert take(folder / "lock") is not None
        assert (folder / "lock").stat().st_uid == ONE


@needs_root
def test_a_lock_that_only_its_owner_reads_is_named_with_its_owner():
    with folder_of_all() as folder:
        (folder / "lock").touch(mode=0o600)
        os.chown(folder / "lock", ONE, ONE)
        with account(OTHER):
            text = refusal(folder / "lock")
        assert f"account {ONE} cannot be read" in text and "chmod 644" in text


@needs_root
def test_a_folder_that_one_cannot_write_to_or_enter_is_an_error_that_says_what_to_set():
    with folder_of_all(0o755) as folder, account(OTHER):
        assert "cannot be made (Permission denied). Set GUDA_LOCKS to a folder" in refusal(folder / "lock")
    with folder_of_all(0o700) as folder, account(OTHER):
        assert "cannot be reached (Permission denied). Set GUDA_LOCKS to a folder" in refusal(folder / "lock")
    # What another account made there serves all the same.
    with folder_of_all(0o755) as folder:
        (folder / "lock").touch(mode=0o644)
        with account(OTHER):
            assert take(folder / "lock") is not None


def test_a_folder_that_is_missing_or_a_file_is_an_error(tmp_path):
    assert "cannot be made (No such file or directory)" in refusal(tmp_path / "none" / "lock")
    (tmp_path / "file").touch()
    assert "cannot be reached (Not a directory)" in refusal(tmp_path / "file" / "lock")


@pytest.mark.parametrize(
    ("put", "kind"),
    [
        (lambda path: path.symlink_to(path.with_name("target")), "a symbolic link"),
        (os.mkfifo, "a named pipe"),
        (Path.mkdir, "a folder"),
        (lambda path: socket.socket(socket.AF_UNIX).bind(str(path)), "a socket"),
    ],
    ids=["dangling link", "pipe", "folder", "socket"],
)
def test_what_is_no_file_is_refused_by_its_kind(tmp_path, monkeypatch, put, kind):
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    put(Path("lock"))
    assert f"{kind} is where a lock file belongs. Remove it." in refusal(Path("lock"))
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]  # nothing was made where the link leads


def test_a_link_to_a_file_is_refused_too(tmp_path):
    (tmp_path / "precious").write_text("content")
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    assert "a symbolic link is where" in refusal(tmp_path / "lock")
    assert (tmp_path / "precious").read_text() == "content"


def test_the_folder_is_the_one_set_for_it_else_that_of_temporary_files(monkeypatch):
    for name in ("GUDA_LOCKS", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    assert lock_folder() == Path("/tmp")
    monkeypatch.setenv("TMPDIR", "/scratch")
    assert lock_folder() == Path("/scratch")
    monkeypatch.setenv("GUDA_LOCKS", "/run/locks")
    assert lock_folder() == Path("/run/locks")


def test_a_job_says_so_in_one_line(tmp_path):
    """Through the function in which every stage's program runs."""
    (tmp_path / "guda-gpu-0.lock").mkdir()
    code = "from guda.jobs.cli import run\nfrom guda.core.device import claim\nrun(lambda: claim(['0']))"
    environment = os.environ | {"PYTHONPATH": str(Path(locks.__file__).parents[2]), "GUDA_LOCKS": str(tmp_path)}
    job = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert job.returncode == 1
    assert job.stderr.splitlines()[1:] == [
        f"error: {tmp_path}/guda-gpu-0.lock: a folder is where a lock file belongs. Remove it."
    ]
