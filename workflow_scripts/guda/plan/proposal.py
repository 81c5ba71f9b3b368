"""A proposed configuration for a folder of images and an optional table of them: what `begin.py` writes."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pandas as pd

from guda import config
from guda.core.errors import DataError
from guda.core.records import FORWARD_AND_BACKWARD
from guda.data.datasets.conversion import Conversion
from guda.data.datasets.encoded import image_shape
from guda.models.network_size import operations
from guda.unlearning.retrack.plan import Unlearning

FEW = 10  # smaller groups are not proposed if there are at least two larger ones
MOST = 20  # groups proposed
CLOSE_TO_ALL = 0.8
SHOWN = 12  # columns listed
SPLITS = {"train", "training", "test", "val", "valid", "validation", "dev", "eval"}
MEASURED = 50e9  # operations per second of one core: 40e9 to 70e9 were measured on small networks
OWN_COLUMNS = ("id", "sha256")


class Recipe(NamedTuple):
    """A network for square images of one size, its training, and where unlearning differs from the defaults."""

    unet: config.UNet
    training: config.Training
    unlearn: dict[str, Any]


def _unet(channels: list[int], attended: Sequence[int] = (), **more: int | bool) -> config.UNet:
    """A UNet with these channels and self-attention at the `attended` resolutions (0 is the finest)."""
    down = ["AttnDownBlock2D" if level in attended else "DownBlock2D" for level in range(len(channels))]
    up = ["AttnUpBlock2D" if level in attended else "UpBlock2D" for level in reversed(range(len(channels)))]
    return config.UNet.model_validate(
        {"block_out_channels": channels, "down_block_types": down, "up_block_types": up, **more}
    )


LARGE = {"layers_per_block": 2, "add_attention": True, "attention_head_dim": 32, "norm_num_groups": 32}


def _long(steps: int) -> config.Training:
    return config.Training(steps=steps, batch_size=128, learning_rate=4.0e-4, warmup_steps=500, ema_decay=0.9995)


LOW = {
    "steps": 400,
    "batch_size": 64,
    "learning_rate": 2.0e-4,
    "warmup_steps": 20,
}  # unlearning of larger networks
RECIPES = {  # by image size; steps are for a thousand images
    8: Recipe(_unet([16, 32]), config.Training(steps=1500), {}),
    16: Recipe(_unet([32, 64, 64]), config.Training(steps=2500, learning_rate=3.0e-3, warmup_steps=100), {}),
    32: Recipe(_unet([64, 128, 256], [1, 2], **LARGE), _long(15000), LOW),
    64: Recipe(_unet([64, 128, 256, 256], [2, 3], **LARGE), _long(30000), LOW),
}


class Pictures(NamedTuple):
    """From file headers: height and width of each readable image, and whether all are gray."""

    sizes: list[tuple[int, int]]
    gray: bool


def look_at(root: Path, names: Sequence[str]) -> Pictures:
    """Inspect images without decoding them; unreadable ones are left to the plan's checks."""
    sizes, gray = [], True
    for name in names:
        try:
            _, height, width = image_shape(root / name, Conversion(channels=3))
        except DataError:
            continue
        sizes.append((height, width))
        try:
            gray = gray and image_shape(root / name)[0] == 1
        except DataError:  # a kind that needs conversion
            gray = False
    return Pictures(sizes, gray)


def size_of(pictures: Pictures, on_gpu: bool) -> int:
    """The side of the square that all are resized to: no larger than they are, and small without a GPU."""
    shorter = median(min(size) for size in pictures.sizes)
    largest = (64 if len(pictures.sizes) >= 2000 else 32) if on_gpu else 16
    return max(size for size in RECIPES if size <= max(min(shorter, largest), min(RECIPES)))


def recipe_for(size: int, n_pictures: int) -> Recipe:
    """The recipe for that size; its steps grow with the square root of the number of images, at most threefold."""
    recipe = RECIPES[size]
    steps = recipe.training.steps * min(3.0, max(1.0, (n_pictures / 1000) ** 0.5))
    batch_size = min(recipe.training.batch_size, 2 ** (n_pictures.bit_length() - 1))
    return recipe._replace(
        training=recipe.training.changed({"steps": 100 * round(steps / 100), "batch_size": batch_size})
    )


class Column(NamedTuple):
    """A column whose values could be the groups: the number of images of each value, and of those without one."""

    name: str
    counts: Counter[str]
    without: int

    @classmethod
    def of(cls, table: pd.DataFrame, name: str) -> Column:
        values = [value for value in table[name] if value is not None]
        return cls(name, Counter(values), len(table) - len(values))

    def groups(self, few: int) -> list[str]:
        """The values with at least `few` images, most frequent first, at most MOST."""
        return [value for value, count in self.counts.most_common(MOST) if count >= few]

    def described(self) -> str:
        """As in '3 values, of 66 to 67 images; 12 images without'."""
        if not self.counts:
            return "no value"
        fewest, most = min(self.counts.values()), max(self.counts.values())
        each = f"{fewest} to {most} images" if fewest < most else f"{most} image{'s' if most > 1 else ''}"
        without = f"; {self.without} images without" if self.without else ""
        return f"{len(self.counts)} value{'s' if len(self.counts) > 1 else ''}, of {each}{without}"


def columns_of(table: pd.DataFrame) -> list[Column]:
    """All columns of a training table except those that every table has."""
    return [Column.of(table, name) for name in table.columns if name not in OWN_COLUMNS]


def best_column(columns: Sequence[Column]) -> tuple[Column, int]:
    """The column to group by, and how few images a group of it may have. Raises DataError if none is suitable.

    It is the column with the most groups, among those whose groups hold nearly all images (CLOSE_TO_ALL), if any do.
    Columns that split training from test images are left out, since they say nothing about an image's origin.
    """
    splits = {column.name for column in columns if column.counts and set(map(str.lower, column.counts)) <= SPLITS}
    hidden = splits | ({"label"} if "folder_1" in splits else set())
    for few in (FEW, 2, 1):
        fits = [each for each in columns if each.name not in hidden and len(each.groups(few)) >= 2]
        if fits:
            return max(fits, key=lambda column: (min(_held(column, few), CLOSE_TO_ALL), len(column.groups(few)))), few
    listed = "; ".join(f"{column.name} has {column.described()}" for column in columns)
    raise DataError(f"no column defines two groups or more ({listed}); name or add one that does")


def _held(column: Column, few: int) -> float:
    """Fraction of the images in the column's groups."""
    return sum(column.counts[group] for group in column.groups(few)) / (column.counts.total() + column.without)


def proposal(folder: str, table_file: str | None, table: pd.DataFrame, pictures: Pictures, on_gpu: bool) -> str:
    """The text of the configuration, with file names as given. Raises DataError."""
    columns = columns_of(table)
    if table_file is None and not any(column.counts for column in columns):
        raise DataError(
            f"nothing defines the groups: {folder!r} has no sub-folders with images, and no table is given; put the "
            "images of each group into a sub-folder, or give a table with a row per image: a column `file`, and "
            "any others, such as `artist`"
        )
    column, few = best_column(columns)
    size, groups = size_of(pictures, on_gpu), column.groups(few)
    recipe = recipe_for(size, len(table))
    beside = f" and the table {table_file!r}" if table_file else ""
    name = re.sub(r"[^\w.-]+", "_", Path(folder).resolve().name).strip("._") or "pictures"
    lines = [
        f"# Proposed for {len(table)} images in {folder!r}{beside}.",
        "# All other keys are as in config.yaml, which explains how to choose each value. With this file as my.yaml:",
        "#   snakemake -n --quiet rules --configfile my.yaml      what would run",
        "#   snakemake --cores all estimate --configfile my.yaml  what that will cost on this machine",
        "#   snakemake --cores all --configfile my.yaml           which groups each generated image is attributed to",
        f"results: {_text(f'results/{name}')}",
        "data:",
        "  dataset: image_folder",
        f"  folder: {_text(folder)}",
        *([f"  table: {_text(table_file)}"] if table_file else []),
        *_format(pictures, size),
        *_grouping(column, groups, columns, len(table)),
        *_network(recipe.unet, size),
        *_training(recipe, size, on_gpu),
        "# Nothing is retrained at first. Seeds, such as [1, 2], check the answers at one training per seed and group.",
        "oracle:",
        "  seeds: []",
        *_unlearning(recipe, len(table) - max(column.counts[group] for group in groups)),
        "# The generated images to attribute.",
        "queries:",
        "  count: 64",
        *(["execution:", "  gpus: 1"] if on_gpu else []),
    ]
    return "".join(f"{line}\n" for line in lines)


def _text(value: str) -> str:
    """A string quoted for YAML, whatever it contains."""
    return json.dumps(value, ensure_ascii=False)


def _keys(values: dict[str, Any]) -> list[str]:
    """Lines for a section's keys, whose values are numbers, or lists of numbers and names."""
    return [
        f"  {key}: [{', '.join(map(str, value))}]" if isinstance(value, list) else f"  {key}: {str(value).lower()}"
        for key, value in values.items()
    ]


def _format(pictures: Pictures, size: int) -> list[str]:
    heights, widths = zip(*pictures.sizes, strict=True)
    smallest, largest = f"{min(widths)}x{min(heights)}", f"{max(widths)}x{max(heights)}"
    found = smallest if smallest == largest else f"{smallest} to {largest}"
    return [
        f"  # The images have {found} pixels. They are resized to this [height, width]; twice the size",
        "  # costs four times as much, and needs more channels and steps.",
        f"  size: [{size}, {size}]",
        "  # 1: gray, 3: color.",
        f"  channels: {1 if pictures.gray else 3}",
    ]


def _grouping(column: Column, groups: list[str], columns: Sequence[Column], n_pictures: int) -> list[str]:
    shown = [f"  #   {each.name!r}: {each.described()}" for each in columns[:SHOWN]]
    more = [f"  #   and {len(columns) - SHOWN} more columns"] if len(columns) > SHOWN else []
    held = sum(column.counts[group] for group in groups)
    lines = [
        "  # Columns to group by:",
        *shown,
        *more,
        f"  # Proposed: {column.name!r}, whose {len(groups)} groups hold {held} of {n_pictures} images.",
        f"  group_by: {_text(column.name)}",
    ]
    if len(groups) == len(column.counts):
        return lines
    named = ", ".join(map(_text, sorted(groups)))
    return [
        *lines,
        f"  # The largest of {len(column.counts)} values; images with others train the model but are in no group.",
        f"  groups: [{named}]",
    ]


def _network(unet: config.UNet, size: int) -> list[str]:
    named = ("block_out_channels", "down_block_types", "up_block_types")
    values = {name: getattr(unet, name) for name in named} | unet.model_dump(exclude_defaults=True)
    return [
        f"# A network for {size}x{size} pixels. Twice the channels take four times the work.",
        "unet:",
        *_keys(values),
    ]


def _training(recipe: Recipe, size: int, on_gpu: bool) -> list[str]:
    training = recipe.training
    work = FORWARD_AND_BACKWARD * operations(recipe.unet, size * size) * training.steps * training.batch_size
    minutes = math.ceil(work / MEASURED / 60)
    cost = "`estimate` says how long" if on_gpu else f"about {minutes} minutes of one core; `estimate` measures it"
    values = {name: getattr(training, name) for name in ("steps", "batch_size", "learning_rate")}
    return [
        f"# The base model: {cost}.",
        "# If generated images do not look like yours, double `steps`: rankings of noise are noise.",
        "training:",
        *_keys(values | training.model_dump(exclude_defaults=True)),
    ]


def _unlearning(recipe: Recipe, retained: int) -> list[str]:
    """Settings that differ from the defaults; `retained` is the number of images outside the largest group."""
    neighbors = {"n_neighbors": retained} if retained < Unlearning().n_neighbors else {}
    values = recipe.unlearn | neighbors
    return ["unlearn:", *_keys(values)] if values else []
