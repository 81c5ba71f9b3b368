"""What the tests of networks share: one thread, one process, and the smallest real network."""

import pytest
import shapes  # noqa: F401  (from here on the library's functions check their arrays)
import torch

from guda import config
from guda.models.denoisers import UNetDenoiser, new_denoiser
from guda.models.noise_schedule import NoiseSchedule

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def schedule() -> NoiseSchedule:
    """Cosine, 1000 steps, noise prediction; written out, so that no test hangs on a default."""
    process = config.NoiseSchedule(
        num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2", prediction_type="epsilon"
    )
    return NoiseSchedule.from_config(process)


@pytest.fixture(scope="session")
def tiny_unet() -> config.UNet:
    """Two resolutions of eight channels: 10,000 parameters."""
    return config.UNet(block_out_channels=[8, 8], layers_per_block=1, norm_num_groups=8, dropout=0.0)


@pytest.fixture
def denoiser(tiny_unet, schedule) -> UNetDenoiser:
    """A real network with fresh weights for images of 1x8x8, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return new_denoiser(tiny_unet, schedule, (1, 8, 8)).eval()


@pytest.fixture
def images() -> torch.Tensor:
    """Twelve uint8 images of 1x8x8 noise."""
    return torch.randint(0, 256, (12, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
