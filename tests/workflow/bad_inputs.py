"""The catalogue of bad inputs, and what prepares their files. See test_bad_inputs.py.

A row has a name, the input, and a pattern of the message. The input is a YAML text that is merged over config.yaml, or
a function that prepares files in the working directory and returns that text.
"""

import csv
import gzip
import json
import os
import pickle
import re
import struct
from pathlib import Path

import datasets
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet
from safetensors.torch import load_file, save_file

from guda.config import NoiseSchedule as NoiseSettings
from guda.config import UNet
from guda.denoisers import new_denoiser
from guda.noise_schedule import NoiseSchedule
from guda.paths import WEIGHTS

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
A, B = "a/0.png", "b/0.png"  # an image of each of two groups
AS_ROOT = pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")


def row(name, *values, marks=()):
    return pytest.param(*values, id=name, marks=marks)


# --- what prepares files -----------------------------------------------------------------------------


def images(*names, folder="images", overlay=OWN_IMAGES, size=(8, 8), mode="L"):
    """Grey images of 8x8 pixels; the last one is of this size and mode."""

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


# --- what planning refuses: the configuration, and files that it reads -------------------------------

CONFIGURATION = [
    row("typo in a section", "trainng: {steps: 3}", r"  trainng: unknown key; did you mean 'training'\?"),
    row("typo in a key", "training: {stesp: 3}", r"  training\.stesp: unknown key; did you mean 'steps'\?"),
    row("typo deeper", "elbo: {steps: {strid: 5}}", r"  elbo\.steps\.strid: unknown key; did you mean 'stride'\?"),
    row("key like no other", "figure: {zzz: 1}", r"  figure\.zzz: unknown key; known: queries, top$"),
    row("two problems", "a: 1\nfigure: {top: 0}", r"2 problem\(s\):\n  figure\.top: .*\n  a: unknown key"),
    row("word for a number", "training: {steps: many}", r"  training\.steps: .* whole number \(found 'many'\)"),
    row("half a step", "training: {steps: 2.5}", r"  training\.steps: expected a whole number \(found 2\.5\)"),
    row("1e3 for a count", "training: {steps: 1e3}", r"  training\.steps: expected a whole number \(found '1e3'\)"),
    row("true for a number", "training: {steps: true}", r"  training\.steps: .* than true or false \(found True\)"),
    row("no for a rate", "training: {learning_rate: no}", r"\.learning_rate: .* than true or false \(found False\)"),
    row("number for true", "unet: {add_attention: 3}", r"  unet\.add_attention: .*true or false \(found 3\)"),
    row("word for a rate", "training: {learning_rate: fast}", r"\.learning_rate: .* number \(found 'fast'\)"),
    row("nan", "training: {learning_rate: .nan}", r"  training\.learning_rate: must be a finite number \(found nan\)"),
    row("infinity", "unlearn: {forget_weight: .inf}", r"  unlearn\.forget_weight: .* finite number \(found inf\)"),
    row("negative seed", "elbo: {seed: -1}", r"  elbo\.seed: must be greater than or equal to 0 \(found -1\)"),
    row("number for a section", "training: 5", r"  training: expected a mapping of keys \(found 5\)"),
    row("nothing in a section", "training:", r"  training: expected a mapping of keys \(found None\)"),
    row("list of overrides", "unlearn: {overrides: [amber]}", r"  unlearn\.overrides: expected a mapping .*'amber'"),
    row("method, no list", "methods: guda", r"  methods: expected a list, as in \[a, b\] \(found 'guda'\)"),
    row("number for a folder", "results: 5", r"  results: expected text; put numbers .* in quotes \(found 5\)"),
    row("results in no folder", "results: ''", r"  results: must not be empty"),
    row("braces in results", "results: 'a{b}'", r"  results: 'a\{b\}' holds a brace .*; choose another name"),
    row("number for a group", "data: {groups: [1, amber]}", r"  data\.groups\.0: expected text; put .*\(found 1\)"),
    row("date for a group", "data: {groups: [2020-01-01]}", r"  data\.groups\.0: expected text; put .*dates in quotes"),
    row("key twice", "figure:\n  top: 1\n  top: 2", rf"{OVERLAY}: .*line 3: the key 'top' stands twice; keep one"),
    row("group 1 in overrides", "unlearn: {overrides: {1: {}}}",
        rf"{OVERLAY}: .*line 1: the key 1 .*; put it in quotes"),
    row("no as key", "no: 1", rf"{OVERLAY}: .*line 1: the key no is read as bool; put it in quotes"),
    row("no method", "methods: []", r"  methods: must not be empty"),
    row("unknown method", "methods: [nearst]", r"methods: unknown method 'nearst'; did you mean 'nearest'\?"),
    row("method twice", "methods: [guda, guda]", r"  methods: \['guda', 'guda'\] names a method twice; keep one"),
    row("oracle as method", "methods: [logo-1]", r"methods: unknown method 'logo-1'; known: guda, guda_uncalibrated"),
    row("oracle seed twice", "oracle: {seeds: [1, 2, 1]}", r"  oracle: seeds \[1, 2, 1\] repeats a seed; two"),
    row("no oracle seed", "oracle: {seeds: []}", r"  oracle\.seeds: must not be empty"),
    row("warm-up", "training: {steps: 9, warmup_steps: 10}",
        r"  training: warmup_steps is 10 .* 9 steps; make it smaller"),
    row("no queries", "queries: {count: 0}", r"  queries\.count: must be greater than 0 \(found 0\)"),
    row("empty buckets", "queries: {count: 3, buckets: 4}", r"  queries: buckets is 4 but count is 3; use at most"),
    row("full bucket", "queries: {count: 5001}", r"  queries: count 5001 is too large for 1 .*; use at least 2"),
    row("sampling", "queries: {sampling_steps: 1001}", r"  queries\.sampling_steps exceeds .*; choose fewer"),
    row("sampling in uneven steps", "queries: {sampling_steps: 300}",
        r"  queries\.sampling_steps is 300, which does not divide .* 1000, .* ddim needs; choose a divisor"),
    row("unknown sampler", "queries: {sampler: dpm}", r"  queries\.sampler: must be 'ddim', .* \(found 'dpm'\)"),
    row("step 0", "elbo: {steps: {first: 0}}", r"  elbo\.steps\.first: must be greater than 0 \(found 0\)"),
    row("last step", "elbo: {steps: {last: 1000}}", r"  elbo\.steps\.last is 1000, .* last step is 999; choose"),
    row("window", "elbo: {steps: {first: 9, last: 8}}", r"  elbo\.steps: first is 9, after last 8; choose a smaller"),
    row("norm groups", "unet: {norm_num_groups: 5}",
        r"  unet: block_out_channels: 16 is no multiple of norm.* 5; change"),
    row("blocks", "unet: {block_out_channels: [8]}",
        r"  unet: down_block_types has 2 entries, block_out.* 1; give one"),
    row("no resolutions", "unet: {block_out_channels: []}", r"  unet\.block_out_channels: must not be empty"),
    row("unknown block", "unet: {up_block_types: [A, UpBlock2D]}",
        r"  unet\.up_block_types\.0: must be 'UpBlock2D', .*'A'"),
    row("wide heads", "unet: {attention_head_dim: 64, add_attention: true}",
        r"  unet: attention_head_dim is 64, .*; use 32"),
    row("groups before attention", "unet: {add_attention: true, attn_norm_num_groups: 3}",
        r"  unet: attn_norm_num_groups is 3, which does not divide the 32 channels .*; change one"),
    row("frequencies", "unet: {freq_shift: 8}", r"  unet: freq_shift is 8, but 16 channels .* 8 frequencies; use less"),
    row("padding", "unet: {downsample_padding: 2}", r"  unet\.downsample_padding: must be 0 or 1 \(found 2\)"),
    row("unknown activation", "unet: {act_fn: tanh}", r"  unet\.act_fn: must be 'silu', .* \(found 'tanh'\)"),
    row("betas the wrong way round", "noise_schedule: {beta_start: 0.02, beta_end: 0.01}",
        r"  noise_schedule: beta_start is 0\.02, above beta_end 0\.01; choose a smaller one"),
    row("beta 0", "noise_schedule: {beta_start: 0}",
        r"  noise_schedule\.beta_start: must be greater than 0 \(found 0\)"),
    row("beta 1", "noise_schedule: {beta_end: 1}", r"  noise_schedule\.beta_end: must be less than 1 \(found 1\)"),
    row("group_by", "data: {group_by: provder}", r"data\.group_by: no column 'provder' .*; did you mean 'provider'\?"),
    row("unknown group", "data: {groups: [amber, ceder]}", r"data\.groups: .* no group 'ceder'; did you mean 'cedar'"),
    row("one group", "data: {groups: [amber]}",
        r"data\.groups .* 'provider' gives 1 group\(s\); attribution needs two"),
    row("condition on a column", "data: {conditions: {a: 'lable == \"1\"', b: 'label == \"2\"'}}",
        r"data\.conditions\.a: .* no column 'lable'; did you mean 'label'"),
    row("condition is no condition", "data: {conditions: {a: 'label', b: 'label == \"2\"'}}",
        r"data\.conditions\.a: .* 'label' is no comparison"),
    row("condition that nothing satisfies", "data: {conditions: {a: 'label == \"x\"', b: 'label == \"2\"'}}",
        r"data\.conditions\.a: no training image satisfies"),
    row("conditions and memberships", "data: {conditions: {a: 'label == 1'}, memberships: m.csv}",
        r"data: `memberships` and `conditions` both say"),
    row("memberships are missing", "data: {memberships: m.csv}", r"data\.memberships: 'm\.csv' cannot be read"),
    row("noise in overlapping groups",
        "data: {conditions: {a: 'label < 5', b: 'label < 4'}, noisy_partition: {block_size: 1}}",
        r"data\.noisy_partition: .*do not overlap"),
    row("noise in too large blocks", "data: {noisy_partition: {block_size: 1000}}",
        r"data\.noisy_partition: .*lower block_size"),
    row("all images held out", "data: {held_out: {count: 2000}}", r"data\.held_out\.count is 2000, but there are only"),
    row("held out, and a folder", "data: {held_out: {count: 5}}\nqueries: {folder: x}",
        r"data\.held_out and queries\.folder both"),
    row("no folder for the table of queries", "queries: {table: x.csv}", r"queries: `table` tells of the images in"),
    row("no groups", "data: {groups: []}", r"data\.groups .* 'provider' gives 0 group\(s\); attribution needs two"),
    row("no folder named", "data: {dataset: image_folder}", r"  data: dataset image_folder needs `folder`"),
    row("digits in a folder", "data: {folder: images}", r"  data: `folder` and `table` belong to .*, not to digits"),
    row("unknown dataset", "data: {dataset: mnist}", r"  data\.dataset: must be 'digits', 'idx', .* \(found 'mnist'\)"),
    row("no source of Hugging Face", "data: {dataset: huggingface}",
        r"  data: dataset huggingface needs `folder` or `hub`, and not both"),
    row("two sources of Hugging Face", "data: {dataset: huggingface, folder: x, hub: y}", r"`hub`, and not both"),
    row("hub of CIFAR", "data: {dataset: cifar10, folder: x, hub: a/b}",
        r"  data: `hub` and `split` belong to .* cifar10"),
    row("split of digits", "data: {split: test}", r"  data: `hub` and `split` belong to .*, not to digits"),
    row("branch of a dataset", "data: {dataset: huggingface, hub: a/b@main}",
        r"data\.hub: 'a/b@main' is no hub id of the form OWNER/NAME@COMMIT \(40 hex digits"),
    row("table of CIFAR", "data: {dataset: cifar10, folder: x, table: y}",
        r"  data: `table` belongs to dataset image_folder, not to cifar10"),
    row("width alone", "data: {size: 32}", r"  data\.size: expected a list, as in \[32, 32\] \(found 32\)"),
    row("height alone", "data: {size: [32]}", r"  data\.size\.1: must be given \(found \[32\]\)"),
    row("three sizes", "data: {size: [8, 8, 3]}", r"  data\.size: has too many values \(found \[8, 8, 3\]\)"),
    row("no pixels", "data: {size: [0, 8]}", r"  data\.size\.0: must be greater than 0 \(found 0\)"),
    row("odd size asked for", "data: {size: [9, 8]}", r"unet\.block_out_channels: .* have 8x9 .*, or set data\.size"),
    row("four channels", "data: {channels: 4}", r"  data\.channels: must be 1 or 3 \(found 4\)"),
    row("number for a subset", "data: {subset: 500}", r"  data\.subset: expected a mapping of keys \(found 500\)"),
    row("subset of no count", "data: {subset: {seed: 1}}", r"  data\.subset\.count: must be given"),
    row("typo in a subset", "data: {subset: {count: 9, sed: 1}}",
        r"  data\.subset\.sed: unknown key; did you mean 'seed'\?"),
    row("subset of one group", "data: {subset: {count: 1}}", r"data\.group_by: column 'provider' gives 1 group"),
    row("content", "metrics: {content: lable}", r"metrics\.content: no column 'lable'; did you mean 'label'\?"),
    row("neighbours", "unlearn: {n_neighbors: 1700}",
        r"unlearn\.n_neighbors is 1700, .* only \d+ images are left; lower"),
    row("override's key", "unlearn: {overrides: {amber: {stesp: 1}}}",
        r"  unlearn: .*amber\.stesp: unknown key; did you"),
    row("override's value", "unlearn: {overrides: {amber: {steps: true}}}",
        r"  unlearn: overrides\.amber\.steps: .*True"),
    row("override's group", "unlearn: {overrides: {ambr: {steps: 9}}}",
        r"unlearn\.overrides: .*; did you mean 'amber'"),
    row("import's group", "unlearn: {import: {ambr: models}}",
        r"unlearn\.import: no group 'ambr'; did you mean 'amber'"),
    row("import's folder", "unlearn: {import: {amber: nowhere}}",
        r"unlearn\.import\.amber: 'nowhere' is no folder, and"),
    row("no base model", "model: {pretrained: nowhere}",
        r"model\.pretrained: 'nowhere' is no folder, .*OWNER/NAME@COMMIT"),
    row("branch of a model", "model: {pretrained: a/b@main}", r"model\.pretrained: 'a/b@main' is no .*\(40 hex digits"),
    row("nameless folder", "queries: {folder: ''}", r"  queries\.folder: must not be empty"),
    row("no folder of queries", "queries: {folder: nowhere}", r"queries\.folder: 'nowhere' is no folder"),
]  # fmt: skip

FILES = [
    row("no folder", OWN_IMAGES, r"data\.folder: 'images' is no folder"),
    row("file for a folder", damaged(lambda: OWN_IMAGES, "images", b""), r"data\.folder: 'images' is no folder"),
    row("unreadable folder", unreadable_folder, r"data\.folder: 'images' cannot be read \(Permission", marks=AS_ROOT),
    row("empty folder", empty_folder("images", OWN_IMAGES), r"data\.folder: 'images' holds no images \(looked for"),
    row("no sub-folders", images("0.png", "1.png"), r"data\.group_by: column 'label' gives 0 group.*needs two"),
    row("one sub-folder", images("a/0.png", "a/1.png"), r"data\.group_by: column 'label' gives 1 group.*needs two"),
    row("nested folders", images(A, "b/c/0.png"), r"group name 'b/c' in column 'label' cannot be a file name; use"),
    row("braces", images("a/{0}.png", B), r"data\.folder: the file name 'a/\{0\}\.png' holds .*; rename it"),
    row("line break", images("a/\n.png", B), r"data\.folder: the file name 'a/\\n\.png' holds .*; rename it"),
    row("name in Latin-1", name_in_latin_1, r"data\.folder: the file name 'a/.*\.png' is no UTF-8; rename it"),
    row("no image", damaged(images(A, B), f"images/{A}", b"GIF?"), rf"{A}: no readable image .*; repair or remove"),
    row("first is RGBA", images(A, mode="RGBA"), rf"{A}: images of mode RGBA are not read; convert it to 8-bit"),
    row("odd size", images(B, A, size=(7, 6)),
        r"unet\.block_out_channels: 2 .* multiples of 2, but .* 7x6 .*; give fewer"),
    row("no table", images(A, overlay=OWN_TABLE), r"data\.table: 'table\.csv' cannot be read as CSV .*No such file"),
    row("empty table", damaged(table(), "table.csv", b""), r"data\.table: 'table\.csv' cannot be read as CSV \(No col"),
    row("table in Latin-1", damaged(table(), "table.csv", b"file\n\xe9"), r"data\.table: 'table\.csv' .* CSV .*utf-8"),
    row("ragged table", damaged(table(), "table.csv", b"file\na\nb,c"), r"data\.table: 'table\.csv' .* CSV .*line 3"),
    row("no column file", table(header=["path", "artist"]), r"data\.table: .* no column 'file'; found path, artist"),
    row("no rows", table(), r"data\.table: 'table\.csv' has no rows"),
    row("absent image", table(["2.png", "x"]), r"data\.table: .* lists '2\.png', but there is no such .* 'images'"),
    row("image outside", table(["../0.png", "x"]), r"data\.table: .* lists '\.\./0\.png', but there is no such"),
    row("image twice", table(["0.png", "x"], ["0.png", "y"]), r"data\.table: .* lists '0\.png' twice; keep one row"),
    row("row without a file", table(["", "x"]), r"data\.table: .* has a row without a value in 'file'; name its image"),
    row("table of Excel", images(A, overlay=OWN_TABLE.replace("csv", "xlsx")),
        r"data\.table: 'table\.xlsx' is no table that can be read; known: \.csv, \.parquet"),
    row("half of Parquet", damaged(parquet_table(file=["0.png"]), "table.parquet"),
        r"data\.table: 'table\.parquet' cannot be read as Parquet \(.*"),
    row("lists in Parquet", parquet_table(file=["0.png"], artist=[["x"]]),
        r"data\.table: 'table\.parquet': column 'artist' is of type list<.*, which is no text; remove it"),
    row("reserved column", table(header=["file", "id"]), r"data\.table: the column 'id' is reserved; rename it"),
    row("groups without images", artists("", ""), r"data\.group_by: column 'artist' gives 0 group\(s\); .* two"),
    row("group of all images", artists("x", "x"), r"data\.group_by: column 'artist' gives 1 group\(s\); .* two"),
    row("case only", artists("Amber", "amber"), r"data\.group_by: .* 'artist' differ in case only; rename one"),
    row("group of 300 letters", artists("x" * 300, "y"), r"the group name 'x{100}' .* 300 characters; use 100 at most"),
    *(row(f"group {name}", artists(name, "y"), rf"data\.group_by: the group name '{name}' is reserved; rename it")
      for name in ["base", "calibration", "logo-1"]),
    *(row(f"group {name!r}", artists(name, "y"), rf"the group name '{re.escape(name)}' .* cannot be a file name; use")
      for name in ["../x", "a/b", ".hidden", "😀", "x.", "x ", "{x}"]),
    row("no IDX folder", IDX, r"data\.folder: 'idx' is no folder"),
    row("no IDX file", empty_folder("idx", IDX), rf"data\.folder: 'idx' holds no {IDX_IMAGES[4:]} and no .*\.gz; give"),
    row("no IDX", damaged(idx, IDX_IMAGES, b"PNG?" * 9), rf"{IDX_IMAGES}: no IDX file \(.* 50 4e 47 3f\); download"),
    row("IDX of floats", damaged(idx, IDX_IMAGES, b"\0\0\x0d\3" + bytes(12)), r"IDX type 0x0d, expected .*; convert"),
    row("IDX labels for images", damaged(idx, IDX_IMAGES, b"\0\0\x08\1" + bytes(12)),
        rf"{IDX_IMAGES}: 1 dimension\(s\), expected 3; .* swapped\?"),
    row("half of IDX", damaged(idx, IDX_IMAGES), rf"{IDX_IMAGES}: 72 bytes, .* \[2, 8, 8\], 144 bytes; download it"),
    row("half of IDX, packed", damaged(gzipped_idx, f"{IDX_IMAGES}.gz"), r"-ubyte\.gz: no whole gzip file .*; down"),
    row("three IDX labels", damaged(idx, IDX_LABELS, struct.pack(">4BI", 0, 0, 8, 1, 3) + bytes(3)),
        rf"{IDX_LABELS}: 3 labels, but {IDX_IMAGES[4:]} has 2 images; take both"),
    row("no CIFAR file", empty_folder("cifar", CIFAR),
        r"data\.folder: 'cifar' holds no data_batch_1\.bin and no data_batch_1; give the folder"),
    row("half of CIFAR", damaged(cifar, "cifar/data_batch_3.bin", bytes(3072)),
        r"cifar/data_batch_3\.bin: 3072 bytes, expected records of 3073 bytes; download it"),
    row("class without a name", damaged(cifar, "cifar/batches.meta.txt", b"airplane"),
        r"cifar/data_batch_1\.bin: label 1, but there are 1 names; download"),
    row("planted in CIFAR", pickled_cifar,
        r"cifar/data_batch_1: a pickle that names \w+\.mkdir, which is no data; nothing was called"),
    row("no saved dataset", SAVED, r"data\.folder: 'saved' is no folder"),
    row("empty saved dataset", empty_folder("saved", SAVED), r"saved: no readable dataset of save_to_disk or"),
    row("half a saved dataset", damaged(saved(), "saved/data-00000-of-00001.arrow"), r"saved: no readable dataset of"),
    row("unknown split", saved(SAVED.replace("group_by", "split: test, group_by")),
        r"data\.split: 'saved' has no split 'test'; known: train"),
    row("saved without an image", saved(image=[None, None]), r"saved: train-000000: holds no image; remove the row"),
    row("no query", empty_folder("own", OWN_QUERIES["overlay"]), r"queries\.folder: 'own' holds no images"),
    row("query with braces", images("{q}.png", **OWN_QUERIES),
        r"queries\.folder: the file name '\{q\}\.png' .*; rename"),
    row("query of another size", images("q.png", **OWN_QUERIES, size=(16, 8)),
        r"own/q\.png: grey of 16x8 pixels, but a training image is grey of 8x8 pixels; convert one of them"),
    row("colour query", images("q.png", **OWN_QUERIES, mode="RGB"),
        r"own/q\.png: colour .* is grey .*; conv"),
    row("colour query to be scaled", images("q.png", folder="own", mode="RGB", size=(16, 16),
        overlay="data: {size: [8, 8]}\nqueries: {folder: own}\n"),
        r"own/q\.png: colour of 8x8 .* grey of 8x8 .*, or set data\.size and data\.channels"),
    row("half a query", damaged(images("q.png", **OWN_QUERIES), "own/q.png"),
        r"own/q\.png: .* image .*; rep"),
    row("empty model", empty_folder("foreign", PRETRAINED), r"model\.pretrained: foreign has no config\.json; give"),
    row("pickled model", foreign(pickled),
        rf"model\.pretrained: foreign has no {WEIGHTS}; \S+\.bin would .* unpickled, .*save_pretrained"),
]  # fmt: skip

# --- what a job refuses: files that it is the first to read ------------------------------------------

STAGES = [
    row("mixed sizes", "images", images(A, B, size=(8, 4)),
        rf"{B}: grey of 8x4 pixels, but '{A}' is grey of 8x8 pixels; convert one of them"),
    row("colour among grey", "images", images(A, B, mode="RGB"),
        rf"{B}: colour of 8x8 pixels, but '{A}' is grey of 8x8 pixels; convert one of them"),
    row("colour among grey, scaled", "images",
        images(A, B, mode="RGB", size=(16, 9), overlay=OWN_IMAGES.replace("group_by", "size: [8, 8], group_by")),
        rf"{B}: colour of 8x8 pixels, but '{A}' is grey of 8x8 pixels; convert .* set data\.size and data\.channels"),
    row("transparent among opaque", "images", images(A, B, mode="LA"),
        rf"{B}: images of mode LA are not read; .*, or set data\.channels, which puts it on white"),
    row("sixteen bits", "images", images(A, B, mode="I;16"),
        rf"{B}: images of mode I;16 are not read; convert it to 8"),
    row("half an image", "images", damaged(images(A, B), f"images/{B}"), rf"{B}: .* image .*; repair or remove it"),
    row("empty image", "images", damaged(images(A, B), f"images/{B}", b""), rf"{B}: no readable image .*; repair or"),
    row("other architecture", "base", foreign(block_out_channels=[8, 8]),
        r"model\.pretrained: foreign has other settings .* write\nunet:\n  block_out_channels: \[8, 8\]$"),
    row("model of colours", "base", foreign(shape=(3, 8, 8)), r"foreign has other .* write\ndata: \{channels: 3\}$"),
    row("renamed pickle", "base", foreign(pickled_and_renamed),
        rf"model\.pretrained: foreign/{WEIGHTS} is not a readable safetensors file"),
    row("half a model", "base", damaged(foreign(), f"foreign/{WEIGHTS}"), rf"foreign/{WEIGHTS} is not a readable safe"),
    row("half a config.json", "base", damaged(foreign(), "foreign/config.json"),
        r"model\.pretrained: foreign/config\.json is no configuration of diffusers"),
    row("list in config.json", "base", damaged(foreign(), "foreign/config.json", b"[]"),
        r"config\.json .* no JSON object"),
    row("other scheduler", "base", scheduler(beta_schedule="linear", prediction_type="sample"),
        r"foreign has .* write\nnoise_schedule: \{beta_schedule: linear, prediction_type: sample\}$"),
    row("betas of its own", "base", scheduler(beta_schedule="linear", trained_betas=[0.1]),
        r"scheduler_config\.json has trained_betas \[0\.1\], but only None is supported"),
    row("no signal at the end", "base", scheduler(beta_schedule="linear", rescale_betas_zero_snr=True),
        r"scheduler_config\.json has rescale_betas_zero_snr True, but only False is supported"),
    row("process of another kind", "base", scheduler(sigma_max=1348.0),
        r"scheduler_config\.json has no beta_schedule; a"),
    row("missing tensor", "base", foreign(without_bias), rf"foreign/{WEIGHTS} lacks tensor 'conv_in\.bias'"),
    row("nan in a model", "base", foreign(with_nan), rf"foreign/{WEIGHTS}: tensor 'conv_in\.bias' .* not finite"),
]  # fmt: skip
