"""`begin.py`: what it writes for folders of pictures is a plan for the real snakemake, or it says what is missing."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from harness import ROOT, warm
from PIL import Image

from guda.config.file import read_yaml

ODD = {"A$AP & <b>": 12, "ja: [x]": 12, "#1 'é' \"q\"": 12, "no": 12, "{g}": 3}


def paint(path: Path, number: int, size: tuple[int, int] = (20, 24), gray: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, size if gray else (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def run(folder: Path, *command: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=warm(), capture_output=True, text=True, check=False
    )


def begin(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return run(folder, ROOT / "workflow_scripts" / "begin.py", *arguments)


def plan(folder: Path, file: str) -> str:
    """What the real snakemake says of a file, which it must take."""
    where = ["--snakefile", ROOT / "Snakefile", "--directory", folder]
    done = run(folder, "-m", "snakemake", *where, "-n", "--quiet", "rules", "--configfile", file)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_folder_with_a_table_of_odd_names(tmp_path):
    rows = ["file;Maker's #1: name;year;kind"]
    numbers = iter(range(1000))
    for maker, count in ODD.items():
        for number in (next(numbers) for _ in range(count)):
            paint(tmp_path / "my pictures" / f"{number} é.png", number)
            quoted = maker.replace('"', '""')
            rows.append(f'{number} é.png;"{quoted}";{1900 + number};{"ab"[number % 2]}')
    (tmp_path / "works.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    done = begin(tmp_path, "my pictures", "works.csv", "--output", "mine.yaml")
    assert done.returncode == 0, done.stderr
    written = read_yaml(tmp_path / "mine.yaml")
    makers = sorted(set(ODD) - {"{g}"})
    assert written["data"]["group_by"] == "Maker's #1: name"
    assert written["data"]["groups"] == makers
    assert written["data"]["size"] == [16, 16]
    assert written["data"]["channels"] == 3
    assert written["oracle"] == {"seeds": []}
    assert written["results"] == "results/my_pictures"
    text = (tmp_path / "mine.yaml").read_text(encoding="utf-8")
    assert "'year': 51 values, of 1 image\n" in text
    assert "'kind': 2 values, of 25 to 26 images\n" in text
    described = f"51 training images, 3 in no group; 4 groups: {', '.join(f'{maker} (12)' for maker in makers)}"
    assert described in done.stdout
    assert described in plan(tmp_path, "mine.yaml")
    again = begin(tmp_path, "my pictures", "works.csv", "--output", "mine.yaml")
    assert again.returncode == 1
    assert "error: mine.yaml exists; name another file with --output" in again.stderr
    assert begin(tmp_path, "my pictures", "works.csv", "--output", "mine.yaml", "--force").returncode == 0


def test_sub_folders_of_gray_pictures_in_splits(tmp_path):
    """Groups are the classes, not the splits; the pictures are smaller than any usual network asks for."""
    for number in range(48):
        paint(
            tmp_path / "set" / ["train", "test"][number % 2] / "abc"[number % 3] / f"{number}.png",
            number,
            (9, 12),
            True,
        )
    done = begin(tmp_path, "set")
    assert done.returncode == 0, done.stderr
    written = read_yaml(tmp_path / "my.yaml")
    assert written["data"] == {
        "dataset": "image_folder",
        "folder": "set",
        "size": [8, 8],
        "channels": 1,
        "group_by": "folder_2",
    }
    assert written["training"]["batch_size"] == 32
    assert "48 training images, 0 in no group; 3 groups: a (16), b (16), c (16)" in plan(tmp_path, "my.yaml")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (None, "nothing defines the groups: 'flat' has no sub-folders with images"),
        ("file,title\n0.png,x\n1.png,x\n", "no column defines two groups or more (title has 1 value, of 2 images)"),
        ("file,title\n0.png,x\n9.png,y\n", "data.table: 'table.csv'"),
    ],
)
def test_without_groups_it_says_what_is_missing(tmp_path, table, said):
    for number in range(2):
        paint(tmp_path / "flat" / f"{number}.png", number)
    if table:
        (tmp_path / "table.csv").write_text(table, encoding="utf-8")
    done = begin(tmp_path, "flat", *(["table.csv"] if table else []))
    assert done.returncode == 1
    assert f"error: {said}" in done.stderr.replace("there are ", "")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "my.yaml").exists()
