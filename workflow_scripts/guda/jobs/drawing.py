"""Sampling of images from models of either family, for queries and for their regeneration without top groups."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from guda import config
from guda.core.paths import BASE, Paths
from guda.data.prompts import read_prompts
from guda.models.denoisers import GuidedDenoiser, load_denoiser
from guda.models.noise_schedule import NoiseSchedule
from guda.models.sampling import generate, generate_latents
from guda.models.stable_diffusion.pipeline import decode_latents, encode_prompts, opened_pipeline
from guda.specs import PromptedQueriesSpec, QueriesSpec

if TYPE_CHECKING:
    from jaxtyping import UInt8

    from guda.models.denoisers import UNetDenoiser

DECODED = 64  # latents at a time


def opened(spec: QueriesSpec | PromptedQueriesSpec, pipeline: str, device: torch.device) -> Any:
    """The pipeline that encodes prompts and decodes latents, on the device; None if queries have no prompts."""
    return opened_pipeline(pipeline, spec.pipeline).to(device) if isinstance(spec, PromptedQueriesSpec) else None


def opened_model(
    paths: Paths, name: str, digest: str, process: config.NoiseSchedule, adapters: bool = False
) -> UNetDenoiser:
    """A model under models/; with `adapters`, adapters on the base model. Raises ArtifactError."""
    folder, base = (Path(paths.model_weights(each)).parent for each in (name, BASE))
    return load_denoiser(folder, NoiseSchedule.from_config(process), digest, base if adapters else None)[0]


def draw(
    denoiser: UNetDenoiser,
    spec: QueriesSpec | PromptedQueriesSpec,
    ids: list[str],
    pipeline: Any,
    prompts_file: str | None,
) -> UInt8[Tensor, "n c h w"]:
    """Images uint8 [len(ids), C, H, W] of the queries with these ids, each sampled from its own noise and prompt.

    Raises ArtifactError for prompts of another spec, and FloatingPointError for non-finite samples.
    """
    process, steps = spec.noise_schedule, spec.sampling_steps
    if isinstance(spec, QueriesSpec):
        return generate(denoiser, process, ids, spec.seed, steps, spec.sampler)
    prompts = read_prompts(str(prompts_file), spec.prompts)
    embeddings, _ = encode_prompts(pipeline, ["", *(prompts[query][0] for query in ids)], DECODED)
    guided = GuidedDenoiser(denoiser, embeddings[1:], embeddings[0], spec.guidance_scale)
    latents = generate_latents(guided, process, ids, spec.seed, steps, spec.sampler)
    return decode_latents(pipeline.vae, latents, DECODED)
