"""docs/your-own-data.md, word for word, on two hundred pictures in three overlapping groups."""

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from harness import ROOT, warm
from PIL import Image

from guda.data.groups import read_members
from guda.specs import GroupSpec, digest_lines

TUTORIAL = (ROOT / "docs" / "your-own-data.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(yaml|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BEGIN, PLAN, ESTIMATE, REHEARSE, ASK = [text.strip() for kind, text in BLOCK.findall(TUTORIAL) if kind == "sh"]
N_PICTURES = 200
ARTISTS, SUBJECTS = ["Ann", "Bob", "Cid"], ["landscape", "portrait"]


def work(number):
    """A picture's row in the table. Each third is Ann's, each second a landscape, the first 85 from before 1950."""
    artist, year = ARTISTS[number % 3], 1865 + number
    suffix = ["png", "jpg", "bmp"][number % 3]
    return f"{artist.lower()}/{number:04d}.{suffix}", artist, year, SUBJECTS[number % 2]


def paint(path, number):
    """A picture of a size and shape of its own: the artist's color, with noise."""
    path.parent.mkdir(exist_ok=True, parents=True)
    generator = np.random.default_rng(number)
    pixels = generator.integers(0, 90, (32 + number % 5, 40, 3), dtype=np.uint8)
    pixels[..., number % 3] += 150
    Image.fromarray(pixels).save(path)


def run(command, folder):
    """One of the tutorial's commands in a shell, in the project's folder."""
    python = Path(sys.executable).parent
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("SNAKEMAKE_", "GUDA_"))}
    environment["PATH"] = f"{python}{os.pathsep}{environment['PATH']}"
    environment |= warm()
    return subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A clone of the project with the pictures, their table and the tutorial's files in it."""
    folder = tmp_path_factory.mktemp("tutorial") / "project"
    folder.mkdir()
    for name in ("Snakefile", "rules", "workflow_scripts", "profiles", "presets", "envs", "config.yaml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    rows = [work(number) for number in range(N_PICTURES)]
    for number, (file, *_) in enumerate(rows):
        paint(folder / "pictures" / file, number)
    pd.DataFrame(rows, columns=["file", "artist", "year", "subject"]).to_csv(folder / "works.csv", index=False)
    for number in range(4):
        paint(folder / "pictures_to_ask_about" / ["old", "new"][number % 2] / f"{number}.png", 1000 + number)
    return folder


@pytest.fixture(scope="module")
def written(project):
    """What `begin.py` said of the pictures, and Snakemake of what it wrote; the tutorial then writes its own files."""
    begun, planned = run(BEGIN, project), run(PLAN, project)
    for kind, text in BLOCK.findall(TUTORIAL):
        if kind == "yaml":
            (project / text.split("\n")[0].removeprefix("# ")).write_text(text, encoding="utf-8")
    return begun, planned


def read(file):
    with file.open(newline="") as table:
        return list(csv.DictReader(table))


# 0, 3, .., 198 are Ann's (67); 0 .. 84 are early, 100 landscapes; 39 are none of these.
DESCRIBED = f"{N_PICTURES} training images, 39 in no group; 3 groups: ann (67), early (85), landscapes (100)"


def test_the_tutorials_beginning(written):
    for done in written:
        assert done.returncode == 0, done.stderr
        assert f"{N_PICTURES} training images, 0 in no group; 3 groups: Ann (67), Bob (67), Cid (66)" in done.stdout


def test_the_tutorials_plan(project, written):
    planned = run(PLAN, project)
    assert planned.returncode == 0, planned.stderr
    assert DESCRIBED in planned.stdout
    assert not (project / "results").exists()


@pytest.mark.slow
def test_the_tutorials_estimate(project, written):
    done = run(ESTIMATE, project)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(project / "results/paintings/estimate.csv").set_index("phase")
    assert table.loc["base model", "evaluations"] == 2500 * 64 * 3
    assert table.loc["all", "evaluations"] == table.drop(index="all")["evaluations"].sum()
    assert "oracle, seed 1" not in table.index
    assert not (project / "results/paintings/models").exists()


@pytest.mark.slow
def test_the_tutorial_from_pictures_to_rankings(project, written):
    done = run(REHEARSE, project)
    assert done.returncode == 0, done.stderr
    assert DESCRIBED in done.stderr
    results = project / "results" / "rehearsal"
    early = [work(number)[0] for number in range(N_PICTURES) if work(number)[2] < 1950]
    spec = GroupSpec(dataset="image_folder", group="early", members=digest_lines(early))
    assert read_members(results / "groups" / "early.json", spec.digest()) == set(early)
    assert {row["group"] for row in read(results / "rankings.csv")} == {"ann", "early", "landscapes"}
    assert len({row["query"] for row in read(results / "rankings.csv")}) == 8

    models = {file: file.stat().st_mtime_ns for file in results.glob("models/**/*.safetensors")}
    assert len(models) == 4  # the base, and without each group
    asked = run(ASK, project)
    assert asked.returncode == 0, asked.stderr
    assert {file: file.stat().st_mtime_ns for file in results.glob("models/**/*.safetensors")} == models
    queries = {row["query"] for row in read(results / "sets" / "mine" / "rankings.csv")}
    assert queries == {"old/0.png", "new/1.png", "old/2.png", "new/3.png"}
    assert len({row["query"] for row in read(results / "rankings.csv")}) == 8
