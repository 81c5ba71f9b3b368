"""Files that cannot be read from end to end: a pipe, a socket, a device, and links to these, are refused unopened."""

import os
import re
import socket
from pathlib import Path

import pytest

from guda.config.file import read_yaml
from guda.core.artifacts import load_tensors, made_for, read_csv, read_json, sha256_file
from guda.core.errors import GudaError
from guda.core.files import regular
from guda.data.datasets.inert_pickle import read_mapping
from guda.data.datasets.json_files import read_json as read_own_json
from guda.data.datasets.json_files import read_json_rows
from guda.data.datasets.raw_files import find_file, read_bytes
from guda.data.datasets.table_files import read_table
from guda.models.checkpoints.files import read_object
from guda.models.imported import vision_digest
from guda.models.stable_diffusion.folder import pipeline_digest


def pipe(path):
    os.mkfifo(path)


def link_to_pipe(path):
    os.mkfifo(path.parent / "pipe")
    path.symlink_to("pipe")


def listening(path):
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(path))


def endless(path):
    path.symlink_to("/dev/zero")


def circle(path):
    path.symlink_to(path.name)


SPECIAL = {
    pipe: "it is a named pipe, not a regular file",
    link_to_pipe: "it is a named pipe, not a regular file",
    listening: "it is a socket, not a regular file",
    endless: "it is a device, not a regular file",
    circle: "Too many levels of symbolic links",
    Path.mkdir: "Is a directory",
    lambda path: path.symlink_to("nothing"): "No such file or directory",
}


@pytest.mark.parametrize(("make", "reason"), SPECIAL.items())
def test_what_is_no_regular_file_is_named_with_its_kind(tmp_path, monkeypatch, make, reason):
    monkeypatch.chdir(tmp_path)  # a socket's path has to be short
    make(Path("x"))
    with pytest.raises(OSError, match=reason) as caught:
        regular("x")
    assert (caught.value.strerror, caught.value.filename) == (reason, "x")


def test_a_regular_file_may_be_linked_to(tmp_path):
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to("file")
    assert regular(str(tmp_path / "link")) == tmp_path / "link"


READERS = {
    "x.csv": read_csv,
    "x.yaml": read_yaml,
    "x.json": read_json,
    "y.json": lambda path: read_own_json(str(path), "key"),
    "x.jsonl": lambda path: read_json_rows(str(path), "key"),
    "z.csv": lambda path: read_table(path, "key"),
    "x.parquet": lambda path: read_table(path, "key"),
    "x.gz": read_bytes,
    "x.bin": read_bytes,
    "data_batch_1": read_mapping,
    "config.json": lambda path: read_object(path, "key"),
    "x.safetensors": lambda path: load_tensors(path, framework="np"),
    "weights": sha256_file,
    "model_index.json": lambda path: pipeline_digest(str(path.parent), "key"),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("make", [pipe, endless])
def test_no_reader_waits_for_a_pipe_or_a_device(tmp_path, make, name):
    """Each says so in an error that names the file."""
    make(tmp_path / name)
    with pytest.raises(
        (GudaError, OSError), match=rf"{re.escape(name)}.*not a regular file|not a regular file.*{name}"
    ):
        READERS[name](tmp_path / name)


def test_files_of_others_are_passed_over_or_refused_where_they_are_looked_for(tmp_path):
    os.mkfifo(tmp_path / "train")
    with pytest.raises(GudaError, match=r"holds no train\.bin and no train; name the folder"):
        find_file(tmp_path, "cifar100", "train.bin", "train")
    os.mkfifo(tmp_path / "results.safetensors")
    assert made_for(tmp_path / "results.safetensors") is None


def test_the_weights_of_a_vision_model_are_a_regular_file(tmp_path):
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_text("{}")
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(GudaError, match=r"model\.safetensors is not a regular file"):
        vision_digest(str(tmp_path), "key")


@pytest.mark.parametrize("name", ["x.json", "y.json", "x.jsonl", "config.json", "model_index.json"])
def test_brackets_in_brackets_are_no_json(tmp_path, name):
    (tmp_path / name).write_text("[" * 100_000)
    with pytest.raises(GudaError, match=rf"{re.escape(name)}.*brackets are nested too deeply"):
        READERS[name](tmp_path / name)
