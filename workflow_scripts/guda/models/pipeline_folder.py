"""Export of a model for diffusers' `DDPMPipeline`: the network with the scheduler of its process."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from guda import config
from guda.core.artifacts import read_json, replacing, write_json, write_text
from guda.core.errors import ArtifactError
from guda.core.json_text import parse_json
from guda.core.paths import ADAPTER, CONFIG, MODEL_FILES
from guda.models.checkpoints.settings import SCHEDULER
from guda.models.denoisers import load_denoiser
from guda.models.imported import INDEX, NETWORK
from guda.models.noise_schedule import NoiseSchedule, scheduler_settings


def export_pipeline(model: Path, output: Path) -> None:
    """Write the folder of a pipeline from that of a model: the network unchanged, and the scheduler of its process.

    Both are side by side, as in google/ddpm-*, so that `UNet2DModel.from_pretrained` opens the folder, too. A learned
    variance is handled by the scheduler. Raises ArtifactError for a model that is damaged or that `DDPMPipeline` cannot
    sample from (see docs/method.md for the learned variance of unlearned models), and for a folder that is not empty.
    """
    from diffusers import DDPMScheduler

    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise ArtifactError(f"{output}: exists already; name a new folder")
    network = _network_of(model)
    _, metadata = load_denoiser(model, NoiseSchedule.from_config(config.NoiseSchedule()))
    made = parse_json(metadata["spec"])
    learned = network["out_channels"] > network["in_channels"]
    if learned and "base" in made:
        raise ArtifactError(
            f"{model}: unlearning a group changed only its predicted noise, so its learned variance is stale and no "
            "sampler should use it"
        )
    process = config.NoiseSchedule.model_validate(made["noise_schedule"])
    # Images are in -1 .. 1; the sampler starts at the last diffusion step, however few steps it takes.
    sampler = DDPMScheduler(
        **scheduler_settings(process),
        variance_type="learned_range" if learned else "fixed_small",
        timestep_spacing="trailing",
        clip_sample=True,
    )
    for name in MODEL_FILES:
        with replacing(output / name) as temporary:
            shutil.copyfile(model / name, temporary)
    write_text(output / SCHEDULER, sampler.to_json_string())
    parts = {"unet": ["diffusers", NETWORK], "scheduler": ["diffusers", "DDPMScheduler"]}
    write_json(output / INDEX, {"_class_name": "DDPMPipeline"} | parts)


def _network_of(model: Path) -> dict[str, Any]:
    """The settings in a model's config.json. Raises ArtifactError unless it is an unconditional model of images."""
    only = "DDPMPipeline samples from an unconditional UNet2DModel"
    if (model / ADAPTER).exists() and not (model / CONFIG).exists():
        raise ArtifactError(f"{model}: adapters of a text-to-image model, but {only}; load them into its pipeline")
    found = read_json(model / CONFIG)
    kind = found.get("_class_name") if isinstance(found, dict) else None
    if kind == "UNet2DConditionModel":
        raise ArtifactError(
            f"{model}: the network of a text-to-image model, but {only}; open its pipeline with it as `unet`"
        )
    if kind != NETWORK:
        raise ArtifactError(f"{model / CONFIG}: of class {kind!r}, but {only}; name the folder of such a model")
    if found.get("num_class_embeds") is not None:
        raise ArtifactError(f"{model}: conditioned on the group, but {only}; call its network with class_labels")
    return found
