"""What the tests of text-to-image models share: the smallest real network that is told a prompt."""

import itertools

import torch
from diffusers import UNet2DConditionModel

from guda import config
from guda.data.captions import Captions
from guda.models.denoisers import TextDenoiser
from guda.models.noise_schedule import NoiseSchedule

PROCESS = config.NoiseSchedule(
    num_train_timesteps=1000, beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012
)
TOKENS, WIDTH = 5, 8  # of a prompt's embedding


def text_denoiser(prediction_type="epsilon", seed=0, **settings):
    """A network with fresh weights for latents of 4x8x8 and prompts of five tokens, in evaluation mode."""
    architecture = {
        "sample_size": 8,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (8, 16),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 1,
        "cross_attention_dim": WIDTH,
        "attention_head_dim": 4,
        "norm_num_groups": 4,
    }
    process = PROCESS.model_copy(update={"prediction_type": prediction_type})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(**architecture | settings)
    return TextDenoiser(unet, NoiseSchedule.from_config(process)).eval()


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def prompts(n, seed=10):
    """Embeddings of n prompts."""
    return normal(seed, n, TOKENS, WIDTH)


def weights_of(denoiser):
    return torch.cat([parameter.detach().flatten() for parameter in denoiser.parameters()])


IDS = [f"i{row}" for row in range(8)]
LATENTS = normal(1, 8, 4, 8, 8)


def captions(seed=0, dropout=0.0):
    """Prompts of eight images: image 0 has three of five, the others one or two."""
    prompts_of = [[0, 1, 2], [1], [2, 3], [3], [4], [0, 4], [1], [2]]
    counts = torch.tensor([0, *map(len, prompts_of)])
    return Captions(
        embeddings=prompts(5),
        pooled=normal(11, 5, 6),
        prompts=torch.tensor(list(itertools.chain(*prompts_of))),
        starts=counts.cumsum(0),
        empty=prompts(1, seed=12)[0],
        ids=IDS,
        seed=seed,
        dropout=dropout,
    )
