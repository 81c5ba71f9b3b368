"""Conversion of the public API's arguments: images, their names, and masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from guda.core.errors import ArgumentError

if TYPE_CHECKING:
    from PIL import Image

    Images: TypeAlias = Tensor | np.ndarray | Sequence[Image.Image]


def as_images(images: Images, argument: str = "images") -> Tensor:
    """uint8 [n, C, H, W] from such an array (torch or numpy) or from PIL images. Raises ArgumentError."""
    if isinstance(images, list | tuple) and images and all(hasattr(image, "getbands") for image in images):
        images = _from_pil(images, argument)
    elif not isinstance(images, Tensor | np.ndarray):
        raise ArgumentError(f"{argument}: expected an array or a list of PIL images, found {type(images).__name__}")
    tensor = torch.as_tensor(images).cpu()
    if tensor.dtype != torch.uint8 or tensor.ndim != 4 or not len(tensor):
        raise ArgumentError(
            f"{argument}: expected uint8 [n, C, H, W] with levels 0 to 255 and n at least 1, found "
            f"{str(tensor.dtype).removeprefix('torch.')} {[*tensor.shape]}; convert it"
        )
    return tensor


def _from_pil(images: Sequence[Image.Image], argument: str) -> np.ndarray:
    """uint8 [n, C, H, W] of gray or RGB images of one size."""
    kinds = sorted({(image.mode, image.size) for image in images})
    if len(kinds) > 1 or kinds[0][0] not in ("L", "RGB"):
        raise ArgumentError(
            f"{argument}: expected images of one size, all of mode L or all of mode RGB, found "
            f"{kinds[:3]}; convert them"
        )
    stacked = np.stack([np.asarray(image) for image in images])
    return stacked[:, None] if stacked.ndim == 3 else stacked.transpose(0, 3, 1, 2)


def as_ids(ids: Sequence[str] | None, count: int, argument: str = "ids", prefix: str = "") -> list[str]:
    """Names of `count` images, as text; None: the prefix and row numbers. Raises ArgumentError."""
    names = [f"{prefix}{row}" for row in range(count)] if ids is None else [str(name) for name in ids]
    if len(names) != count:
        raise ArgumentError(f"{argument}: {len(names)} names for {count} images; give one name per image")
    if len(set(names)) != count:
        repeated = next(name for row, name in enumerate(names) if name in names[:row])
        raise ArgumentError(f"{argument}: {repeated!r} occurs twice; names must be unique")
    return names


def as_mask(mask: ArrayLike | Tensor, count: int, argument: str) -> Tensor:
    """bool [count], from anything that numpy converts to a boolean array. Raises ArgumentError."""
    array = mask.cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask)
    if array.dtype != bool or array.shape != (count,):
        raise ArgumentError(
            f"{argument}: expected one boolean for each of {count} images, found {array.dtype} {[*array.shape]}; "
            "give a mask, such as labels == 3"
        )
    return torch.from_numpy(array.copy())
