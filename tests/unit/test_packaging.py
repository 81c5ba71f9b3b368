"""The places that name packages and commands say the same."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins(file: str) -> dict[str, str]:
    lines = (ROOT / file).read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


@pytest.mark.parametrize(
    ("file", "requirements"),
    [
        ("requirements.txt", PROJECT["dependencies"]),
        ("requirements-dev.txt", PROJECT["optional-dependencies"]["dev"]),
    ],
)
def test_the_lock_pins_every_dependency_inside_its_range(file, requirements):
    locked = pins(file)
    for requirement in map(Requirement, requirements):
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)])


def test_conda_environments_have_the_versions_of_the_lock():
    locked = pins("requirements.txt")
    for file in (ROOT / "envs").glob("*.yaml"):
        packages = yaml.safe_load(file.read_text())["dependencies"][-1]["pip"]
        assert packages
        assert all(locked[name] == version for name, version in (package.split("==") for package in packages))


@pytest.mark.parametrize(
    "command",
    [
        "pip install -r requirements.txt && snakemake --cores all results/metrics.csv",
        "pip install -r requirements-dev.txt && pytest -n 3",
    ],
)
def test_the_readme_gives_the_two_commands(command):
    assert f"    {command}\n" in (ROOT / "README.md").read_text()


def test_every_document_that_the_readme_points_to_exists():
    targets = re.findall(r"\]\(((?!http)[^)#]+)", (ROOT / "README.md").read_text())
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


# --- the package -------------------------------------------------------------------------------------

LIBRARY = ROOT / "workflow_scripts" / "guda"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of the package, by pip from a copy of what it needs, without a download."""
    source, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE", "Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, source)
    for name in ("envs", "presets", "profiles", "rules", "workflow_scripts"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", made, source]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options], check=True)
    (file,) = made.glob("*.whl")
    return file


def test_the_wheel_holds_every_file_of_the_library(wheel):
    files = [path for path in LIBRARY.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    names = zipfile.ZipFile(wheel).namelist()
    packed = {name for name in names if name.startswith("guda/")}
    assert packed == {path.relative_to(LIBRARY.parent).as_posix() for path in files}
    assert {name.split("/")[0].split("-")[0] for name in names} == {"guda", "guda_workflow"}


def test_the_documented_example_runs_with_the_wheel_from_another_folder(wheel, tmp_path):
    """It attributes digits to themselves. Its last lines print the scores and how far they agree with the oracle's."""
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    code = f"""{example}
import pathlib
assert pathlib.Path(guda.__file__).is_relative_to({str(tmp_path / "installed")!r}), guda.__file__
first = scores.loc[scores.groupby("query")["score"].idxmax()]
assert (first["group"].astype(int) == digits.target[first["query"].astype(int)]).mean() > 0.8, first
assert guda.metrics.agreement(scores, oracle)["top1"] > 0.8
"""
    places = {"PYTHONPATH": str(tmp_path / "installed"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error::FutureWarning", "-c", code]
    subprocess.run(command, cwd=tmp_path, env=os.environ | places, check=True)


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """An environment that has the wheel and nothing else of this project; what it needs is that of these tests."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet"]
    options = ["--no-deps", "--no-index", "--ignore-installed", wheel]
    subprocess.run([*command, *options], check=True)
    return folder / "bin"


def test_the_wheel_brings_the_workflow(installed, tmp_path):
    """`guda-workflow init` writes a folder whose Snakefile runs, with the installed programs and profiles."""
    folder = tmp_path / "mine"
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SNAKEMAKE_"))}
    done = subprocess.run([installed / "guda-workflow", "init", folder], env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    assert written == ["Snakefile", "config.yaml", "profiles/default/config.yaml", "profiles/slurm/config.yaml"]
    snakemake = [installed / "python", "-m", "snakemake", "--cores", "1"]
    run = subprocess.run(
        [*snakemake, "results/data/groups.csv"], cwd=folder, env=variables, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert "profile profiles/default" in run.stderr
    log = (folder / "results" / "logs" / "groups" / "amber.log").read_text()
    assert str(installed.parent / "share" / "guda-workflow" / "workflow_scripts" / "write_group.py") in log
    again = subprocess.run([installed / "guda-workflow", "init", folder], env=variables, capture_output=True, text=True)
    assert again.returncode == 1
    assert again.stderr == f"error: {folder / 'Snakefile'} already exists; choose another folder, or move it away\n"
