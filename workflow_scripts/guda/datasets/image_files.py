"""Images in files of a folder, in any format that Pillow reads."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from guda.artifacts import sha256_file
from guda.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

CHANNELS_OF_MODE = {"1": 1, "L": 1, "RGB": 3, "P": 3}
BROKEN = (OSError, SyntaxError, ValueError, TypeError, RuntimeError)  # what Pillow raises for damaged files
FORBIDDEN = set('{}\n\r\t"')  # snakemake reads braces as wildcards; ids stand one a line


def image_files(folder: str | Path, key: str) -> list[str]:
    """Paths of all images under a folder, relative to it, with '/', sorted. `key` names the setting in errors.

    Hidden files and folders are passed over.
    Raises DataError for a folder that cannot be read, holds no image, or has a file whose name cannot be an id.
    """
    from PIL import Image

    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{key}: {str(folder)!r} is no folder")
    suffixes = set(Image.registered_extensions())

    def refuse(error: OSError) -> None:
        raise DataError(f"{key}: {error.filename!r} cannot be read ({error.strerror})")

    names = []
    for directory, inner, files in os.walk(folder, onerror=refuse):
        inner[:] = [name for name in inner if name[0] != "."]
        names += [(Path(directory) / file).relative_to(folder).as_posix() for file in files if file[0] != "."]
    names = sorted(name for name in names if Path(name).suffix.lower() in suffixes)
    if not names:
        raise DataError(f"{key}: {str(folder)!r} holds no images (looked for {', '.join(sorted(suffixes)[:8])} ...)")
    for name in names:
        if FORBIDDEN & set(name):
            raise DataError(f"{key}: the file name {name!r} holds a character of {sorted(FORBIDDEN)}; rename it")
        if any("\ud800" <= character <= "\udfff" for character in name):  # how Python shows bytes that are no UTF-8
            raise DataError(f"{key}: the file name {name!r} is no UTF-8; rename it")
    return names


def file_digests(folder: str | Path, names: list[str], key: str) -> list[str]:
    """SHA-256 of each file. Raises DataError for a missing or unreadable one."""
    digests = []
    for name in names:
        try:
            digests.append(sha256_file(Path(folder) / name))
        except OSError as error:
            raise DataError(f"{key}: {str(Path(folder) / name)!r} cannot be read ({error.strerror})") from None
    return digests


def image_shape(path: Path) -> tuple[int, int, int]:
    """[C, H, W] of an image, from its header. Raises DataError."""
    with _opened(path) as image:
        return CHANNELS_OF_MODE[image.mode], image.height, image.width


def check_shape(path: Path, found: tuple[int, int, int], shape: tuple[int, int, int], like: str) -> None:
    """Raise DataError unless an image has the `shape` [C, H, W] of that which `like` names."""
    if found != shape:
        raise DataError(f"{path}: {_described(found)}, but {like} is {_described(shape)}; convert one of them")


def read_images(
    folder: str | Path, names: list[str], digests: list[str], shape: tuple[int, int, int], like: str
) -> np.ndarray:
    """The images in files, uint8 [N, C, H, W]. Raises DataError for one that is broken, changed or of another shape.

    `like` says whose `shape` [C, H, W] all images must have.
    """
    images = np.empty((len(names), *shape), dtype=np.uint8)
    for row, (name, digest) in enumerate(zip(names, digests, strict=True)):
        path = Path(folder) / name
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise DataError(f"{path}: changed since the workflow was planned; run snakemake again")
        images[row] = read_image(path, shape, like)
    return images


def read_image(path: Path, shape: tuple[int, int, int], like: str) -> np.ndarray:
    """One image, uint8 `shape` = [C, H, W]. Raises DataError."""
    with _opened(path) as image:
        found = (CHANNELS_OF_MODE[image.mode], image.height, image.width)
        check_shape(path, found, shape, like)
        try:
            pixels = np.asarray(image.convert("L" if shape[0] == 1 else "RGB"))
        except BROKEN as error:
            raise DataError(f"{path}: broken image ({error}); repair or remove it") from None
    return pixels[None] if shape[0] == 1 else pixels.transpose(2, 0, 1)


def _opened(path: Path) -> Image.Image:
    from PIL import Image

    try:
        image = Image.open(path)
    except (*BROKEN, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: no readable image ({error}); repair or remove it") from None
    if image.mode not in CHANNELS_OF_MODE:
        image.close()
        raise DataError(f"{path}: images of mode {image.mode} are not read; convert it to 8-bit grey or RGB")
    return image


def _described(shape: tuple[int, int, int]) -> str:
    return f"{'grey' if shape[0] == 1 else 'colour'} of {shape[2]}x{shape[1]} pixels"
