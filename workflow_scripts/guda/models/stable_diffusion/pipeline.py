"""The frozen parts of a text-to-image pipeline: the text encoder and the autoencoder."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from guda import config
from guda.core.artifacts import load_tensors, made_for, save_tensors, write_json, write_text
from guda.core.device import Batches
from guda.core.errors import ArtifactError
from guda.core.paths import CONFIG, WEIGHTS
from guda.core.progress import track
from guda.core.seeding import derive_seed, gaussian
from guda.data.pixels import to_network_range
from guda.models.checkpoints.files import Checkpoint, read_object
from guda.models.checkpoints.weights import APART, built, fitting_weights, take_weights, transformers_model
from guda.models.denoisers import TextDenoiser, load_pretrained_unet
from guda.models.imported import INDEX, check_process, model_files
from guda.models.noise_schedule import NoiseSchedule
from guda.models.stable_diffusion.folder import (
    CLASSES,
    LIBRARIES,
    NETWORKS,
    PIPELINE,
    PIPELINE_KEY,
    SCHEDULER,
    check_pipeline,
    check_same_network,
    fetched_pipeline,
    pipeline_digest,
    pipeline_parts,
    unet_settings,
)
from guda.models.stable_diffusion.tokenizer import tokenizer_files
from guda.specs import ImportedUNetSpec, Spec, digest

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

# How diffusers samples from pipelines written here: DDIM in latent space.
SAMPLER = {"_class_name": "DDIMScheduler", "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}


@dataclass(frozen=True)
class Pipeline:
    """The autoencoder, the text encoder with its tokenizer, and the scheduler's settings as in its file."""

    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: dict[str, Any]

    def to(self, device: torch.device | str) -> Pipeline:
        """Move the networks to a device, in place, and return the pipeline."""
        self.vae.to(device)
        self.text_encoder.to(device)
        return self

    @property
    def prompt_length(self) -> int:
        """L, the number of tokens that prompts are truncated or padded to."""
        return min(self.tokenizer.model_max_length, self.text_encoder.config.max_position_embeddings)


def load_pipeline(folder: Path, key: str) -> Pipeline:
    """Read a pipeline of Stable Diffusion 1 or 2 without its UNet; networks in float32, in evaluation mode.

    `key` names the setting in errors. Raises ArtifactError if a part is missing, of another class, does not fit the
    others, or is incomplete; weights are read only from safetensors.
    """
    from diffusers import AutoencoderKL

    check_pipeline(folder, key)
    networks = pipeline_parts(folder, key).networks
    settings = read_object(networks["vae"].config, key)
    vae = built(lambda: AutoencoderKL.from_config(settings), CLASSES["vae"], folder / "vae", key)
    take_weights(vae, networks["vae"], key)
    text_encoder, tokenizer = _text_parts(folder, networks["text_encoder"], key)
    pipeline = Pipeline(vae.eval(), text_encoder, tokenizer, read_object(folder / SCHEDULER, key))
    words = {"padding": "max_length", "truncation": True}
    built(lambda: tokenizer("", max_length=pipeline.prompt_length, **words), "tokenizer", folder / "tokenizer", key)
    return pipeline


def _text_parts(folder: Path, checkpoint: Checkpoint, key: str) -> tuple[CLIPTextModel, CLIPTokenizer]:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    part, kind = folder / "text_encoder", CLASSES["text_encoder"]
    settings = built(lambda: CLIPTextConfig.from_pretrained(part, **APART), kind, part, key)
    text_encoder, lacking = transformers_model(CLIPTextModel, settings, checkpoint, key)
    for tensor in lacking:
        raise ArtifactError(f"{key}: the weights in {part} lack tensor {tensor!r}")
    part = folder / "tokenizer"
    tokenizer = built(lambda: CLIPTokenizer.from_pretrained(part, **APART), CLASSES["tokenizer"], part, key)
    return text_encoder, tokenizer


def opened_pipeline(source: str, expected: str) -> Pipeline:
    """The pipeline in the folder that the workflow makes, or in the user's folder or hub id; see `checked`.

    Its UNet is not kept, but its weights are checked now: training comes after hours of encoding.
    """
    from diffusers import UNet2DConditionModel

    folder = checked(source, expected)
    pipeline, found = load_pipeline(folder, PIPELINE_KEY), model_files(folder / "unet", PIPELINE_KEY)
    settings = unet_settings(found.config, PIPELINE_KEY)
    with torch.device("meta"):
        unet = built(lambda: UNet2DConditionModel.from_config(settings), CLASSES["unet"], folder / "unet", PIPELINE_KEY)
    for _ in fitting_weights(unet, found, PIPELINE_KEY):
        pass
    return pipeline


def pretrained_denoiser(
    source: str, expected: str, process: config.NoiseSchedule, latent_size: tuple[int, int]
) -> TextDenoiser:
    """The pretrained network of the pipeline, for latents of this height and width; see `checked`.

    Raises ArtifactError if it was trained for another process.
    """
    folder = checked(source, expected)
    check_process(folder, process, PIPELINE_KEY)
    return load_pretrained_unet(folder / "unet", NoiseSchedule.from_config(process), PIPELINE_KEY, latent_size)


def imported_denoiser(
    folder: Path, key: str, spec: ImportedUNetSpec, source: str, latent_size: tuple[int, int]
) -> TextDenoiser:
    """A fine-tuned network in a folder, with the architecture of the pipeline in `source`, for latents of this size.

    `key` names the setting in errors. Raises ArtifactError if its architecture or process is another.
    """
    check_process(folder, spec.noise_schedule, key)
    denoiser = load_pretrained_unet(folder, NoiseSchedule.from_config(spec.noise_schedule), key, latent_size)
    pipeline = pretrained_denoiser(source, spec.pipeline, spec.noise_schedule, latent_size)
    check_same_network(dict(denoiser.unet.config), dict(pipeline.unet.config), key)
    return denoiser


def checked(source: str, expected: str) -> Path:
    """The local folder of a pipeline. Raises ArtifactError unless its spec or its content has the digest `expected`.

    One that the workflow made is read completely and compared with its checksums.
    """
    files = [Path(source, part, weights) for part, weights in NETWORKS.items()]
    specs = [made_for(file) for file in files]
    if any(spec is not None and digest(spec) == expected for spec in specs):
        for file in files:
            load_tensors(file, expected)
    elif pipeline_digest(source, PIPELINE_KEY) != expected:
        raise ArtifactError(f"{PIPELINE_KEY}: {source} changed since the workflow was planned; run snakemake again")
    return fetched_pipeline(source, PIPELINE_KEY)


@torch.no_grad()
def encode_prompts(pipeline: Pipeline, texts: list[str], batch_size: int) -> tuple[Tensor, Tensor]:
    """Encode prompts: the text encoder's last hidden states [P, L, D] and pooled outputs [P, D], float32.

    The UNet attends to the hidden states; the pooled output is the one at the end of the text. Every prompt is padded
    to the L tokens of `prompt_length`, so none depends on the others. Longer prompts are truncated, as in Stable
    Diffusion, with a message. Raises FloatingPointError if a value is not finite.
    """
    length, device = pipeline.prompt_length, pipeline.text_encoder.device
    for text, tokens in zip(texts, pipeline.tokenizer(texts, verbose=False)["input_ids"], strict=True):
        if len(tokens) > length:
            print(f"prompt of {len(tokens)} tokens truncated to {length}: {text!r}", flush=True)

    def encode(rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        batch = [texts[row] for row in rows]
        tokens = pipeline.tokenizer(
            batch, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
        output = pipeline.text_encoder(tokens["input_ids"].to(device))
        return output.last_hidden_state.float().cpu(), output.pooler_output.float().cpu()

    embeddings, pooled = zip(*_in_batches(encode, len(texts), batch_size, "prompts"), strict=True)
    found = torch.cat(embeddings), torch.cat(pooled)
    for values in found:
        _check_finite(values, "text encoder", texts)
    return found


def encode_captions(pipeline: Pipeline, prompts: list[list[str]], batch_size: int) -> dict[str, Tensor]:
    """The tensors of `Captions` for images with one or more prompts each. Equal prompts are encoded once."""
    texts = list(dict.fromkeys(["", *itertools.chain.from_iterable(prompts)]))
    numbers = {text: number for number, text in enumerate(texts)}
    embeddings, pooled = encode_prompts(pipeline, texts, batch_size)
    return {
        "embeddings": embeddings,
        "pooled": pooled,
        "prompts": torch.tensor([numbers[text] for each in prompts for text in each]),
        "starts": torch.tensor(list(itertools.accumulate(map(len, prompts), initial=0))),
        "empty": embeddings[0].clone(),
    }


@torch.no_grad()
def encode_latents(
    vae: AutoencoderKL, images: Tensor, ids: list[str], mode: Literal["mean", "sample"], seed: int, batch_size: int
) -> Tensor:
    """Latents of uint8 images [n, 3, H, W], float32 [n, c, h, w], times the autoencoder's scaling factor.

    mean: the mean of the autoencoder's posterior; sample: drawn from it, with noise that depends on (seed, id) alone.
    Raises FloatingPointError if a value is not finite.
    """

    def encode(rows: Sequence[int]) -> Tensor:
        posterior = vae.encode(to_network_range(images[list(rows)]).to(vae.device)).latent_dist
        latents = posterior.mean
        if mode == "sample":
            shape = tuple(latents.shape[1:])
            noise = np.stack([gaussian(derive_seed("latents", seed), ids[row], 0, shape) for row in rows])
            latents = latents + posterior.std * torch.from_numpy(noise).to(vae.device)
        return (latents * vae.config.scaling_factor).float().cpu()

    latents = torch.cat(_in_batches(encode, len(images), batch_size, "images encoded"))
    _check_finite(latents, "autoencoder", ids)
    return latents


@torch.no_grad()
def decode_latents(vae: AutoencoderKL, latents: Tensor, batch_size: int) -> Tensor:
    """uint8 images [n, 3, H, W] of scaled latents [n, c, h, w]. Raises FloatingPointError if one is not finite."""

    def decode(rows: Sequence[int]) -> Tensor:
        x = vae.decode(latents[list(rows)].to(vae.device) / vae.config.scaling_factor).sample
        _check_finite(x, "autoencoder", [f"image {row}" for row in rows])
        return ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()

    return torch.cat(_in_batches(decode, len(latents), batch_size, "images decoded"))


def _check_finite(values: Tensor, part: str, names: Sequence[str]) -> None:
    """Raise FloatingPointError for the first of the names whose row of `values` [n, ...] is not finite."""
    for row in torch.nonzero(~torch.isfinite(values).flatten(1).all(1)).flatten().tolist():
        raise FloatingPointError(
            f"the {part} gives values that are not finite for {names[row]!r}: its training has diverged. "
            "Lower its learning rate, or use another pipeline"
        )


def _in_batches(work: Callable[[Sequence[int]], Any], n: int, batch_size: int, description: str) -> list[Any]:
    batches, starts, parts = Batches(batch_size), range(0, n, batch_size), []
    for start in track(starts, f"batches of {description}", len(starts)):
        parts += batches.run(work, range(start, min(start + batch_size, n)))
    return parts


def save_pipeline(folder: Path, pipeline: Pipeline, unet: UNet2DConditionModel, spec: Spec, **metadata: str) -> None:
    """Write a folder that diffusers' StableDiffusionPipeline opens; the weights carry spec and provenance.

    Equal content gives equal bytes. `pipeline.scheduler` gives the process, to which the settings of a DDIM sampler in
    latent space, without clipping, are added.
    """
    networks = {"unet": unet, "vae": pipeline.vae}
    for part, network in networks.items():
        write_text(folder / part / CONFIG, network.to_json_string())
        save_tensors(folder / part / WEIGHTS, network.state_dict(), spec, **metadata)
    text_config = pipeline.text_encoder.config
    text_config.architectures = [CLASSES["text_encoder"]]
    write_text(folder / "text_encoder" / CONFIG, text_config.to_json_string())
    save_tensors(
        folder / "text_encoder" / NETWORKS["text_encoder"], pipeline.text_encoder.state_dict(), spec, **metadata
    )
    for name, text in tokenizer_files(pipeline.tokenizer).items():
        write_text(folder / "tokenizer" / name, text)
    write_json(folder / SCHEDULER, pipeline.scheduler | SAMPLER)
    # Written last: a folder without it is not a pipeline.
    parts: dict[str, Any] = {part: [library, CLASSES[part]] for part, library in LIBRARIES.items()}
    parts |= {"scheduler": ["diffusers", SAMPLER["_class_name"]], "requires_safety_checker": False}
    absent = {part: [None, None] for part in ("feature_extractor", "image_encoder", "safety_checker")}
    write_json(folder / INDEX, {"_class_name": PIPELINE} | parts | absent)
