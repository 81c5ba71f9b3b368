"""COCO (arXiv 1405.0312), or images with annotations in its format: a folder of images and a JSON file.

Columns: id (the file's name) and license; with annotations of objects also category and supercategory, those of the
category that covers most of the image. With captions alone there is little to group by: use `data.memberships`. What
the captions say is the business of `text_to_image.prompts.captions`, which takes a file of captions.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pandas as pd

from guda import config
from guda.datasets.conversion import Conversion
from guda.datasets.dataset import Dataset
from guda.datasets.image_files import list_images
from guda.datasets.image_folder import of_files
from guda.datasets.json_files import read_json
from guda.errors import DataError

KEY = "data.table"


def load(settings: config.Data) -> Dataset:
    root, where = Path(settings.folder), f"{KEY}: {settings.table!r}"
    annotated = read_json(settings.table, KEY)
    try:
        table = annotation_table(annotated)
    except KeyError as error:
        raise DataError(f"{where} is no file of COCO's annotations: {error} is missing") from None
    except (TypeError, AttributeError):
        raise DataError(f"{where} is no file of COCO's annotations: give one with `images` and `annotations`") from None
    if table.empty:
        raise DataError(f"{where} lists no images")
    repeated = table["id"][table["id"].duplicated()]
    if len(repeated):
        raise DataError(f"{where} lists {repeated.iloc[0]!r} twice; keep one entry")
    listing = list_images(root, "data.folder")
    known = set(listing.images)
    for name in table["id"]:
        if name not in known:
            raise DataError(f"{where} lists {name!r}, but there is no such image in {settings.folder!r}")
    notes = listing.notes(root, "data.folder")
    return of_files("coco", root, table, Conversion.of(settings), settings.subset, notes=notes)


def annotation_table(annotated: dict[str, Any]) -> pd.DataFrame:
    """A row for each of the `images`, in the order of their names. Raises KeyError for a key that is not there."""
    licenses = {each["id"]: each["name"] for each in annotated.get("licenses", [])}
    rows = [
        {"number": image["id"], "id": image["file_name"], "license": licenses.get(image.get("license"))}
        for image in sorted(annotated["images"], key=lambda image: image["file_name"])
    ]
    if "categories" in annotated:
        categories = {each["id"]: each for each in annotated["categories"]}
        largest = _largest_category(annotated["annotations"])
        for row in rows:
            category = categories[largest[row["number"]]] if row["number"] in largest else {}
            row |= {"category": category.get("name"), "supercategory": category.get("supercategory")}
    return pd.DataFrame(rows, dtype=object).drop(columns="number", errors="ignore")


def _largest_category(annotations: list[dict[str, Any]]) -> dict[int, int]:
    """Of each image, the category whose objects cover most of it, added up; of equal ones that of the lowest number."""
    areas: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for each in annotations:
        areas[each["image_id"]][each["category_id"]] += each["area"]
    return {image: min(found, key=lambda category: (-found[category], category)) for image, found in areas.items()}
