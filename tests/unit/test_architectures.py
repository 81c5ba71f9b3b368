"""Networks that diffusers makes from the arguments of the section `unet`, the common ones of the hub among them."""

import json

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from refusals import sections_to_write
from safetensors.torch import load_file, save_file

from guda import config
from guda.core.errors import ArtifactError
from guda.core.paths import CONFIG, WEIGHTS
from guda.models.denoisers import load_imported_denoiser
from guda.plan.config import load_config
from guda.specs import ImportedModelSpec

KEY = "model.pretrained"
# The architecture of google/ddpm-cifar10-32 and its siblings with a 16th of the channels, as their files have it.
HUB_UNET = {
    "sample_size": 32,
    "in_channels": 3,
    "out_channels": 3,
    "center_input_sample": False,
    "time_embedding_type": "positional",
    "freq_shift": 1,
    "flip_sin_to_cos": False,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [8, 16, 16, 16],
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "downsample_padding": 0,
    "act_fn": "silu",
    "attention_head_dim": None,
    "norm_num_groups": 8,
    "norm_eps": 1e-6,
}


@pytest.fixture(scope="module")
def hub_model(tmp_path_factory):
    """A pipeline of that architecture that diffusers made and saved."""
    folder = tmp_path_factory.mktemp("hub")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        DDPMPipeline(UNet2DModel(**HUB_UNET), DDPMScheduler(variance_type="fixed_large")).save_pretrained(folder)
    return folder


def imported(folder, shape, unet, process=None):
    """What is read from a folder with these settings."""
    process = process or config.NoiseSchedule()
    spec = ImportedModelSpec(content="c", shape=shape, unet=unet, noise_schedule=process)
    return load_imported_denoiser(folder, spec, KEY)


def imported_as_told(folder):
    """What is read from a folder with the configuration that the refusal of the default one says to write."""
    shape = [3, 32, 32]
    with pytest.raises(ArtifactError) as caught:
        imported(folder, shape, config.UNet())
    told = load_config(sections_to_write(caught.value, KEY))
    return imported(folder, shape, told.unet, told.noise_schedule), told


@torch.no_grad()
def assert_predicts_as_diffusers_does(denoiser, folder):
    theirs = UNet2DModel.from_pretrained(folder).eval()
    x_t = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    t = torch.tensor([0, 10, 500, 999])
    assert torch.equal(denoiser.predict_noise(x_t, t), theirs(x_t, t).sample)


def test_a_hub_model_is_taken_once_the_sections_are_written_and_predicts_as_in_diffusers(hub_model):
    denoiser, told = imported_as_told(hub_model)
    assert told.noise_schedule == config.NoiseSchedule(beta_schedule="linear")
    assert told.unet == config.UNet(
        block_out_channels=[8, 16, 16, 16],
        layers_per_block=2,
        down_block_types=HUB_UNET["down_block_types"],
        up_block_types=HUB_UNET["up_block_types"],
        add_attention=True,  # diffusers' default
        attention_head_dim=None,
        norm_eps=1e-6,
        freq_shift=1,
        flip_sin_to_cos=False,
        downsample_padding=0,
    )
    assert_predicts_as_diffusers_does(denoiser, hub_model / "unet")
    np.testing.assert_allclose(denoiser.schedule.alphas_cumprod, DDPMScheduler().alphas_cumprod.numpy(), rtol=1e-4)


def test_a_hub_model_of_the_first_releases_is_taken(hub_model, tmp_path):
    """All in one folder, few keys in its files, and other names for the layers of attention."""
    (tmp_path / CONFIG).write_text(json.dumps(HUB_UNET))
    linear = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
    (tmp_path / "scheduler_config.json").write_text(json.dumps(linear))
    old = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    weights = load_file(hub_model / "unet" / WEIGHTS)
    for new_name, old_name in old.items():
        weights = {name.replace(new_name, old_name): tensor for name, tensor in weights.items()}
    assert sum(".query." in name for name in weights) == 2 * (2 + 3 + 1)  # weight and bias: down, up, middle
    save_file(weights, tmp_path / WEIGHTS)
    denoiser, told = imported_as_told(tmp_path)
    assert told.noise_schedule == config.NoiseSchedule(beta_schedule="linear")
    assert_predicts_as_diffusers_does(denoiser, tmp_path)


UNUSUAL = {
    "no middle": {"mid_block_type": None},
    "scale and shift": {"resnet_time_scale_shift": "scale_shift", "add_attention": True},
    "its groups": {"resnet_time_scale_shift": "scale_shift", "add_attention": True, "attn_norm_num_groups": 2},
    "time embedding": {"time_embedding_dim": 20, "freq_shift": 2},
    "input and middle": {"center_input_sample": True, "mid_block_scale_factor": 2.0, "act_fn": "mish"},
    "residual layers": {
        "down_block_types": ["AttnDownBlock2D", "ResnetDownsampleBlock2D"],
        "up_block_types": ["ResnetUpsampleBlock2D", "AttnUpBlock2D"],
        "downsample_type": "resnet",
        "upsample_type": "resnet",
    },
}


@pytest.mark.parametrize("changes", UNUSUAL.values(), ids=UNUSUAL)
def test_every_argument_reaches_the_network(tmp_path, tiny_unet, changes):
    settings = config.UNet.model_validate(tiny_unet.model_dump() | changes)
    arguments = settings.model_dump(exclude={"learned_variance"})
    theirs = UNet2DModel(sample_size=8, in_channels=1, out_channels=1, **arguments).eval()
    theirs.save_pretrained(tmp_path)
    with pytest.raises(ArtifactError) as caught:
        imported(tmp_path, [1, 8, 8], tiny_unet)
    assert sections_to_write(caught.value, KEY) == {"unet": changes}
    x_t, t = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([3, 700])
    with torch.no_grad():
        assert torch.equal(imported(tmp_path, [1, 8, 8], settings).predict_noise(x_t, t), theirs(x_t, t).sample)
