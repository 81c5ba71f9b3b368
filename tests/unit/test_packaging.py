"""The places that name packages and commands say the same."""

import re
import tomllib
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
        "pip install -r requirements-dev.txt && pytest -n 2",
    ],
)
def test_the_readme_gives_the_two_commands(command):
    assert f"    {command}\n" in (ROOT / "README.md").read_text()


def test_every_document_that_the_readme_points_to_exists():
    targets = re.findall(r"\]\(((?!http)[^)#]+)", (ROOT / "README.md").read_text())
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
