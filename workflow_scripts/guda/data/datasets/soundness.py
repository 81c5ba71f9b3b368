"""Checks that all encoded images are usable: each is decoded once, and sound ones are remembered by their bytes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from guda.core.artifacts import replacing
from guda.core.errors import ArtifactError, DataError
from guda.core.files import regular
from guda.core.paths import MEMORY, SNAKEMAKE
from guda.core.progress import track
from guda.data.datasets.dataset import Dataset
from guda.data.datasets.encoded import Encoded

VERSION = 1  # raised when an image that was sound may no longer be
NAMED = 10  # faulty images named in an error
THREADS = min(4, os.cpu_count() or 1)  # each holds a decoded image; Pillow releases the GIL
CHECKSUM_BYTES = 32


def check_sound(datasets: Sequence[Dataset]) -> None:
    """Raise one DataError that lists the images that are broken, of another shape, or of an unsupported kind.

    Sound images are remembered under Snakemake's working folder, if there is one, so that the next plan decodes only
    new images.
    """
    found, count = [], 0
    for dataset in datasets:
        if dataset.encoded is not None:
            found += _new_faults(dataset.encoded, list(dataset.table["sha256"]))
            count += len(dataset.table)
    if found:
        raise refusal(found, count)


def refusal(faults: Sequence[str], count: int) -> DataError:
    """The error that lists what is wrong with some of `count` images."""
    if len(faults) == 1:
        return DataError(faults[0])
    lines = [*faults[:NAMED], *([f"and {len(faults) - NAMED} more"] if len(faults) > NAMED else [])]
    return DataError("\n  ".join([f"{len(faults)} of {count} images cannot be used:", *lines]))


def faults(encoded: Encoded, rows: Sequence[int]) -> Iterator[str | None]:
    """For each of some rows (ascending), what is wrong with its image, or None. Few images are in memory at a time."""

    def fault(name: str, content: bytes | DataError) -> str | None:
        try:
            encoded.decode(name, content)
        except DataError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(THREADS) as pool:
        pending: deque[Any] = deque()
        for name, content in encoded.load(rows):
            pending.append(pool.submit(fault, name, content))
            if len(pending) > 2 * THREADS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _new_faults(encoded: Encoded, digests: list[str]) -> list[str]:
    """What is wrong with the images with these SHA-256; remembered ones are not checked again."""
    file, keys = _file(encoded), np.array([int(digest[:16], 16) for digest in digests], dtype="<u8")
    known = _remembered(file)
    rows = np.flatnonzero(~np.isin(keys, known)).tolist()
    if not rows:
        return []
    found = list(track(faults(encoded, rows), "Checking new images", len(rows)))
    sound = [row for row, fault in zip(rows, found, strict=True) if fault is None]
    _remember(file, np.union1d(known, keys[sound]))
    return [fault for fault in found if fault is not None]


def _file(encoded: Encoded) -> Path:
    """The file that remembers images found sound when converted to this shape, by this check and this Pillow."""
    import PIL

    conversion = encoded.conversion
    depends = [VERSION, PIL.__version__, encoded.shape, conversion.size, conversion.channels]
    return MEMORY / "sound_images" / hashlib.sha256(json.dumps(depends).encode()).hexdigest()[:16]


def _remembered(file: Path) -> np.ndarray:
    """The first eight bytes of the digests of sound images, uint64; none if the file is missing or damaged."""
    with contextlib.suppress(OSError):
        content = regular(file).read_bytes()
        checksum, keys = content[:CHECKSUM_BYTES], content[CHECKSUM_BYTES:]
        if hashlib.sha256(keys).digest() == checksum:
            return np.frombuffer(keys, dtype="<u8")
    return np.empty(0, dtype="<u8")


def _remember(file: Path, keys: np.ndarray) -> None:
    if not SNAKEMAKE.is_dir():
        return
    content = keys.astype("<u8").tobytes()
    # If nothing can be written, the next plan checks all images again.
    with contextlib.suppress(ArtifactError), replacing(file) as temporary:
        temporary.write_bytes(hashlib.sha256(content).digest() + content)
