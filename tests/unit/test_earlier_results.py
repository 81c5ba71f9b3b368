import os
import shutil
import time
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
from accounts import GROUP, ONE, OTHER, account, folder_of_all, needs_root

from guda.plan.earlier_results import settle_dates

HOUR = 3600 * 10**9


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A folder of results with dates of 2001, 2002 and an hour ahead of the clock, as seen from its parent."""
    monkeypatch.chdir(tmp_path)
    dates = {"data/a": 10**18, "b": 1_030_000_000 * 10**9, "models/c": time.time_ns() + HOUR}
    for name, date in dates.items():
        path = tmp_path / "results" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, ns=(date, date))
    return tmp_path / "results"


def remember(path):
    """Let Snakemake have made this file."""
    record = Path(".snakemake", "metadata", urlsafe_b64encode(path.encode()).decode())
    record.parent.mkdir(parents=True)
    record.touch()


def dates(results):
    return {
        path.relative_to(results).as_posix(): path.stat().st_mtime_ns for path in results.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("remembered", [None, "other/results/b", "results/gone"])
def test_where_none_is_remembered_all_files_get_the_date_of_the_oldest(results, remembered):
    if remembered:
        remember(remembered)
    settle_dates(Path("results"))
    assert dates(results) == {"data/a": 10**18, "b": 10**18, "models/c": 10**18}


def test_where_some_are_remembered_only_dates_ahead_of_the_clock_change(results):
    remember("results/b")
    before = time.time_ns()
    settle_dates(Path("results"))
    after = dates(results)
    assert after.pop("models/c") <= time.time_ns() <= before + HOUR
    assert after == {"data/a": 10**18, "b": 1_030_000_000 * 10**9}


def test_the_mark_is_newer_than_every_file_and_never_the_same(results):
    mark = settle_dates(results)
    text = mark.read_text()
    assert mark.stat().st_mtime_ns > max(dates(results).values())
    assert settle_dates(results).read_text() != text


def test_logs_and_hidden_files_are_left_alone(results):
    for name in ("logs/x.log", "data/.temporary", ".hidden/d"):
        (results / name).parent.mkdir(exist_ok=True)
        (results / name).touch()
        os.utime(results / name, ns=(2 * 10**18, 2 * 10**18))
    settle_dates(results)
    assert [dates(results)[name] for name in ("logs/x.log", "data/.temporary", ".hidden/d")] == 3 * [2 * 10**18]


def test_folders_that_are_links_are_followed_once(results, tmp_path):
    (results / "models").rename(tmp_path / "disk")
    (results / "models").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "again").symlink_to(results)
    (results / "gone").symlink_to(tmp_path / "nowhere")
    settle_dates(results)
    assert (tmp_path / "disk" / "c").stat().st_mtime_ns == 10**18


def test_results_that_are_not_there_yet_have_a_mark(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert settle_dates(tmp_path / "results").is_file()
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("date", [0, -HOUR])
@pytest.mark.parametrize("remembered", [False, True])
def test_no_file_keeps_a_date_that_snakemake_takes_for_none(results, date, remembered):
    """1970 began at 0, the date of files in many archives; Snakemake asks `if date` before it compares."""
    for path in results.rglob("*"):
        os.utime(path, ns=(date, date))
    if remembered:
        remember("results/b")
    settle_dates(Path("results"))
    assert set(dates(results).values()) == {10**9}


@needs_root
def test_another_accounts_files_keep_their_dates_though_the_group_may_write_them(results):
    with folder_of_all() as folder:
        shutil.copytree(results, folder / "results")
        for path in [folder / "results", *(folder / "results").rglob("*")]:
            os.chown(path, ONE, GROUP)
            path.chmod(0o2775 if path.is_dir() else 0o664)
        (folder / ".snakemake").mkdir(mode=0o777)
        (folder / ".snakemake").chmod(0o777)
        os.chdir(folder)
        before = dates(folder / "results")
        with account(OTHER, umask=0o002, group=GROUP):
            mark = settle_dates(Path("results"))
        assert dates(folder / "results") == before
        assert mark.stat().st_mtime_ns > max(before.values())
