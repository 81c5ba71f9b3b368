"""What a user is told of a bad input: the key or file, what was found, what to do, and no traceback.

Every row of the catalog runs in-process. A sample of them, and with `pytest -m slow` all, go through the real
snakemake, which must say the same.
"""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from bad_files import OVERLAY
from bad_inputs import CONFIGURATION, FILES, STAGES
from harness import ROOT, Workflow, merged

from guda.config.file import read_yaml
from guda.core.errors import DataError, GudaError
from guda.core.paths import BASE
from guda.data.datasets import Dataset
from guda.plan.config import load_config
from guda.plan.experiment import Experiment

BUCKET = "bucket-0000"
# One row of each kind, for the real snakemake in CI.
SAMPLE = {"typo in a section", "key twice", "group of two lines", "half an image", "pickled model", "nan in a model"}


def through_snakemake(rows):
    """The rows, all but the sample marked as slow."""
    slow = [pytest.mark.slow]
    return [pytest.param(*row.values, id=row.id, marks=[*row.marks, *slow * (row.id not in SAMPLE)]) for row in rows]


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """The working directory: a folder with nothing but config.yaml."""
    shutil.copy(ROOT / "config.yaml", tmp_path)
    (tmp_path / "tiny.yaml").write_text("results: results\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def experiment(directory, bad):
    """The experiment of config.yaml and a row's input, made as the workflow makes it; and the YAML text."""
    overlay = bad if isinstance(bad, str) else bad()
    (directory / OVERLAY).write_text(overlay, encoding="utf-8")
    values = merged(read_yaml(directory / "config.yaml"), read_yaml(directory / OVERLAY))
    return Experiment(load_config(values)), overlay


def refusal(directory, bad):
    with pytest.raises(GudaError) as caught:
        experiment(directory, bad)
    return str(caught.value)


def assert_told(message, pattern):
    """The message has the words, in one line or in one for each problem, or says which sections to write."""
    assert re.search(pattern, message), message
    headline, *lines = message.splitlines()
    if headline.endswith("write"):
        load_config(yaml.safe_load("\n".join(lines)))
        return
    counted = re.match(r"(?:the configuration has )?(\d+) (?:problem|of \d+ images cannot be used:$)", headline)
    assert len(lines) == (int(counted[1]) if counted else 0), message


def refused_by_snakemake(directory, overlay, *arguments):
    """What the real snakemake says of it."""
    done = Workflow(directory, None).snakemake(*arguments, overlays=(overlay,))
    said = done.stdout + done.stderr
    assert done.returncode != 0, said
    assert "Traceback" not in said
    return said


# --- planning ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bad", "pattern"), CONFIGURATION + FILES)
def test_planning_refuses(directory, bad, pattern):
    assert_told(refusal(directory, bad), pattern)
    assert not Path("planted").exists(), "a pickle was opened"


@pytest.mark.parametrize(("bad", "pattern"), through_snakemake(CONFIGURATION + FILES))
def test_snakemake_says_the_same_when_planning(directory, bad, pattern):
    message = refusal(directory, bad)
    assert_told(message, pattern)
    said = refused_by_snakemake(directory, (directory / OVERLAY).read_text(encoding="utf-8"), "--dry-run")
    assert said.count(message) == 1, said


def test_the_sample_is_in_the_catalog():
    assert SAMPLE - {row.id for row in CONFIGURATION + FILES + STAGES} == set()


# --- jobs --------------------------------------------------------------------------------------------


def job(of, name):
    """A job's program, its arguments, its main output under snakemake, and its log there."""
    paths = of.paths
    if name == "images":
        arguments = ["--spec", of.images_spec.canonical(), "--data", of.config.data.model_dump_json()]
        return "write_images", [*arguments, "--output", "out"], paths.images(), paths.log("training_images")
    arguments = ["--spec", of.model_spec(BASE).canonical(), "--imports", json.dumps(of.imports), "--name", BASE]
    arguments += ["--samples", paths.images()]
    return "import_model", [*arguments, "--model", "out"], paths.model_weights(BASE), paths.log("models", BASE)


@pytest.mark.parametrize(("name", "bad", "pattern"), STAGES)
def test_the_job_that_reads_a_file_refuses(directory, monkeypatch, name, bad, pattern):
    program, arguments, _, _ = job(experiment(directory, bad)[0], name)
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    with pytest.raises(GudaError) as caught:
        importlib.import_module(program).main()
    assert_told(str(caught.value), pattern)
    assert not Path("out").exists()
    assert not Path("planted").exists(), "a pickle was opened"


@pytest.mark.parametrize(("name", "bad", "pattern"), through_snakemake(STAGES))
def test_a_job_of_snakemake_says_the_same(directory, name, bad, pattern):
    of, overlay = experiment(directory, bad)
    _, _, output, log = job(of, name)
    refused_by_snakemake(directory, overlay, "--cores", "1", output)
    command, *lines = Path(log).read_text(encoding="utf-8").splitlines()
    assert command.startswith("$ ")
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    assert_told(lines[0], pattern)
    assert not Path(output).exists()
    assert not Path("planted").exists(), "a pickle was opened"


def test_a_model_that_cannot_be_downloaded_is_named(directory):
    overlay = f"model: {{pretrained: nobody/nothing@{'0' * 40}}}"
    program, arguments, _, _ = job(experiment(directory, overlay)[0], BASE)
    command = [sys.executable, ROOT / "workflow_scripts" / f"{program}.py", *arguments]
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(directory)}
    done = subprocess.run(command, env=offline, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()[1:]
    assert re.match(r"error: model\.pretrained: nobody/nothing@0+ cannot be downloaded \(", line)


# --- a file that is no YAML mapping ------------------------------------------------------------------

# Its bytes (None: no file), what is said of it, and what snakemake says, which reads it before the workflow can.
NO_MAPPINGS = [
    pytest.param(b"training: {\n", ": not valid YAML: line 2, column 1: ", "not valid JSON or YAML", id="half"),
    pytest.param(b"a:\n\tb: 1\n", ": not valid YAML: line 2, .*character", "not valid JSON or YAML", id="tab"),
    pytest.param(b"a: \x00\n", ": not valid YAML: .*special characters", "not valid JSON or YAML", id="zero byte"),
    pytest.param(b"- training\n", ": expected a mapping of keys, found list", "keys at top level", id="list"),
    pytest.param(b"training\n", ": expected a mapping of keys, found str", "keys at top level", id="text"),
    pytest.param(b"", ": expected a mapping of keys, found NoneType", "keys at top level", id="empty"),
    pytest.param("é: 1\n".encode("latin-1"), ": not UTF-8 text; save it as UTF-8", "'utf-8' codec", id="Latin-1"),
    pytest.param(None, r": cannot be read \(No such file", r"No such file.*my\.yaml", id="missing"),
]


@pytest.mark.parametrize(("content", "pattern", "of_snakemake"), NO_MAPPINGS)
def test_a_file_that_is_no_mapping_is_refused(directory, content, pattern, of_snakemake):
    if content is not None:
        (directory / "my.yaml").write_bytes(content)
    with pytest.raises(GudaError) as caught:
        read_yaml(directory / "my.yaml")
    assert_told(str(caught.value), r"my\.yaml" + pattern)


@pytest.mark.slow
@pytest.mark.parametrize(("content", "pattern", "of_snakemake"), NO_MAPPINGS)
def test_snakemake_refuses_a_file_that_is_no_mapping_in_words_of_its_own(directory, content, pattern, of_snakemake):
    """Some of it with a traceback, which is not ours to change."""
    if content is not None:
        (directory / "my.yaml").write_bytes(content)
    done = Workflow(directory, None).snakemake("--dry-run", "--configfile", "my.yaml")
    assert done.returncode != 0
    assert re.search(of_snakemake, done.stdout + done.stderr), done.stdout + done.stderr


# --- arrays and numbers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pixels", "pattern"),
    [
        (np.zeros((2, 1, 8, 8)), r"dataset 'mine': images must be uint8 \[N, C, H, W\], found float64 \[2, 1, 8, 8\]"),
        (np.full((2, 1, 8, 8), np.nan, np.float32), r"dataset 'mine': images must be uint8 .*, found float32"),
        (np.zeros((2, 8, 8), np.uint8), r"dataset 'mine': images must be uint8 .*, found uint8 \[2, 8, 8\]"),
        (np.zeros((3, 1, 8, 8), np.uint8), r"dataset 'mine': 3 images, but 2 rows in the table"),
    ],
    ids=["floats", "nan", "no channels", "other length"],
)
def test_arrays_that_are_no_images_are_refused(pixels, pattern):
    with pytest.raises(DataError) as caught:
        Dataset.build("mine", [pixels], pd.DataFrame({"id": ["a", "b"]}))
    assert_told(str(caught.value), pattern)


def test_a_rate_that_yaml_reads_as_text_is_taken_as_the_number(directory):
    of, _ = experiment(directory, "training: {learning_rate: 1e-4}")
    assert of.config.training.learning_rate == 1e-4
