"""Training images and their table. A dataset is a module with `load(settings) -> Dataset`, and one entry here."""

from __future__ import annotations

import importlib

from guda import config
from guda.datasets.dataset import Dataset

_MODULES = {
    "digits": "guda.datasets.digits",
    "styled_digits": "guda.datasets.styled_digits",
    "idx": "guda.datasets.idx",
    "cifar10": "guda.datasets.cifar",
    "cifar100": "guda.datasets.cifar",
    "image_folder": "guda.datasets.image_folder",
    "huggingface": "guda.datasets.huggingface",
    "coco": "guda.datasets.coco",
    "unlearncanvas": "guda.datasets.unlearncanvas",
}


def load_dataset(settings: config.Data) -> Dataset:
    """Images and table of the configured dataset. Raises DataError for files that are missing or damaged."""
    dataset = importlib.import_module(_MODULES[settings.dataset]).load(settings)
    return dataset if settings.held_out is None else dataset.without(settings.held_out)


__all__ = ["Dataset", "load_dataset"]
