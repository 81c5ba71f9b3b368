"""COCO (arXiv 1405.0312), or images with annotations in its format: a folder of images and a JSON file.

Columns: id (the file's name) and license; with annotations of objects also category and supercategory, those of the
category that covers most of the image. With captions alone there is little to group by: use `data.memberships`. The
captions themselves are read by `text_to_image.prompts.captions`, which takes a file of captions.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pandas as pd

from guda import config
from guda.core.errors import DataError
from guda.data.datasets.coco_format import CocoFile, Entry
from guda.data.datasets.conversion import Conversion
from guda.data.datasets.dataset import Dataset
from guda.data.datasets.file_names import FileNames, known_files
from guda.data.datasets.image_files import list_images
from guda.data.datasets.image_folder import of_files
from guda.data.datasets.json_files import described

KEY = "data.table"


def load(settings: config.Data) -> Dataset:
    root, annotated = Path(settings.root), CocoFile.read(str(settings.table), KEY, "COCO annotations file")
    images = sorted(annotated.entries("images"), key=lambda image: annotated.text(image, "file_name"))
    if not images:
        raise DataError(f"{annotated.where} lists no images")
    listed = [image["file_name"] for image in images]
    listing = list_images(root, "data.folder")
    names = known_files(listed, FileNames(listing.images, root), annotated.where)
    table = annotation_table(annotated, images)
    table.insert(0, "id", names)
    notes, annotations = listing.notes(root, "data.folder"), annotated.entries("annotations", needed=False)
    if "category" not in table and any("category_id" in each for each in annotations):
        notes += (f"{annotated.where} has no `categories`, so the columns `category` and `supercategory` are missing",)
    return of_files("coco", root, table, Conversion.of(settings), settings.subset, notes=notes)


def annotation_table(annotated: CocoFile, images: list[Entry]) -> pd.DataFrame:
    """The metadata of each image, in order: license and, if there are annotations, its category, [N] rows."""
    names = {annotated.number(each): annotated.text(each, "name") for each in annotated.entries("licenses", False)}
    licenses = [None if image.get("license") is None else annotated.number(image, "license") for image in images]
    table = pd.DataFrame({"license": [names.get(each) if each else None for each in licenses]}, dtype=object)
    if "categories" not in annotated.content:
        return table
    categories = {annotated.number(each): each for each in annotated.entries("categories")}
    largest = _largest_category(annotated)
    for number in set(largest.values()) - categories.keys():
        raise annotated.problem(f"an annotation has category {number}, which `categories` lacks")
    shown = [categories.get(largest.get(annotated.number(image), ""), {}) for image in images]
    for column, key in (("category", "name"), ("supercategory", "supercategory")):
        values = [annotated.text(each, key) if each.get(key) else None for each in shown]
        table[column] = pd.Series(values, dtype=object)
    return table


def _largest_category(annotated: CocoFile) -> dict[str, str]:
    """Each image's category: the one whose objects cover most of it in total; the lowest number among equals."""
    files = annotated.files()
    areas: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    annotations = annotated.entries("annotations")
    for each in annotations:
        areas[annotated.number(each, "image_id")][annotated.number(each, "category_id")] += _area(annotated, each)
    if annotations and not areas.keys() & files.keys():
        raise annotated.problem(f"no annotation refers to one of its images, whose ids are like {next(iter(files))}")

    def order(category: str) -> tuple[int, int | str]:
        return (0, int(category)) if category.isdecimal() else (1, category)

    return {image: min(found, key=lambda each: (-found[each], order(each))) for image, found in areas.items()}


def _area(annotated: CocoFile, annotation: Entry) -> float:
    """Pixels that an object covers: its area, else its box's area, else 1, which then counts objects."""
    area, box = annotation.get("area"), annotation.get("bbox")
    if area is None and not box:
        return 1
    values: list[Any] = box[2:] if area is None and isinstance(box, list) and len(box) == 4 else [area, 1]
    if not all(type(each) in (int, float) and each >= 0 for each in values):
        found = f"area {described(area)} and bbox {described(box)}"
        raise annotated.problem(f"an annotation has {found}; give pixels, or [x, y, width, height]")
    return values[0] * values[1]
