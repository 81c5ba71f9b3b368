"""Compares the settings of models trained elsewhere with the configuration: differences, as the YAML to write."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from pydantic import ValidationError

from guda.config import NoiseSchedule, Section, UNet
from guda.config.messages import explain
from guda.core.errors import ArtifactError
from guda.models.checkpoints.files import read_object
from guda.models.noise_schedule import betas_of

if TYPE_CHECKING:
    from guda.plan.config import Config

SCHEDULER = "scheduler_config.json"
# Settings of a scheduler whose process noise_schedule can express.
UNCHANGED_PROCESS = {"rescale_betas_zero_snr": False, "use_flow_sigmas": False}
DATA_SETTINGS = {"in_channels": "channels", "sample_size": "size"}
FEW = 4  # values of a list that are all shown
# Defaults of diffusers' UNet2DModel for keys that its file lacks.
UNET_DEFAULTS = {
    "sample_size": None,
    "in_channels": 3,
    "out_channels": 3,
    "center_input_sample": False,
    "time_embedding_type": "positional",
    "time_embedding_dim": None,
    "freq_shift": 0,
    "flip_sin_to_cos": True,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"],
    "mid_block_type": "UNetMidBlock2D",
    "up_block_types": ["AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [224, 448, 672, 896],
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "downsample_padding": 1,
    "downsample_type": "conv",
    "upsample_type": "conv",
    "dropout": 0.0,
    "act_fn": "silu",
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "attn_norm_num_groups": None,
    "norm_eps": 1e-5,
    "resnet_time_scale_shift": "default",
    "add_attention": True,
    "class_embed_type": None,
    "num_class_embeds": None,
    "num_train_timesteps": None,
}
Settings = dict[str, dict[str, Any]]  # by section of the configuration


def differing_network(file: Path, unet: UNet, shape: tuple[int, ...], key: str) -> Settings:
    """The settings of `data` and `unet` that a file's network needs and that differ from the configuration.

    `shape` [C, H, W] is that of the images. Raises ArtifactError, by name, for what no setting can express.
    """
    wanted, found = network_of(unet, shape), UNET_DEFAULTS | read_object(file, key)
    size = found["sample_size"]  # a single number in diffusers' examples; no layer depends on it, and it may be null
    found["sample_size"] = [size, size] if isinstance(size, int) else size or wanted["sample_size"]
    found, wanted = (
        values | {"learned_variance": values["out_channels"] != values["in_channels"]} for values in (found, wanted)
    )
    differing = {name: found[name] for name in wanted if name in found and found[name] != wanted[name]}
    if differing.keys() & {"in_channels", "learned_variance"}:
        differing.pop("out_channels", None)  # follows from these
    data = {setting: differing.pop(name) for name, setting in DATA_SETTINGS.items() if name in differing}
    unet_settings = {name: differing.pop(name) for name in UNet.model_fields if name in differing}
    for name, value in differing.items():
        raise ArtifactError(f"{key}: {file} has {name} {value!r}, but only {wanted[name]!r} is supported")
    if found["learned_variance"] and found["out_channels"] != _doubled(found["in_channels"]):
        raise ArtifactError(
            f"{key}: {file} has in_channels {found['in_channels']!r} and out_channels {found['out_channels']!r}; only "
            "equal numbers are supported, or twice as many out_channels for a learned variance"
        )
    if data or unet_settings:
        _check_size(found, file, key)
    return {"data": data, "unet": unet_settings}


def _check_size(found: dict[str, Any], file: Path, key: str) -> None:
    """Raise ArtifactError if the images cannot be halved as often as the network does, whatever the configuration."""
    size, channels = found["sample_size"], found["block_out_channels"]
    divisor = 2 ** (len(channels) - 1) if isinstance(channels, list) and channels else 1
    if isinstance(size, list) and any(isinstance(side, int) and side % divisor for side in size):
        raise ArtifactError(
            f"{key}: {file} has {len(channels)} resolutions, which need sides that are multiples of {divisor}, but "
            f"images (by sample_size or the configuration) of {size}; set data.size, or correct sample_size there"
        )


def _doubled(channels: Any) -> Any:
    return 2 * channels if isinstance(channels, int) else channels


def network_of(unet: UNet, shape: tuple[int, ...]) -> dict[str, Any]:
    """The config.json that diffusers writes for a network for images of shape [C, H, W]."""
    channels, height, width = shape
    settings = unet.model_dump(mode="json", exclude={"learned_variance"})
    of_images = {"in_channels": channels, "out_channels": channels * (1 + unet.learned_variance)}
    return UNET_DEFAULTS | {"_class_name": "UNet2DModel", "sample_size": [height, width]} | settings | of_images


def differing_process(folder: Path, process: NoiseSchedule, key: str) -> Settings:
    """The settings of `noise_schedule` that a pipeline's process needs and that differ from the configuration.

    The scheduler is in its own folder, or beside the network in older pipelines; without it the process is unknown.
    Raises ArtifactError, by name, for what no setting can express.
    """
    files = [file for file in (folder / "scheduler" / SCHEDULER, folder / SCHEDULER) if file.exists()]
    if not files:
        return {}
    found = UNCHANGED_PROCESS | {"prediction_type": "epsilon"} | read_object(files[0], key)
    for name, value in UNCHANGED_PROCESS.items():
        if found[name] != value:
            raise ArtifactError(f"{key}: {files[0]} has {name} {found[name]!r}, but only {value!r} is supported")
    if found.get("trained_betas") is not None:
        _check_own_betas(found["trained_betas"], files[0], process, key)
        found = {"prediction_type": found["prediction_type"]}  # the betas override all others
    elif "beta_schedule" not in found:
        raise ArtifactError(f"{key}: {files[0]} has no beta_schedule; only processes defined by betas are supported")
    unread = {"beta_start", "beta_end"} if found.get("beta_schedule") == "squaredcos_cap_v2" else set()
    wanted = process.model_dump()
    names = [name for name in wanted if name in found and name not in unread and found[name] != wanted[name]]
    return {"noise_schedule": {name: found[name] for name in names}}


def _check_own_betas(betas: Any, file: Path, process: NoiseSchedule, key: str) -> None:
    """Raise ArtifactError unless a list of betas matches the configured process."""
    expected = betas_of(process)
    listed = isinstance(betas, list) and all(type(beta) in (int, float) for beta in betas)
    # They may have been rounded to float32.
    if not (listed and len(betas) == len(expected) and np.allclose(betas, expected, rtol=1e-5, atol=1e-9)):
        shown = f"[{betas[0]}, ... {len(betas)} in all]" if listed and len(betas) > FEW else repr(betas)
        raise ArtifactError(
            f"{key}: {file} has trained_betas {shown}, but only None or the betas of noise_schedule are supported; "
            "set noise_schedule to a beta_schedule that gives them, or use a model with another process"
        )


def refuse(differing: Settings, sections: dict[str, Section], folder: Path, key: str, whole: Config | None) -> None:
    """Raise ArtifactError if settings differ, with the YAML to write or what the configuration cannot express.

    `sections` are those of the configuration that would change. With the `whole` configuration, the YAML also has what
    must change along with them.
    """
    advised = {}
    for name, settings in differing.items():
        configured = sections[name].model_dump()
        changed, problems = _changed(sections[name], settings)
        if changed is None:
            problems = [f"{name}: {problem}" for problem in problems]
            raise ArtifactError(
                f"{key}: {folder} holds a model that is not supported ({'; '.join(problems)}); give another one"
            )
        values = {setting: changed.model_dump(mode="json")[setting] for setting in settings}
        advised[name] = {setting: value for setting, value in values.items() if value != configured[setting]}
    advised = {name: settings for name, settings in advised.items() if settings}
    if not advised:
        return
    if whole is not None:
        advised = _completed(advised, whole)
        changed, problems = _changed(whole, advised)
        if changed is None:
            raise ArtifactError(
                f"{key}: {folder} has other settings than the configuration: {json.dumps(advised)}. With these, "
                f"other keys would have to change, too: {'; '.join(problems)}"
            )
    lines = yaml.safe_dump(advised, default_flow_style=None, sort_keys=False, width=math.inf).rstrip()
    raise ArtifactError(f"{key}: {folder} has other settings than the configuration; to use it, write\n{lines}")


def _changed(section: Section, changes: dict[str, Any]) -> tuple[Section | None, list[str]]:
    """A section of the configuration, or all of it, with these changes; or what would be wrong with it."""
    try:
        return type(section).model_validate(_merged(section.model_dump(by_alias=True), changes)), []
    except ValidationError as error:
        return None, [explain(problem, type(section)) for problem in error.errors()]


def _merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    nested = {
        name: _merged(values[name], value) if isinstance(value, dict) and isinstance(values[name], dict) else value
        for name, value in changes.items()
    }
    return values | nested


def _completed(differing: Settings, whole: Config) -> Settings:
    """The settings, and those of steps that must change because the number of diffusion steps does."""
    steps = differing.get("noise_schedule", {}).get("num_train_timesteps")
    if steps is None:
        return differing
    window, queries = whole.elbo.steps, whole.queries
    beside: dict[str, Any] = {}
    if window.last >= steps:
        first = {"first": max(steps // 10, 1)} if window.first >= steps else {}
        beside["elbo"] = {"steps": first | {"last": steps - 1}}
    divisors = [number for number in range(1, min(queries.sampling_steps, steps) + 1) if steps % number == 0]
    if divisors[-1] != queries.sampling_steps and queries.sampler != "dpmsolver++":
        beside["queries"] = {"sampling_steps": divisors[-1]}
    return differing | beside
