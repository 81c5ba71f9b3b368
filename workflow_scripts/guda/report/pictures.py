"""Images by id, and as data URIs for a self-contained page."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from guda.core.artifacts import load_tensors, unpack_ids

EXACT = 32  # side length up to which images are stored losslessly, one square per pixel
LARGEST = 96  # side length that larger images are scaled down to
NEEDED, BETTER_WITHOUT = (42, 111, 187), (190, 90, 40)


def named_images(path: str, expected: str) -> dict[str, np.ndarray]:
    """The images of a file, uint8 [C, H, W] each, by id. Raises ArtifactError if the file has another spec."""
    tensors, _ = load_tensors(path, expected, "np")
    return dict(zip(unpack_ids(tensors["ids"]), tensors["images"], strict=True))


def overlay_uri(values: np.ndarray, certain: np.ndarray, largest: float) -> str:
    """A map [H, W] as an overlay for its image: blue where positive, orange where negative.

    Opacity grows with the square root of a value's magnitude over `largest`; values that are not `certain`, bool
    [H, W], are nearly transparent.
    """
    share = np.sqrt(np.abs(values) / largest) * np.where(certain, 0.85, 0.12)
    colors = np.where(values[..., None] >= 0, NEEDED, BETTER_WITHOUT)
    pixels = np.concatenate([colors, (255 * share)[..., None]], axis=2).round().astype(np.uint8)
    return _uri(Image.fromarray(pixels), "png", optimize=True)


def data_uri(image: np.ndarray) -> str:
    """A uint8 image [C, H, W], gray or RGB, as a data URI; lossless if it is small."""
    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    picture = Image.fromarray(pixels)
    if max(picture.size) <= EXACT:
        return _uri(picture, "png", optimize=True)
    picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    return _uri(picture, "webp", quality=80)


def _uri(picture: Image.Image, kind: str, **how: int) -> str:
    written = io.BytesIO()
    picture.save(written, format=kind, **how)
    return f"data:image/{kind};base64,{base64.b64encode(written.getvalue()).decode()}"
