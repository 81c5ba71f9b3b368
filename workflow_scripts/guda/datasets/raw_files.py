"""Files of published datasets: finding and reading them, with errors that name the file."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from guda import config
from guda.errors import DataError
from guda.files import regular

KEY = "data.folder"


def find_file(settings: config.Data, *names: str) -> Path:
    """The first of the files `names` that is in the dataset's folder. Raises DataError."""
    folder = Path(settings.folder)
    if not folder.is_dir():
        raise DataError(f"{KEY}: {settings.folder!r} is no folder")
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(
        f"{KEY}: {settings.folder!r} holds no {' and no '.join(names)}; "
        f"give the folder of the unpacked files of dataset {settings.dataset}"
    )


def read_bytes(path: Path) -> np.ndarray:
    """A file's bytes, uint8 [n]: mapped into memory, or unpacked when its name ends in .gz. Raises DataError."""
    try:
        regular(path)
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                return np.frombuffer(file.read(), dtype=np.uint8)
        return np.asarray(np.memmap(path, dtype=np.uint8, mode="r")) if path.stat().st_size else np.empty(0, np.uint8)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: no whole gzip file ({error}); download it again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def training_ids(count: int, split: str = "train") -> list[str]:
    """Ids of images that stand one after the other in files without names of their own."""
    return [f"{split}-{index:06d}" for index in range(count)]
