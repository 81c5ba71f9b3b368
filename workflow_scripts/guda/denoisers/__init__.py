"""Networks that predict the noise in x_t, behind one interface."""

from guda.denoisers.unet import (
    Denoiser,
    UNetDenoiser,
    load_denoiser,
    load_foreign_denoiser,
    new_denoiser,
    save_denoiser,
)

__all__ = ["Denoiser", "UNetDenoiser", "load_denoiser", "load_foreign_denoiser", "new_denoiser", "save_denoiser"]
