"""Networks that predict the noise in x_t, behind a common interface."""

from guda.models.denoisers.adapters import add_adapters, save_adapters
from guda.models.denoisers.bound import BoundDenoiser, GuidedDenoiser
from guda.models.denoisers.folders import (
    load_denoiser,
    load_imported_denoiser,
    load_pretrained_unet,
    network_files,
    save_denoiser,
)
from guda.models.denoisers.text_unet import TextDenoiser
from guda.models.denoisers.unet import Denoiser, UNetDenoiser, new_denoiser

__all__ = [
    "BoundDenoiser",
    "Denoiser",
    "GuidedDenoiser",
    "TextDenoiser",
    "UNetDenoiser",
    "add_adapters",
    "load_denoiser",
    "load_imported_denoiser",
    "load_pretrained_unet",
    "network_files",
    "new_denoiser",
    "save_adapters",
    "save_denoiser",
]
