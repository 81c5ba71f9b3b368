"""The size and the channels that training images and queries are brought to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guda import config

if TYPE_CHECKING:
    from PIL import Image

ALPHA = frozenset({"LA", "PA", "RGBA"})  # modes of Pillow with a channel of opacity


@dataclass(frozen=True)
class Conversion:
    """`size` is [height, width], `channels` 1 (grey) or 3 (RGB); None leaves either as it is."""

    size: tuple[int, int] | None = None
    channels: int | None = None

    @classmethod
    def of(cls, settings: config.Data) -> Conversion:
        return cls(settings.size, settings.channels)

    def shape(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The [C, H, W] that an image of this `shape` [C, H, W] is brought to."""
        channels, height, width = shape
        return (self.channels or channels, *(self.size or (height, width)))


AS_IT_IS = Conversion()


def is_transparent(image: Image.Image) -> bool:
    """Whether an image has any opacity of its own, as its header tells."""
    return image.mode in ALPHA or "transparency" in image.info


def fit(image: Image.Image, shape: tuple[int, int, int]) -> np.ndarray:
    """An image as uint8 of this `shape` [C, H, W]; one that has the shape and no transparency is left as it is.

    What is transparent is put on white. Grey is the luma of ITU-R 601. The image is scaled, by Pillow's Lanczos filter
    (antialiased), so that it just covers the new size, and the centre is cut out.
    """
    from PIL import Image

    channels, height, width = shape
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


def fit_array(image: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """An image uint8 [c, h, w], of one channel or three, as uint8 of this `shape`; see `fit`."""
    from PIL import Image

    if image.shape == shape:
        return image
    pixels = image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
    return fit(Image.fromarray(pixels), shape)
