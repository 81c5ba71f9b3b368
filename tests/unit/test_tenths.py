"""The choice of tests, by pytest itself on a file of 25 slow tests, a long and an ordinary one."""

import os
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
FILE = """
import pytest

@pytest.mark.slow
@pytest.mark.parametrize("number", range(25))
def test_slow(number): pass

@pytest.mark.long
def test_long(): pass

def test_ordinary(): pass
"""
COMMIT = "f" * 39  # and a last digit: consecutive numbers


@pytest.fixture
def chosen(tmp_path):
    (tmp_path / "test_some.py").write_text(FILE)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n slow\n long\n")
    command = [sys.executable, "-m", "pytest", "-p", "tenths", "--collect-only", "-q", "--color=no"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(TESTS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}

    def run(*arguments):
        done = subprocess.run(
            [*command, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return [line.split("::")[1] for line in done.stdout.splitlines() if "::" in line]

    return run


SLOW = [f"test_slow[{number}]" for number in range(25)]


def test_without_a_tenth_only_m_brings_slow_and_long_tests(chosen):
    assert chosen() == ["test_ordinary"]
    assert chosen("-m", "slow") == SLOW
    assert chosen("-m", "long") == ["test_long"]


def test_ten_consecutive_hashes_have_each_slow_test_once(chosen):
    parts = [chosen("-m", "slow", "--tenth", f"{COMMIT}{digit:x}") for digit in range(10)]
    assert sorted(chain(*parts)) == sorted(SLOW)
    assert {len(part) for part in parts} == {2, 3}


def test_a_tenth_comes_on_top_of_the_ordinary_tests(chosen):
    # 13 leaves 3.
    assert chosen("--tenth", "d") == ["test_slow[3]", "test_slow[13]", "test_slow[23]", "test_ordinary"]
