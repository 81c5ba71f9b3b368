"""Networks that predict the noise in x_t, behind one interface."""

from guda.denoisers.adapters import add_adapters, save_adapters
from guda.denoisers.folders import load_denoiser, load_foreign_denoiser, load_pretrained_unet, save_denoiser
from guda.denoisers.text_unet import TextDenoiser
from guda.denoisers.unet import Denoiser, UNetDenoiser, new_denoiser

__all__ = [
    "Denoiser",
    "TextDenoiser",
    "UNetDenoiser",
    "add_adapters",
    "load_denoiser",
    "load_foreign_denoiser",
    "load_pretrained_unet",
    "new_denoiser",
    "save_adapters",
    "save_denoiser",
]
