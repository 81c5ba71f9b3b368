"""Every stage is a program of its own: it explains itself, and answers a bad spec in one line."""

import ast
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "workflow_scripts"
PROGRAMS = sorted(SCRIPTS.glob("*.py"))
STAGES = [path for path in PROGRAMS if "stage_parser" in path.read_text(encoding="utf-8")]
# What --spec holds where each program expects its own: nothing, and a spec of another stage.
BAD_SPECS = ["{}", '{"stage":"nowhere","version":1}']


@pytest.fixture
def call(monkeypatch, capsys):
    """Runs a program in this interpreter, with wide lines, so that its help is not wrapped."""
    monkeypatch.setenv("COLUMNS", "1000")

    def run(path, *arguments):
        command, handler = [str(path), *map(str, arguments)], signal.getsignal(signal.SIGTERM)
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(path), run_name="__main__")
        signal.signal(signal.SIGTERM, handler)
        output, errors = capsys.readouterr()
        if isinstance(ended.value.code, str):  # printed by the interpreter, which then exits with 1
            return subprocess.CompletedProcess(command, 1, output, f"{errors}{ended.value.code}\n")
        return subprocess.CompletedProcess(command, ended.value.code, output, errors)

    return run


def words(text):
    return " ".join(text.split())


def required_flags(path):
    """The flags that a stage's source declares as required, by itself or by the function that several share."""
    source = path.read_text(encoding="utf-8")
    shared = [f"--{name}" for name in ("data", "pipeline", "queries") if f"add_{name}_argument(parser)" in source]
    shared += ["--results"] if "add_results_arguments(parser" in source else []
    return re.findall(r'add_argument\(\s*"(--[\w-]+)"[^)]*required=True', source) + shared


def test_there_is_a_stage_for_every_rule_with_a_program():
    rules = "\n".join(path.read_text(encoding="utf-8") for path in (SCRIPTS.parent / "rules").glob("*.smk"))
    called = set(re.findall(r'command\(\s*"(\w+\.py)"', rules))
    assert called == {path.name for path in STAGES}


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_help_tells_what_the_program_does(path, call):
    done = call(path, "--help")
    assert done.returncode == 0, done.stderr
    assert words(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))) in words(done.stdout)
    assert all(flag in done.stdout for flag in required_flags(path))


@pytest.mark.parametrize("path", STAGES, ids=lambda path: path.stem)
def test_a_bad_spec_is_answered_in_one_line(path, call, tmp_path):
    flags = [part for flag in required_flags(path) for part in (flag, str(tmp_path / "absent"))]
    if "--method" in flags:
        flags[flags.index("--method") + 1] = "random"
    for spec in BAD_SPECS:
        done = call(path, *flags, "--spec", spec)
        echo, *lines = done.stderr.splitlines()
        assert done.returncode == 1
        assert echo.startswith("$ ")
        assert len(lines) == 1, done.stderr
        assert re.match(r"error: --spec is not a valid spec of stage \w+: ", lines[0])
    assert list(tmp_path.iterdir()) == []


def test_a_spec_file_that_is_missing_is_named(tmp_path):
    """By a program in a process of its own."""
    flags = ["--spec", tmp_path / "absent.json", "--output", tmp_path / "out", "--data", "{}"]
    command = [sys.executable, SCRIPTS / "write_images.py", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()[1:]
    assert line.startswith("error: ")
    assert "absent.json" in line


@pytest.mark.parametrize(("method", "message"), [("gda", "did you mean 'guda'"), ("logo-x", "logo-x")])
def test_an_unknown_method_is_answered_in_one_line(tmp_path, call, method, message):
    flags = ["--method", method, "--results", tmp_path, "--output", tmp_path / "out", "--record", tmp_path / "record"]
    done = call(SCRIPTS / "attribute.py", "--spec", "{}", *flags)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()[1:]
    assert re.match(rf"error: .*{message}", line)
