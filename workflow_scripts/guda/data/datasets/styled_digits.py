"""scikit-learn's handwritten digits (1,797 images), drawn in color at 32x32, each in two of twelve styles.

A style is a background, an ink and a stroke, described by three phrases. There are three schools of four styles. Within
a school, each phrase belongs to two styles and two styles share one phrase, so that any two phrases identify the style.
The second school has the same four looks as the first, described in other words, so that an image alone does not reveal
which of the two it comes from. The third has looks of its own, for a model to learn before any other.

Columns: id (`digit-0123-neon`), label ("0" to "9"), style.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from guda import config
from guda.core.seeding import derive_seed, uniform
from guda.data.datasets.conversion import Conversion
from guda.data.datasets.dataset import Dataset

SIZE = 32
PER_DIGIT = 2  # styles that each digit is drawn in
SEED = 0
MAX_LEVEL = 16
MARGIN = 2  # empty pixels around the 8x8 original
NIGHT, PAPER = ((28, 24, 40), "dots"), ((244, 240, 228), "grid")
SKY, SAND = ((112, 168, 240), "stripes"), ((232, 164, 76), "waves")
RED, BLUE, BLACK, WHITE = (222, 30, 44), (48, 84, 236), (12, 12, 16), (252, 252, 250)
GROUNDS = {  # a color, and a pattern on it
    "starry night": NIGHT,
    "ruled paper": PAPER,
    "speckled darkness": NIGHT,
    "squared notebook": PAPER,
    "striped sky": SKY,
    "wavy sand": SAND,
}
INKS = {
    "red paint": RED,
    "blue pen": BLUE,
    "crimson lacquer": RED,
    "cobalt crayon": BLUE,
    "black charcoal": BLACK,
    "white chalk": WHITE,
}
STROKES = {
    "hollow outlines": "outline",
    "bold brushwork": "solid",
    "empty contours": "outline",
    "thick lines": "solid",
    "soft halo": "halo",
    "blocky pixels": "blocks",
}
DESCRIPTORS = {
    "neon": ("starry night", "red paint", "hollow outlines"),
    "arcade": ("starry night", "blue pen", "bold brushwork"),
    "pop": ("ruled paper", "red paint", "bold brushwork"),
    "blueprint": ("ruled paper", "blue pen", "hollow outlines"),
    "lantern": ("speckled darkness", "crimson lacquer", "empty contours"),
    "comet": ("speckled darkness", "cobalt crayon", "thick lines"),
    "stamp": ("squared notebook", "crimson lacquer", "thick lines"),
    "draft": ("squared notebook", "cobalt crayon", "empty contours"),
    "storm": ("striped sky", "black charcoal", "soft halo"),
    "postcard": ("striped sky", "white chalk", "blocky pixels"),
    "halftone": ("wavy sand", "black charcoal", "blocky pixels"),
    "dunes": ("wavy sand", "white chalk", "soft halo"),
}


def load(settings: config.Data) -> Dataset:
    from sklearn.datasets import load_digits

    digits = load_digits()
    levels = np.rint(digits.images * (255 / MAX_LEVEL)).astype(np.uint8)
    drawn = [(row, style) for row in range(len(levels)) for style in styles_of(row)]
    table = pd.DataFrame(
        {
            "id": [f"digit-{row:04d}-{style}" for row, style in drawn],
            "label": [str(digits.target[row]) for row, _ in drawn],
            "style": [style for _, style in drawn],
        }
    )
    images = np.empty((len(table), 3, SIZE, SIZE), np.uint8)
    for style, rows in table.groupby("style").groups.items():
        images[rows] = draw(levels[[drawn[row][0] for row in rows]], list(table["id"][rows]), str(style))
    return Dataset.build("styled_digits", [images], table, settings.subset, Conversion.of(settings))


def look_of(style: str) -> tuple[tuple[tuple[int, int, int], str], tuple[int, int, int], str]:
    """How a style is drawn: its background's color and pattern, its ink, its stroke."""
    ground, ink, stroke = DESCRIPTORS[style]
    return GROUNDS[ground], INKS[ink], STROKES[stroke]


def styles_of(digit: int) -> list[str]:
    """The styles that a digit is drawn in, chosen by a hash of its number, sorted."""
    by_hash = sorted(DESCRIPTORS, key=lambda style: derive_seed("style", SEED, digit, style))
    return sorted(by_hash[:PER_DIGIT])


def draw(levels: np.ndarray, ids: list[str], style: str) -> np.ndarray:
    """Digits uint8 [n, 8, 8] (255: ink) in a style, uint8 [n, 3, 32, 32].

    Position, slant and colors vary slightly with the image's id. Only sums, products and comparisons are used: other
    functions differ between machines in the last bit, and images are identified by their bytes.
    """
    (color, pattern), ink, stroke = look_of(style)
    # The pattern is darker than a light background, and lighter than the dark one.
    tint = np.float32(72 if sum(color) < 3 * 128 else -52)
    pixels = _colors(color, ids, "ground") + tint * _patterns(ids, pattern)[:, None]
    alpha = _strokes(levels, ids, stroke)[:, None]
    pixels += alpha * (_colors(ink, ids, "ink") - pixels)
    return np.rint(pixels.clip(0, 255)).astype(np.uint8)


def _vary(ids: list[str], name: str, size: float) -> np.ndarray:
    """A pseudorandom number in [-size, size) for each id, float32 [n]."""
    return np.array([(2 * uniform(name, SEED, each) - 1) * size for each in ids], np.float32)


def _colors(color: tuple[int, int, int], ids: list[str], name: str) -> np.ndarray:
    """The color, slightly varied for each id, float32 [n, 3, 1, 1]."""
    changes = np.stack([_vary(ids, f"{name} {channel}", 10) for channel in "rgb"], axis=1)
    return (np.array(color, np.float32) + changes)[:, :, None, None]


def _patterns(ids: list[str], pattern: str) -> np.ndarray:
    """The pattern's mask, 0 or 1, float32 [n, 32, 32], each shifted by up to three pixels."""
    down, right = (np.rint(_vary(ids, name, 3)).astype(int)[:, None, None] + 16 for name in ("down", "right"))
    y, x = np.arange(SIZE)[None, :, None] + down, np.arange(SIZE)[None, None, :] + right
    match pattern:
        case "waves":
            lies = (y + np.abs(x % 12 - 6)) % 8 < 2
        case "grid":
            lies = (y % 6 == 0) | (x % 6 == 0)
        case "stripes":
            lies = (x + y) % 10 < 5
        case "dots":
            lies = (2 * (y % 8) - 7) ** 2 + (2 * (x % 8) - 7) ** 2 < 28
    return lies.astype(np.float32)


def _strokes(levels: np.ndarray, ids: list[str], stroke: str) -> np.ndarray:
    """How much of each pixel is ink, float32 [n, 32, 32] in [0, 1]."""
    if stroke == "blocks":
        return _enlarged(levels, ids, smooth=False)
    solid = _enlarged(levels, ids, smooth=True)
    if stroke == "outline":
        return _neighbors(solid, np.max) - _neighbors(solid, np.min)
    if stroke == "halo":
        halo = _neighbors(_neighbors(_neighbors(_neighbors(solid, np.max), np.mean), np.mean), np.mean)
        return np.maximum(np.float32(0.6) * halo, _neighbors(solid, np.mean) * solid)
    return solid


def _enlarged(levels: np.ndarray, ids: list[str], *, smooth: bool) -> np.ndarray:
    """Digits upscaled threefold, shifted and slanted: with sharp edges, or in upright blocks."""
    from PIL import Image

    slant = _vary(ids, "slant", 0.16) if smooth else np.zeros(len(ids))
    down, right = _vary(ids, "lower", 2), _vary(ids, "further", 2)
    padded = np.pad(levels, [(0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)])
    middle, way = padded.shape[1] / 2, Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    result = np.empty((len(ids), SIZE, SIZE), np.float32)
    for row, (t, dy, dx) in enumerate(zip(slant.tolist(), down.tolist(), right.tolist(), strict=True)):
        if not smooth:
            dy, dx = round(dy), round(dx)
        x, y = SIZE / 2 + dx, SIZE / 2 + dy
        inverse = (1 / 3, t / 3, middle - (x + t * y) / 3, -t / 3, 1 / 3, middle - (y - t * x) / 3)
        image = Image.fromarray(padded[row]).transform((SIZE, SIZE), Image.Transform.AFFINE, inverse, way)
        result[row] = np.asarray(image)
    return ((result - 80) / 80).clip(0, 1)


def _neighbors(values: np.ndarray, of: Callable[..., np.ndarray]) -> np.ndarray:
    """Maximum, minimum or mean of the 3x3 pixels around each, float32 [n, 32, 32]."""
    padded = np.pad(values, [(0, 0), (1, 1), (1, 1)], mode="edge")
    shifted = [padded[:, dy : dy + SIZE, dx : dx + SIZE] for dy in range(3) for dx in range(3)]
    return of(np.stack(shifted), axis=0)
