"""Every stage is a program of its own: it explains itself, and answers a bad spec in one line."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "workflow_scripts"
PROGRAMS = sorted(SCRIPTS.glob("*.py"))
STAGES = [path for path in PROGRAMS if "stage_parser" in path.read_text(encoding="utf-8")]
# What --spec holds where each program expects its own: nothing, and a spec of another stage.
BAD_SPECS = ["{}", '{"stage":"nowhere","version":1}']


def call(path, *arguments):
    """Run a program in a fresh interpreter; wide lines, so that its help is not wrapped."""
    environment = os.environ | {"COLUMNS": "1000"}
    return subprocess.run(
        [sys.executable, path, *arguments], capture_output=True, text=True, env=environment, timeout=300, check=False
    )


def words(text):
    return " ".join(text.split())


def required_flags(path):
    """The flags that a stage's source declares as required, by itself or by the function that several share."""
    source = path.read_text(encoding="utf-8")
    shared = [f"--{name}" for name in ("data", "pipeline", "queries") if f"add_{name}_argument(parser)" in source]
    return re.findall(r'add_argument\(\s*"(--[\w-]+)"[^)]*required=True', source) + shared


def test_there_is_a_stage_for_every_rule_with_a_program():
    rules = "\n".join(path.read_text(encoding="utf-8") for path in (SCRIPTS.parent / "rules").glob("*.smk"))
    called = set(re.findall(r'command\(\s*"(\w+\.py)"', rules))
    assert called == {path.name for path in STAGES}


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_help_tells_what_the_program_does(path):
    done = call(path, "--help")
    assert done.returncode == 0, done.stderr
    assert words(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))) in words(done.stdout)
    assert all(flag in done.stdout for flag in required_flags(path))


@pytest.mark.parametrize("path", STAGES, ids=lambda path: path.stem)
def test_a_bad_spec_is_answered_in_one_line(path, tmp_path):
    flags = [part for flag in required_flags(path) for part in (flag, str(tmp_path / "absent"))]
    if "--method" in flags:
        flags[flags.index("--method") + 1] = "random"
    for spec in BAD_SPECS:
        done = call(path, *flags, "--spec", spec)
        echo, *lines = done.stderr.splitlines()
        assert done.returncode == 1
        assert echo.startswith("$ ")
        assert len(lines) == 1, done.stderr
        assert re.match(r"error: --spec is no valid spec of stage \w+: ", lines[0])
    assert list(tmp_path.iterdir()) == []


def test_a_spec_file_that_is_missing_is_named(tmp_path):
    done = call(
        SCRIPTS / "write_images.py", "--spec", tmp_path / "absent.json", "--output", tmp_path / "out", "--data", "{}"
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()[1:]
    assert line.startswith("error: ")
    assert "absent.json" in line


@pytest.mark.parametrize(("method", "message"), [("gda", "did you mean 'guda'"), ("logo-x", "logo-x")])
def test_an_unknown_method_is_answered_in_one_line(tmp_path, method, message):
    flags = ["--method", method, "--results", tmp_path, "--output", tmp_path / "out", "--record", tmp_path / "record"]
    done = call(SCRIPTS / "attribute.py", "--spec", "{}", *flags)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()[1:]
    assert re.match(rf"error: .*{message}", line)
