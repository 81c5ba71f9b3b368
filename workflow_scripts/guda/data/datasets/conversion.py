"""Conversion of training images and queries to one size and number of channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guda import config

if TYPE_CHECKING:
    from PIL import Image

CHANNELS_OF_MODE = {"1": 1, "L": 1, "LA": 1, "P": 3, "PA": 3, "RGB": 3, "RGBA": 3}
# Modes that are converted to 8-bit gray or RGB if the configuration says which: other colors, and deeper gray.
COLORS = {"CMYK": 3, "YCbCr": 3, "LAB": 3, "HSV": 3}
DEEP = {"I;16": 1, "I;16B": 1, "I;16L": 1, "I;16N": 1, "I": 1, "F": 1}
CONVERTED = COLORS | DEEP
ALPHA = frozenset({"LA", "PA", "RGBA"})  # modes of Pillow with a channel of opacity

BITS_OF_TIFF, PHOTOMETRY_OF_TIFF, WHITE_IS_ZERO = 258, 262, 0


class ScaleError(ValueError):
    """The numbers cannot be gray values."""


@dataclass(frozen=True)
class Conversion:
    """`size` is [height, width], `channels` 1 (gray) or 3 (RGB); None leaves either unchanged."""

    size: tuple[int, int] | None = None
    channels: int | None = None

    @classmethod
    def of(cls, settings: config.Data) -> Conversion:
        return cls(settings.size, settings.channels)

    def shape(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The [C, H, W] that an image of this `shape` [C, H, W] is converted to."""
        channels, height, width = shape
        return (self.channels or channels, *(self.size or (height, width)))


AS_IT_IS = Conversion()


def is_transparent(image: Image.Image) -> bool:
    """Whether an image has any transparency, according to its header."""
    return image.mode in ALPHA or "transparency" in image.info


def fit(image: Image.Image, shape: tuple[int, int, int]) -> np.ndarray:
    """An image as uint8 of this `shape` [C, H, W]; unchanged if it has the shape and no transparency.

    Transparent images are composited on white. Gray is the luma of ITU-R 601, other colors become RGB by Pillow's
    formulas, and gray of more than 8 bits is reduced to 8 by `eight_bits`. The image is scaled with Pillow's Lanczos
    filter (antialiased) so that it just covers the new size, and center-cropped. Raises ScaleError.
    """
    from PIL import Image

    channels, height, width = shape
    if image.mode in DEEP:
        image = eight_bits(image)
    elif image.mode in COLORS:
        image = image.convert("RGB")
    if is_transparent(image):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if channels == 1 else "RGB")
    scale = max(height / image.height, width / image.width)
    covering = max(width, round(image.width * scale)), max(height, round(image.height * scale))
    if covering != image.size:
        image = image.resize(covering, Image.Resampling.LANCZOS)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    pixels = np.asarray(image.crop((left, top, left + width, top + height)))
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def eight_bits(image: Image.Image) -> Image.Image:
    """A gray image of integers or floats, converted to 8 bits, with its alpha channel if it has one.

    The brightest value, 65535 for 16 bits and 1 for floats, becomes 255; others are scaled in proportion and rounded to
    the nearest (16-bit values are divided by 257). Raises ScaleError for floats outside of 0..1.
    """
    from PIL import Image

    values, tags = np.asarray(image), getattr(image, "tag_v2", {})
    if image.mode == "F":
        if not (values.min() >= 0 and values.max() <= 1):
            raise ScaleError(
                f"floats from {values.min():g} to {values.max():g}, but gray runs from 0 to 1; rescale it, or save it "
                "with 8 or 16 bits"
            )
        gray = np.floor(values.astype(np.float64) * 255 + 0.5)
    else:
        brightest = 2 ** tags.get(BITS_OF_TIFF, (16,))[0] - 1
        gray = (values.astype(np.int64) * 255 + brightest // 2) // brightest
    if tags.get(PHOTOMETRY_OF_TIFF) == WHITE_IS_ZERO:
        gray = 255 - gray
    eight = Image.fromarray(gray.astype(np.uint8))
    if "transparency" in image.info:
        eight.putalpha(Image.fromarray(np.where(values == image.info["transparency"], 0, 255).astype(np.uint8)))
    return eight


def fit_array(image: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """An image uint8 [c, h, w], with one channel or three, as uint8 of this `shape`; see `fit`."""
    from PIL import Image

    if image.shape == shape:
        return image
    pixels = image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
    return fit(Image.fromarray(pixels), shape)
