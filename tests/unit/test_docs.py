"""What the documents point to is there: links, headings, programs, presets and columns."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
]


def anchors(page: Path) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    links = re.findall(r"\]\(((?!https?:)[^)\s]+)\)", page.read_text(encoding="utf-8"))
    for link in links:
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_program_and_preset_that_is_named_exists(page):
    text = page.read_text(encoding="utf-8")
    for name in re.findall(
        r"\b((?:workflow_scripts|benchmarks|presets|rules|tests)/[\w/.-]*\w\.(?:py|yaml|smk))\b", text
    ):
        assert (ROOT / name).exists(), name


def test_every_page_is_reached_from_the_readme():
    linked = set(re.findall(r"\]\((docs/[\w-]+\.md)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert linked == {page.relative_to(ROOT).as_posix() for page in (ROOT / "docs").glob("*.md")}


def test_the_graph_of_rules_shows_those_of_the_main_job(tmp_path):
    drawn = re.findall(r"<text [^>]*>(\w+)</text>", (ROOT / "docs" / "rules.svg").read_text(encoding="utf-8"))
    command = [
        "snakemake",
        "-s",
        str(ROOT / "Snakefile"),
        "-d",
        str(tmp_path),
        "--rulegraph",
        "dot",
        "results/metrics.csv",
    ]
    done = subprocess.run([sys.executable, "-m", *command], cwd=tmp_path, capture_output=True, text=True)
    assert sorted(drawn) == sorted(re.findall(r'label = "(\w+)"', done.stdout)), done.stderr


def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    home, api = ((tmp_path / name).read_text(encoding="utf-8") for name in ("index.html", "api/index.html"))
    assert not re.search(r"""<(?:script|img)[^>]*src=["']?https?:|<link[^>]*href=["']?https?:""", home)
    assert "ELBO(x; base)" in api  # the docstring of guda.attribute
    assert (tmp_path / "config.yaml").exists()
