"""What prepares the files of bad inputs: functions that make them and return the YAML text that names them."""

import csv
import gzip
import json
import os
import pickle
import struct
from pathlib import Path

import datasets
import pyarrow as pa
import pytest
import torch
import yaml
from harness import merged
from PIL import Image
from pyarrow import parquet
from safetensors.torch import load_file, save_file

from guda.config import NoiseSchedule as NoiseSettings
from guda.config import UNet
from guda.core.paths import WEIGHTS
from guda.models.denoisers import new_denoiser
from guda.models.noise_schedule import NoiseSchedule

OVERLAY = "overlay-0.yaml"  # the file that the text is written to
OWN_IMAGES = "data: {dataset: image_folder, folder: images, group_by: label}\nunlearn: {n_neighbors: 1}\n"
OWN_TABLE = (
    "data: {dataset: image_folder, folder: images, table: table.csv, group_by: artist}\n"
    "unlearn: {n_neighbors: 1}\nmetrics: {content: null}\n"
)
OWN_QUERIES = {"folder": "own", "overlay": "queries: {folder: own}\n"}
PRETRAINED = "model: {pretrained: foreign}\n"
IDX = "data: {dataset: idx, folder: idx, group_by: label}\nunlearn: {n_neighbors: 1}\n"
CIFAR = "data: {dataset: cifar10, folder: cifar, group_by: label}\nunlearn: {n_neighbors: 1}\n"
IDX_IMAGES, IDX_LABELS = "idx/train-images-idx3-ubyte", "idx/train-labels-idx1-ubyte"
SAVED = "data: {dataset: huggingface, folder: saved, group_by: label}\nunlearn: {n_neighbors: 1}\n"
STYLED = """
data: {dataset: styled_digits, group_by: style, subset: {count: 100}}
text_to_image: {prompts: {content: label, template: "a {label}, {descriptors}", content_template: "a {label}"}}
noise_schedule: {beta_schedule: scaled_linear}
metrics: {content: null}
"""
A, B = "a/0.png", "b/0.png"  # an image of each of two groups
AS_ROOT = pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")


def row(name, *values, marks=()):
    return pytest.param(*values, id=name, marks=marks)


def styled(overlay):
    """A text-to-image experiment on styled digits, with a YAML text merged over it."""
    return yaml.dump(merged(yaml.safe_load(STYLED), yaml.safe_load(overlay)))


# --- what prepares files -----------------------------------------------------------------------------


def images(*names, folder="images", overlay=OWN_IMAGES, size=(8, 8), mode="L"):
    """Gray images of 8x8 pixels; the last one is of this size and mode."""

    def prepare():
        for name in names:
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            (Image.new(mode, size) if name == names[-1] else Image.new("L", (8, 8))).save(path)
        return overlay

    return prepare


def table(*rows, header=("file", "artist")):
    """Images 0.png and 1.png with a table of these rows."""

    def prepare():
        images("0.png", "1.png")()
        with Path("table.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        return OWN_TABLE

    return prepare


def parquet_table(**columns):
    """Images 0.png and 1.png with a table of these columns."""

    def prepare():
        images("0.png", "1.png")()
        parquet.write_table(pa.table(columns), "table.parquet")
        return OWN_TABLE.replace("table.csv", "table.parquet")

    return prepare


def artists(first, second):
    return table(["0.png", first], ["1.png", second])


def empty_folder(path, overlay):
    def prepare():
        Path(path).mkdir()
        return overlay

    return prepare


def unreadable_folder():
    Path("images").mkdir(mode=0)
    return OWN_IMAGES


def name_in_latin_1():
    images(A, B)()
    Path(os.fsdecode(b"images/a/\xe9.png")).touch()
    return OWN_IMAGES


def damaged(prepare, path, content=None):
    """What `prepare` does, and then the file at `path` cut in half, or with other content."""

    def prepare_and_damage():
        overlay, file = prepare(), Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2] if content is None else content)
        return overlay

    return prepare_and_damage


def idx(overlay=IDX):
    """Two images of 8x8 pixels, of the labels 0 and 1."""
    Path("idx").mkdir()
    Path(IDX_IMAGES).write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, 2, 8, 8) + bytes(128))
    Path(IDX_LABELS).write_bytes(struct.pack(">4BI", 0, 0, 8, 1, 2) + bytes([0, 1]))
    return overlay


def gzipped_idx():
    idx()
    Path(f"{IDX_IMAGES}.gz").write_bytes(gzip.compress(Path(IDX_IMAGES).read_bytes()))
    Path(IDX_IMAGES).unlink()
    return IDX


def cifar():
    """The binary release, with an image of each of two classes in every batch."""
    Path("cifar").mkdir()
    for number in range(1, 6):
        Path(f"cifar/data_batch_{number}.bin").write_bytes(bytes(3073) + b"\1" + bytes(3072))
    Path("cifar/batches.meta.txt").write_text("airplane\nautomobile\n\n", encoding="utf-8")
    return CIFAR


def pickled_cifar():
    Path("cifar").mkdir()
    for number in range(1, 6):
        Path(f"cifar/data_batch_{number}").write_bytes(pickle.dumps(Planted()))
    return CIFAR


def saved(overlay=SAVED, **columns):
    """What save_to_disk writes of two images of 8x8 pixels, of the labels x and y, with other columns."""

    def prepare():
        columns.setdefault("image", [Image.new("L", (8, 8))] * 2)
        features = {name: datasets.Value("string") for name in ("label", *columns)} | {"image": datasets.Image()}
        data = {"label": ["x", "y"]} | columns
        datasets.Dataset.from_dict(data, features=datasets.Features(features)).save_to_disk("saved")
        return overlay

    return prepare


def foreign(change=None, shape=(1, 8, 8), **unet):
    """A network of the default settings but for these, in diffusers' layout; `change` is done to its weights' file."""

    def prepare():
        network = new_denoiser(UNet(**unet), NoiseSchedule.from_config(NoiseSettings()), shape)
        network.unet.save_pretrained("foreign")
        if change:
            change(Path("foreign", WEIGHTS))
        return PRETRAINED

    return prepare


def scheduler(**values):
    """A network of the default settings beside a scheduler of these."""
    return damaged(foreign(), "foreign/scheduler/scheduler_config.json", json.dumps(values).encode())


class Planted:
    """Unpickling this makes the folder `planted`."""

    def __reduce__(self):
        return os.mkdir, ("planted",)


def pickled(weights_file):
    weights_file.with_suffix(".bin").write_bytes(pickle.dumps(Planted()))
    weights_file.unlink()


def pickled_and_renamed(weights_file):
    weights_file.write_bytes(pickle.dumps(Planted()))


def without_bias(weights_file):
    weights = load_file(weights_file)
    del weights["conv_in.bias"]
    save_file(weights, weights_file)


def with_nan(weights_file):
    weights = load_file(weights_file)
    weights["conv_in.bias"][0] = torch.nan
    save_file(weights, weights_file)
