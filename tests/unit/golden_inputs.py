"""Small fixed inputs of the golden tests: images, groups, networks whose weights are a formula."""

import sys

import numpy as np
import pytest
import torch

from guda import config, specs
from guda.core.artifacts import pack_ids, save_tensors
from guda.data.groups import write_members
from guda.methods.gradients.plan import GradientsSpec
from guda.models.denoisers import new_denoiser
from guda.models.noise_schedule import NoiseSchedule
from guda.specs import digest_lines
from guda.training.state import Execution

DEVICE = torch.device("cpu")  # where networks compute, unless a test changes it


IDS = [f"i{index:02d}" for index in range(12)]


IMAGES = (np.arange(12 * 64) ** 2 * 37 % 251).astype(np.uint8).reshape(12, 1, 8, 8)


QUERIES = np.stack([IMAGES[:4].mean(0), IMAGES[4:].mean(0)]).astype(np.uint8)  # in the midst of group a; of the rest


MEMBERS = {"a": IDS[:4], "b": IDS[4:7]}


SCORES = np.array([[3.0, 1.0, 2.0], [0.5, 0.25, 4.0], [1.0, 5.0, -2.0], [2.0, 1.0, 1.5]])


SCHEDULE = config.NoiseSchedule(
    num_train_timesteps=100,
    beta_schedule="squaredcos_cap_v2",
    beta_start=1.0e-4,
    beta_end=0.02,
    prediction_type="epsilon",
)


UNET = config.UNet(
    block_out_channels=[8, 8],
    layers_per_block=1,
    down_block_types=["DownBlock2D", "DownBlock2D"],
    mid_block_type="UNetMidBlock2D",
    up_block_types=["UpBlock2D", "UpBlock2D"],
    add_attention=False,
    attention_head_dim=8,
    norm_num_groups=4,
    attn_norm_num_groups=None,
    norm_eps=1.0e-5,
    act_fn="silu",
    dropout=0.0,
    resnet_time_scale_shift="default",
    time_embedding_dim=None,
    freq_shift=0,
    flip_sin_to_cos=True,
    center_input_sample=False,
    downsample_padding=1,
    downsample_type="conv",
    upsample_type="conv",
    mid_block_scale_factor=1.0,
    learned_variance=False,
)


OPTIMIZATION = {
    "steps": 6,
    "batch_size": 4,
    "learning_rate": 5.0e-3,
    "weight_decay": 0.5,
    "adam_beta2": 0.999,
    "warmup_steps": 1,
    "decay": "cosine",
    "max_grad_norm": 1.0,
    "seed": 3,
}


def fixed_denoiser(n_labels=None):
    return fixed(new_denoiser(UNET, NoiseSchedule.from_config(SCHEDULE), (1, 8, 8), n_labels)).to(DEVICE)


def fixed(network):
    """The network with weights that are a formula, so that no generator of random numbers matters."""
    start = 0
    with torch.no_grad():
        for parameter in network.parameters():
            wave = torch.cos(1.7 * torch.arange(start, start + parameter.numel(), dtype=torch.float64))
            parameter.copy_((0.15 * wave + 0.1).reshape(parameter.shape))
            start += parameter.numel()
    return network.eval()


def execution():
    return Execution(device=DEVICE)


def save_images(path, spec, images, ids):
    save_tensors(path, {"images": torch.from_numpy(images), "ids": pack_ids(ids)}, spec)


def save_groups(paths):
    """Files of the groups in MEMBERS, and the digests of their specs."""
    digests = {}
    for group, members in MEMBERS.items():
        spec = specs.GroupSpec(dataset="d", group=group, members=digest_lines(members))
        write_members(paths.group(group), spec, members)
        digests[group] = spec.digest()
    return digests


def save_queries(paths):
    """A bucket of queries; returns the digests by bucket."""
    spec = specs.QueriesSpec(
        base="b", noise_schedule=SCHEDULE, seed=0, sampler="ddim", sampling_steps=1, ids=["q0", "q1"]
    )
    save_images(paths.queries("bucket-0000"), spec, QUERIES, spec.ids)
    return {"bucket-0000": spec.digest()}


def run_stage(stage, **flags):
    """Call a stage program's main function, in this process."""
    arguments = [text for flag, value in flags.items() for text in (f"--{flag}", str(value))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [stage.__name__, *arguments])
        stage.main()


GRADIENTS = GradientsSpec(
    base="b",
    noise_schedule=SCHEDULE,
    samples="s",
    function="mean_output",
    normalize=True,
    steps=[20, 60],
    own_noise=False,
    seed=3,
    projection_dim=4,
)


def together(found):
    """Influences on all queries, float32 [q, M], and the evaluations spent, of the pairs of each query in turn."""
    scores, evaluations = zip(*found, strict=True)
    return torch.stack(scores), sum(evaluations)
