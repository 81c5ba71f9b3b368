"""A group classifier of noisy images, p(group k | x_t, t): the denoiser's encoder with a linear layer on top."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from guda import config
from guda.artifacts import CURE, check_tensors, load_tensors, read_json, save_tensors, sha256_file, write_json
from guda.denoisers import new_denoiser
from guda.elbo import at_every_step
from guda.errors import ArtifactError
from guda.memberships import Memberships
from guda.noise import derive_seed
from guda.noise_schedule import NoiseSchedule
from guda.paths import CONFIG, WEIGHTS
from guda.records import FORWARD_AND_BACKWARD
from guda.specs import Spec
from guda.training import batch_rows, mirrored_at_random, optimise, random_steps, to_network_range
from guda.training_state import TrainingState


class GroupClassifier(torch.nn.Module):
    """Down and middle blocks of the network that `settings` describe, then one logit a group from all features."""

    def __init__(self, settings: config.UNet, schedule: NoiseSchedule, image_shape: tuple[int, ...], n_groups: int):
        super().__init__()
        self.settings, self.image_shape, self.n_groups = settings, tuple(image_shape), n_groups
        self.encoder = new_denoiser(settings, schedule, image_shape).unet
        del self.encoder.up_blocks, self.encoder.conv_norm_out, self.encoder.conv_out
        channels, coarser = settings.block_out_channels[-1], 2 ** (len(settings.block_out_channels) - 1)
        self.norm = torch.nn.GroupNorm(settings.norm_num_groups, channels)
        self.logits = torch.nn.Linear(channels * (image_shape[1] // coarser) * (image_shape[2] // coarser), n_groups)
        self.register_buffer("gammas", torch.tensor(schedule.gammas, dtype=torch.float32), persistent=False)
        self.register_buffer("sigmas", torch.tensor(schedule.sigmas, dtype=torch.float32), persistent=False)

    @property
    def device(self) -> torch.device:
        return self.gammas.device

    def forward(self, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """log p(group | x_t, t) for x_t = gamma_t x + sigma_t e, float32 [B, G]; x and e [B, C, H, W], t int64 [B]."""
        x_t = self.gammas[t][:, None, None, None] * x + self.sigmas[t][:, None, None, None] * noise
        if self.settings.center_input_sample:
            x_t = 2 * x_t - 1
        embedded = self.encoder.time_embedding(self.encoder.time_proj(t))
        features = self.encoder.conv_in(x_t)
        for block in self.encoder.down_blocks:
            features, _ = block(hidden_states=features, temb=embedded)
        if self.encoder.mid_block is not None:
            features = self.encoder.mid_block(features, embedded)
        features = torch.nn.functional.silu(self.norm(features))
        return torch.log_softmax(self.logits(features.flatten(1)).float(), dim=1)


def train_classifier(
    images: Tensor,
    memberships: Memberships,
    unet: config.UNet,
    schedule: NoiseSchedule,
    settings: config.Training,
    state: TrainingState | None = None,
    device: torch.device | str = "cpu",
    micro_batch_size: int | None = None,
) -> tuple[GroupClassifier, int]:
    """Train a classifier from fresh weights on those of the uint8 images [N, C, H, W] that are in a group.

    Minimises the cross-entropy at uniform diffusion steps, with targets uniform over an image's groups. Returns it with
    its averaged weights, and the number of evaluations spent (FORWARD_AND_BACKWARD per sample).
    """
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed("weights", settings.seed))
        classifier = GroupClassifier(unet, schedule, images.shape[1:], memberships.n_groups).to(device)
    rows = memberships.grouped

    def draw(step: int) -> list[Tensor]:
        chosen = rows[batch_rows(step, len(rows), settings.batch_size, "train", settings.seed)]
        batch = to_network_range(images[chosen])
        if settings.flip:
            batch = mirrored_at_random(batch)
        return [batch, torch.randn_like(batch), random_steps(len(batch), schedule), memberships.shares(chosen)]

    def loss(x: Tensor, noise: Tensor, t: Tensor, shares: Tensor) -> Tensor:
        return -(shares * classifier(x, noise, t)).sum(1).mean()

    task = classifier, draw, loss, settings, settings.seed, "training"
    optimise(*task, settings.ema_decay, state, micro_batch_size)
    return classifier, settings.steps * settings.batch_size * FORWARD_AND_BACKWARD


def posteriors(
    classifier: GroupClassifier, images: Tensor, ids: list[str], steps: np.ndarray, seed: int, batch_size: int
) -> Tensor:
    """p(group | x_t, t) of every image at every diffusion step, float32 [n, len(steps), G].

    The noise is that of the likelihood terms; arguments are as for `elbo.kl_terms`.
    """
    return at_every_step(
        lambda x, noise, t: classifier(x, noise, t).exp(),
        *(images, ids, steps, seed, batch_size, classifier.device, "classifier batches"),
    )


def save_classifier(folder: str | Path, classifier: GroupClassifier, groups: list[str], spec: Spec) -> list[Path]:
    """Write config.json (network, shape of the images, groups in the order of the outputs) and weights.

    Returns the files written.
    """
    config_file, weights_file = Path(folder) / CONFIG, Path(folder) / WEIGHTS
    write_json(config_file, classifier_settings(classifier.settings, classifier.image_shape, groups))
    save_tensors(weights_file, classifier.state_dict(), spec, config_sha256=sha256_file(config_file))
    return [config_file, weights_file]


def classifier_settings(unet: config.UNet, image_shape: Sequence[int], groups: list[str]) -> dict[str, Any]:
    """What config.json holds of a classifier of these groups."""
    return {"unet": unet.model_dump(mode="json"), "image_shape": list(image_shape), "groups": groups}


def load_classifier(
    folder: str | Path, schedule: NoiseSchedule, spec_digest: str | None = None
) -> tuple[GroupClassifier, list[str]]:
    """Read a folder written here: the classifier in evaluation mode, and its groups.

    Raises ArtifactError when a file is missing or damaged, the weights are of another spec or network, or config.json
    is not the one that they were saved with.
    """
    config_file, weights_file = Path(folder) / CONFIG, Path(folder) / WEIGHTS
    weights, metadata = load_tensors(weights_file, spec_digest)
    network = read_json(config_file)
    if metadata.get("config_sha256") != sha256_file(config_file):
        raise ArtifactError(f"{config_file}: not the configuration that {weights_file} was saved with. {CURE}")
    try:
        settings, groups = config.UNet.model_validate(network["unet"]), list(map(str, network["groups"]))
        classifier = GroupClassifier(settings, schedule, network["image_shape"], len(groups))
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ArtifactError(f"{config_file}: no classifier can be made of it ({reason}). {CURE}") from None
    check_tensors(weights_file, weights, classifier.state_dict())
    classifier.load_state_dict(weights)
    return classifier.eval(), groups
