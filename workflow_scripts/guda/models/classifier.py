"""A group classifier for noisy images, p(group k | x_t, t): the denoiser's encoder with a linear layer on top."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from guda import config
from guda.core.artifacts import CURE, check_tensors, load_tensors, read_json, save_tensors, sha256_file, write_json
from guda.core.errors import ArtifactError
from guda.core.paths import CONFIG, WEIGHTS
from guda.models.denoisers import new_denoiser
from guda.models.noise_schedule import NoiseSchedule
from guda.specs import Spec


class GroupClassifier(torch.nn.Module):
    """Down and middle blocks of the network that `settings` describe, then one logit per group from all features."""

    encoder: Any  # diffusers' network, whose type annotations are too loose
    gammas: Tensor
    sigmas: Tensor

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


def save_classifier(folder: str | Path, classifier: GroupClassifier, groups: list[str], spec: Spec) -> list[Path]:
    """Write config.json (network, shape of the images, groups in the order of the outputs) and weights.

    Returns the files written.
    """
    config_file, weights_file = Path(folder) / CONFIG, Path(folder) / WEIGHTS
    write_json(config_file, classifier_settings(classifier.settings, classifier.image_shape, groups))
    save_tensors(weights_file, classifier.state_dict(), spec, config_sha256=sha256_file(config_file))
    return [config_file, weights_file]


def classifier_settings(unet: config.UNet, image_shape: Sequence[int], groups: list[str]) -> dict[str, Any]:
    """The content of config.json for a classifier of these groups."""
    return {"unet": unet.model_dump(mode="json"), "image_shape": list(image_shape), "groups": groups}


def load_classifier(
    folder: str | Path, schedule: NoiseSchedule, spec_digest: str | None = None
) -> tuple[GroupClassifier, list[str]]:
    """Read a folder written here: the classifier in evaluation mode, and its groups.

    Raises ArtifactError if a file is missing or damaged, the weights are of another spec or network, or config.json is
    not the one that they were saved with.
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
        raise ArtifactError(f"{config_file}: cannot build a classifier from it ({reason}). {CURE}") from None
    check_tensors(weights_file, weights, classifier.state_dict())
    classifier.load_state_dict(weights)
    return classifier.eval(), groups
