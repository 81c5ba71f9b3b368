"""Files of published datasets: finding and reading them, with errors that name the file."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from guda import config
from guda.core.errors import DataError
from guda.core.files import regular

KEY = "data.folder"


def release_folder(settings: config.Data, below: Sequence[str], *names: str) -> Path:
    """The folder of a dataset's files: the configured one, or the only one of those `below` it with one of `names`.

    Raises DataError if the folder does not exist, or if several have such files.
    """
    folder = Path(settings.root)
    if not folder.is_dir():
        raise DataError(f"{KEY}: {settings.folder!r} is not a folder")
    found = [each for each in ("", *below) if any((folder / each / name).is_file() for name in names)]
    if len(found) > 1 and "" not in found:
        raise DataError(
            f"{KEY}: {settings.folder!r} holds releases in {' and in '.join(found)}; name one of these folders"
        )
    return folder / found[0] if found else folder


def find_file(folder: Path, dataset: str, *names: str) -> Path:
    """The first of the files `names` that is in the folder. Raises DataError."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(
        f"{KEY}: {str(folder)!r} holds no {' and no '.join(names)}; "
        f"name the folder with the unpacked files of dataset {dataset}"
    )


def read_bytes(path: Path) -> np.ndarray:
    """A file's bytes, uint8 [n]: memory-mapped, or unpacked if its name ends in .gz. Raises DataError."""
    try:
        regular(path)
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                return np.frombuffer(file.read(), dtype=np.uint8)
        return np.asarray(np.memmap(path, dtype=np.uint8, mode="r")) if path.stat().st_size else np.empty(0, np.uint8)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a complete gzip file ({error}); download it again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def training_ids(count: int, split: str = "train") -> list[str]:
    """Ids of images that are stored consecutively in files, without names of their own."""
    return [f"{split}-{index:06d}" for index in range(count)]
