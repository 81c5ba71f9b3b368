"""Images as text for a page that needs no other file."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

EXACT = 32  # pixels a side up to which every pixel is kept, and shown as a square
LARGEST = 96  # pixels a side of a larger image's picture


NEEDED, BETTER_WITHOUT = (42, 111, 187), (190, 90, 40)


def overlay_uri(values: np.ndarray, certain: np.ndarray, largest: float) -> str:
    """A map [H, W] as a picture to lay over its image: blue where it is positive, orange where negative.

    The nearer a value's size comes to `largest`, the less transparent (by its root); where it is not `certain`, bool
    [H, W], it hardly shows.
    """
    share = np.sqrt(np.abs(values) / largest) * np.where(certain, 0.85, 0.12)
    colours = np.where(values[..., None] >= 0, NEEDED, BETTER_WITHOUT)
    pixels = np.concatenate([colours, (255 * share)[..., None]], axis=2).round().astype(np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(written.getvalue()).decode()}"


def data_uri(image: np.ndarray) -> str:
    """A uint8 image [C, H, W] of one channel (grey) or three (RGB), small ones as they are, as a data URI."""
    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    picture = Image.fromarray(pixels)
    exact = max(picture.size) <= EXACT
    picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    if exact:
        picture.save(written, format="PNG", optimize=True)
    else:
        picture.save(written, format="WEBP", quality=80)
    kind = "png" if exact else "webp"
    return f"data:image/{kind};base64,{base64.b64encode(written.getvalue()).decode()}"
