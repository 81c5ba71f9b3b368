"""What every dataset gives: images, and a table with one row an image."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from guda.artifacts import CURE
from guda.errors import ArtifactError
from guda.specs import ImagesSpec, TableSpec, digest, digest_lines


def check_table(path: str | Path, content: str) -> None:
    """Raise ArtifactError unless the training table in the file has the expected digest."""
    if digest(Path(path).read_text(encoding="utf-8")) != content:
        raise ArtifactError(f"{path}: not the training table of this configuration, or altered. {CURE}")


@dataclass(frozen=True)
class Dataset:
    """`images` uint8 [N, C, H, W]; `table` has N rows in the same order, with columns id, sha256 and any others."""

    name: str
    images: np.ndarray
    table: pd.DataFrame

    @classmethod
    def build(cls, name: str, images: np.ndarray, table: pd.DataFrame) -> Dataset:
        """Add each image's sha256 (of its raw bytes) to a table that has the ids and the columns."""
        table = table.copy()
        table.insert(1, "sha256", [hashlib.sha256(image.tobytes()).hexdigest() for image in images])
        return cls(name, images, table)

    def images_spec(self) -> ImagesSpec:
        rows = self.table["id"] + " " + self.table["sha256"]
        return ImagesSpec(dataset=self.name, content=digest_lines(rows))

    def table_spec(self) -> TableSpec:
        return TableSpec(dataset=self.name, content=digest(self.table.to_csv(index=False)))
