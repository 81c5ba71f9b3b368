"""Training images and their table. A dataset is a module with `load(settings) -> Dataset`, and one entry here."""

from __future__ import annotations

import importlib

from guda import config
from guda.data.datasets.dataset import Dataset

_MODULES = {
    "digits": "guda.data.datasets.digits",
    "styled_digits": "guda.data.datasets.styled_digits",
    "idx": "guda.data.datasets.idx",
    "cifar10": "guda.data.datasets.cifar",
    "cifar100": "guda.data.datasets.cifar",
    "image_folder": "guda.data.datasets.image_folder",
    "huggingface": "guda.data.datasets.huggingface",
    "coco": "guda.data.datasets.coco",
    "unlearncanvas": "guda.data.datasets.unlearncanvas",
}


def load_dataset(settings: config.Data) -> Dataset:
    """Images and table of the configured dataset. Raises DataError for files that are missing or damaged."""
    dataset = importlib.import_module(_MODULES[settings.dataset]).load(settings)
    if settings.held_out is not None:
        dataset = dataset.without(settings.held_out)
    return dataset.keeping_aside(settings.kept_aside) if settings.kept_aside else dataset


__all__ = ["Dataset", "load_dataset"]
