"""Training images and their table. A dataset is a module with `load() -> Dataset`; adding one is one entry here."""

from __future__ import annotations

import importlib

from guda.datasets.dataset import Dataset

_MODULES = {"digits": "guda.datasets.digits"}


def load_dataset(name: str) -> Dataset:
    """Images and table of the dataset `name` of the configuration."""
    return importlib.import_module(_MODULES[name]).load()


__all__ = ["Dataset", "load_dataset"]
