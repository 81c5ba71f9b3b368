"""Encoded images, in any format that Pillow reads, and those in files of a folder."""

from __future__ import annotations

import hashlib
import io
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from guda.artifacts import sha256_file
from guda.datasets.conversion import ALPHA, AS_IT_IS, Conversion, fit, is_transparent
from guda.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

CHANNELS_OF_MODE = {"1": 1, "L": 1, "LA": 1, "P": 3, "PA": 3, "RGB": 3, "RGBA": 3}
TURNS = {  # how Pillow turns an image upright, by its EXIF orientation
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
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


def image_shape(
    source: Path | bytes, conversion: Conversion = AS_IT_IS, name: str | None = None
) -> tuple[int, int, int]:
    """[C, H, W] that an image in a file or in memory is brought to, from its header. Raises DataError.

    `name` is what errors call it, if not by its path.
    """
    with _opened(source, conversion, name or str(source)) as image:
        turned = _orientation(image) >= 5
        height, width = (image.width, image.height) if turned else (image.height, image.width)
        return conversion.shape((CHANNELS_OF_MODE[image.mode], height, width))


def check_shape(name: str | Path, found: tuple[int, int, int], shape: tuple[int, int, int], like: str) -> None:
    """Raise DataError unless an image has the `shape` [C, H, W] of that which `like` names."""
    if found != shape:
        raise DataError(
            f"{name}: {_described(found)}, but {like} is {_described(shape)}; convert one of them, "
            "or set data.size and data.channels"
        )


def read_images(
    folder: str | Path,
    names: list[str],
    digests: list[str],
    shape: tuple[int, int, int],
    like: str,
    conversion: Conversion = AS_IT_IS,
) -> Iterator[np.ndarray]:
    """The images in files, one by one, uint8 [C, H, W].

    `like` says whose `shape` [C, H, W] the conversion must bring all images to. Raises DataError for an image that is
    broken, changed or of another shape.
    """
    return decode_images(_contents([Path(folder) / name for name in names]), digests, shape, like, conversion)


def decode_images(
    encoded: Iterable[tuple[str, bytes]],
    digests: list[str],
    shape: tuple[int, int, int],
    like: str,
    conversion: Conversion = AS_IT_IS,
) -> Iterator[np.ndarray]:
    """The same for images in memory: `encoded` has, for each, its name in errors and its bytes."""
    for (name, content), digest in zip(encoded, digests, strict=True):
        if hashlib.sha256(content).hexdigest() != digest:
            raise DataError(f"{name}: changed since the workflow was planned; run snakemake again")
        yield read_image(content, shape, like, conversion, name)


def _contents(paths: list[Path]) -> Iterator[tuple[str, bytes]]:
    for path in paths:
        try:
            yield str(path), path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); run snakemake again") from None


def read_image(
    source: Path | bytes,
    shape: tuple[int, int, int],
    like: str,
    conversion: Conversion = AS_IT_IS,
    name: str | None = None,
) -> np.ndarray:
    """One image, uint8 `shape` = [C, H, W], the way up that its EXIF orientation says. Raises DataError.

    It lies in a file or in memory; `name` is what errors call it, if not by its path.
    """
    name = name or str(source)
    with _opened(source, conversion, name) as image:
        channels = CHANNELS_OF_MODE[image.mode]
        try:
            upright = _upright(image)
            upright.load()
            check_shape(name, conversion.shape((channels, upright.height, upright.width)), shape, like)
            return fit(upright, shape)
        except BROKEN as error:
            raise DataError(f"{name}: broken image ({error}); repair or remove it") from None


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 (upright) to 8, as the header tells; 1 where that cannot be read."""
    from PIL import ExifTags, Image

    if image.format == "TIFF":  # Pillow turns it by itself
        return 1
    try:
        found = Image.Image.getexif(image).get(ExifTags.Base.Orientation)  # PNG's own getexif would decode the pixels
    except (*BROKEN, struct.error):
        return 1
    return found if found in TURNS else 1


def _upright(image: Image.Image) -> Image.Image:
    from PIL import Image

    orientation = _orientation(image)
    return image if orientation == 1 else image.transpose(Image.Transpose[TURNS[orientation]])


def _opened(source: Path | bytes, conversion: Conversion, name: str) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
    except (*BROKEN, Image.DecompressionBombError) as error:
        reason = "of no known format" if isinstance(error, UnidentifiedImageError) else error
        raise DataError(f"{name}: no readable image ({reason}); repair or remove it") from None
    known, transparent = image.mode in CHANNELS_OF_MODE, is_transparent(image)
    if known and not (transparent and conversion.channels is None):
        return image
    image.close()
    kind = f"mode {image.mode}{' with transparency' if transparent and image.mode not in ALPHA else ''}"
    cure = ", or set data.channels, which puts it on white" if known else ""
    raise DataError(f"{name}: images of {kind} are not read; convert it to 8-bit grey or RGB{cure}")


def _described(shape: tuple[int, int, int]) -> str:
    return f"{'grey' if shape[0] == 1 else 'colour'} of {shape[2]}x{shape[1]} pixels"
