"""Encoded images, in files or in rows of a table: opened, checked against one shape, decoded."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from guda.core.errors import DataError
from guda.core.files import regular
from guda.data.datasets.conversion import (
    ALPHA,
    AS_IT_IS,
    CHANNELS_OF_MODE,
    CONVERTED,
    Conversion,
    ScaleError,
    fit,
    is_transparent,
)

if TYPE_CHECKING:
    from PIL import Image

# The formats that are read, by Pillow's names: raster images. Pillow's other formats start another program (EPS), need
# one to be installed first, or are not pictures (films, tables of measurements).
FORMATS = (
    *("AVIF", "BMP", "DDS", "DIB", "GIF", "ICNS", "ICO", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "PSD"),
    *("QOI", "SGI", "SUN", "TGA", "TIFF", "WEBP", "XBM", "XPM"),
)
# Formats whose gray values in Pillow's mode I run from 0 to 65535; in others they have no defined scale.
SIXTEEN_BITS = ("PNG", "PPM")
TURNS = {  # how Pillow turns an image upright, by its EXIF orientation
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


@dataclass(frozen=True)
class Encoded:
    """Encoded images that are all converted to the `shape` [C, H, W] of the one that errors call `like`.

    `load(rows)` yields, for some rows (ascending), each image's name in error messages and its bytes, or a DataError
    that says why there are none.
    """

    load: Callable[[Sequence[int]], Iterator[tuple[str, bytes | DataError]]]
    shape: tuple[int, int, int]
    like: str
    conversion: Conversion = AS_IT_IS

    def decode(self, name: str, content: bytes | DataError) -> np.ndarray:
        """One image, uint8 [C, H, W]. Raises DataError."""
        return read_image(given(content), self.shape, self.like, self.conversion, name)

    def images(self, rows: Sequence[int], digests: Sequence[str]) -> Iterator[np.ndarray]:
        """The images of some rows (ascending), whose bytes must have these SHA-256. Raises DataError."""
        for (name, content), digest in zip(self.load(rows), digests, strict=True):
            if hashlib.sha256(given(content)).hexdigest() != digest:
                raise DataError(f"{name}: changed since the workflow was planned; run snakemake again")
            yield self.decode(name, content)

    def select(self, rows: Sequence[int]) -> Encoded:
        """Only the images of these rows (ascending)."""
        return replace(self, load=lambda some: self.load([rows[row] for row in some]))


def given(content: bytes | DataError) -> bytes:
    """The bytes of an image. Raises the DataError given in their place."""
    if isinstance(content, DataError):
        raise content
    return content


@cache
def openable() -> tuple[str, ...]:
    """The formats that this version of Pillow can open."""
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@cache
def suffixes() -> frozenset[str]:
    """File name suffixes of these formats, in lower case."""
    from PIL import Image

    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS)


def image_shape(
    source: Path | bytes, conversion: Conversion = AS_IT_IS, name: str | None = None
) -> tuple[int, int, int]:
    """The [C, H, W] that an image in a file or in memory is converted to, from its header. Raises DataError.

    Error messages call it `name`, or else by its path.
    """
    with _opened(source, conversion, name or str(source)) as image:
        turned = _orientation(image) >= 5
        height, width = (image.width, image.height) if turned else (image.height, image.width)
        return conversion.shape((_channels(image), height, width))


def readable_shape(name: str, content: bytes | DataError, conversion: Conversion) -> tuple[int, int, int] | None:
    """Like `image_shape`, but None for an image whose header cannot be read."""
    try:
        return image_shape(given(content), conversion, name)
    except DataError:
        return None


def check_shape(name: str | Path, found: tuple[int, int, int], shape: tuple[int, int, int], like: str) -> None:
    """Raise DataError unless an image has the `shape` [C, H, W] of the one named by `like`."""
    if found != shape:
        raise DataError(
            f"{name}: {_described(found)}, but {like} is {_described(shape)}; convert one of them, "
            "or set data.size and data.channels"
        )


def read_image(
    source: Path | bytes,
    shape: tuple[int, int, int],
    like: str,
    conversion: Conversion = AS_IT_IS,
    name: str | None = None,
) -> np.ndarray:
    """One image, uint8 `shape` = [C, H, W], turned upright by its EXIF orientation. Raises DataError.

    It is in a file or in memory; error messages call it `name`, or else by its path. Of several frames, the first is
    read.
    """
    name = name or str(source)
    with _opened(source, conversion, name) as image:
        channels = _channels(image)
        try:
            upright = _upright(image)
            upright.load()
            check_shape(name, conversion.shape((channels, upright.height, upright.width)), shape, like)
            return fit(upright, shape)
        except DataError:
            raise
        except ScaleError as error:
            raise DataError(f"{name}: {error}") from None
        except Exception as error:  # a damaged file may make Pillow run into any of them
            raise DataError(f"{name}: broken image ({_reason(error)}); repair or remove it") from None


def _channels(image: Image.Image) -> int:
    return (CHANNELS_OF_MODE | CONVERTED)[image.mode]


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation in the header, 1 (upright) to 8; 1 if it cannot be read."""
    from PIL import ExifTags, Image

    if image.format == "TIFF":  # Pillow turns it itself
        return 1
    try:
        found = Image.Image.getexif(image).get(ExifTags.Base.Orientation)  # PNG's own getexif would decode the pixels
    except Exception:  # as in decoding: damaged EXIF data is ignored
        return 1
    return found if found in TURNS else 1


def _upright(image: Image.Image) -> Image.Image:
    from PIL import Image

    orientation = _orientation(image)
    return image if orientation == 1 else image.transpose(Image.Transpose[TURNS[orientation]])


def _opened(source: Path | bytes, conversion: Conversion, name: str) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    try:
        file = io.BytesIO(source) if isinstance(source, bytes) else regular(source)
        image = Image.open(file, formats=openable())
    except Exception as error:  # a damaged file may make Pillow run into any of them
        reason = "unknown format" if isinstance(error, UnidentifiedImageError) else _reason(error)
        raise DataError(f"{name}: not a readable image ({reason}); repair or remove it") from None
    refused = _refused(image, conversion)
    if refused is None:
        return image
    image.close()
    raise DataError(f"{name}: {refused}")


def _refused(image: Image.Image, conversion: Conversion) -> str | None:
    """Why an image cannot be read, and what to do; None if it can."""
    mode, transparent = image.mode, is_transparent(image)
    converted = mode in CONVERTED and (mode != "I" or image.format in SIXTEEN_BITS)
    known = mode in CHANNELS_OF_MODE
    if (known and not transparent) or ((known or converted) and conversion.channels is not None):
        return None
    kind = f"mode {mode}{' with transparency' if transparent and mode not in ALPHA else ''}"
    way = ", which composites it on white" if transparent else ", which converts it"
    cure = f", or set data.channels{way}" if known or converted else ""
    return f"images of {kind} are not supported; convert it to 8-bit gray or RGB{cure}"


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


def _described(shape: tuple[int, int, int]) -> str:
    return f"{'gray' if shape[0] == 1 else 'color'} with {shape[2]}x{shape[1]} pixels"
