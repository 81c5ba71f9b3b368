"""A small Stable Diffusion pipeline, trained from scratch on images and prompts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from guda import config
from guda.config.pipeline import SmallPipeline
from guda.core.records import FORWARD_AND_BACKWARD
from guda.core.seeding import derive_seed
from guda.data.captions import Captions
from guda.data.pixels import to_network_range
from guda.models.denoisers import TextDenoiser
from guda.models.noise_schedule import NoiseSchedule, scheduler_settings
from guda.models.stable_diffusion.pipeline import Pipeline, encode_captions, encode_latents
from guda.models.stable_diffusion.tokenizer import new_tokenizer
from guda.training.loop import batch_rows, fine_tune, optimize
from guda.training.state import Execution

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

ENCODING_BATCH = 64


def make_small_pipeline(
    images: Tensor,
    ids: list[str],
    prompts: list[list[str]],
    rows: Tensor,
    settings: SmallPipeline,
    process: config.NoiseSchedule,
    executions: tuple[Execution, Execution] = (Execution(), Execution()),
) -> tuple[Pipeline, UNet2DConditionModel, int]:
    """Train an autoencoder on all images, a text encoder on all prompts, then a UNet on the images `rows` only.

    `images` uint8 [N, 3, H, W], `prompts` at least one per image, `rows` int64 [n]. As in Stable Diffusion, the UNet is
    trained last, on fixed latents and embeddings. `executions` are those of the autoencoder and of the UNet, on one
    device. Returns the pipeline, its UNet, and the evaluations spent.
    """
    device, texts = executions[0].device, sorted({text for texts in prompts for text in texts})
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed("small pipeline", settings.seed))
        vae = new_autoencoder(settings, images.shape[-1]).to(device)
        tokenizer = new_tokenizer(texts, settings.prompt_length)
        text_encoder = new_text_encoder(settings, tokenizer).to(device)
        denoiser = TextDenoiser(new_unet(settings, images.shape[-1]), NoiseSchedule.from_config(process))
    train_autoencoder(vae, images, settings, executions[0])
    latents = encode_latents(vae, images, ids, "mean", 0, ENCODING_BATCH)
    vae.register_to_config(scaling_factor=round(1 / latents.std().item(), 4))
    train_text_encoder(text_encoder, tokenizer, texts, settings)
    pipeline = Pipeline(vae, text_encoder, tokenizer, scheduler_settings(process))
    encoded = encode_captions(pipeline, prompts, ENCODING_BATCH)
    captions = Captions(**encoded, ids=ids, seed=settings.pretraining.seed, dropout=settings.pretraining.prompt_dropout)
    fine_tune(denoiser, latents * vae.config.scaling_factor, captions, settings.pretraining, executions[1], rows)
    trainings = settings.autoencoder, settings.text_encoder, settings.pretraining
    samples = sum(training.steps * training.batch_size for training in trainings)
    return pipeline, denoiser.unet, samples * FORWARD_AND_BACKWARD


def train_autoencoder(vae: AutoencoderKL, images: Tensor, settings: SmallPipeline, execution: Execution) -> None:
    """Minimize squared error + kl_weight * KL(posterior, standard normal), both averaged over values, in place."""

    def draw(step: int) -> list[Tensor]:
        chosen = batch_rows(step, len(images), settings.autoencoder.batch_size, "autoencoder", settings.seed)
        x = to_network_range(images[chosen])
        shrink = 2 ** (len(settings.vae_channels) - 1)
        return [x, torch.randn(len(x), settings.latent_channels, x.shape[2] // shrink, x.shape[3] // shrink)]

    def loss(x: Tensor, noise: Tensor) -> Tensor:
        posterior = vae.encode(x).latent_dist
        decoded = vae.decode(posterior.mean + posterior.std * noise).sample
        divergence = (posterior.mean**2 + posterior.var - 1 - posterior.logvar).mean() / 2
        return torch.nn.functional.mse_loss(decoded, x) + settings.autoencoder.kl_weight * divergence

    shown = replace(execution, progress="training the autoencoder")
    optimize(vae, draw, loss, settings.autoencoder, settings.seed, shown)


def train_text_encoder(
    text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, texts: list[str], settings: SmallPipeline
) -> None:
    """Train a text encoder in place so that its pooled output predicts a prompt's words by logistic regression.

    If it were trained with the UNet's loss, phrases that only occur together in the pretraining images would get the
    same embedding, and no later training of the UNet could tell them apart.
    """
    training, tokens = settings.text_encoder, tokenized(tokenizer, texts)
    ends = torch.tensor([tokenizer.bos_token_id, tokenizer.eos_token_id])
    words = tokens[~torch.isin(tokens, ends)].unique()
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed("words", settings.seed))
        regression = torch.nn.Linear(settings.embedding_dim, len(words)).to(text_encoder.device)

    def draw(step: int) -> list[Tensor]:
        given = tokens[batch_rows(step, len(tokens), training.batch_size, "text encoder", settings.seed)]
        return [given, (given[:, :, None] == words).any(1).float()]

    def loss(given: Tensor, present: Tensor) -> Tensor:
        logits = regression(text_encoder(given).pooler_output)
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, present)

    networks = torch.nn.ModuleList([text_encoder, regression])
    optimize(networks, draw, loss, training, settings.seed, Execution(progress="training the text encoder"))


def tokenized(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids of texts, int64 [len(texts), L]."""
    return tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt")["input_ids"]


def new_autoencoder(settings: SmallPipeline, size: int) -> AutoencoderKL:
    """An untrained autoencoder for color images of size x size pixels."""
    from diffusers import AutoencoderKL

    levels = len(settings.vae_channels)
    return AutoencoderKL(
        sample_size=size,
        block_out_channels=settings.vae_channels,
        down_block_types=["DownEncoderBlock2D"] * levels,
        up_block_types=["UpDecoderBlock2D"] * levels,
        layers_per_block=settings.layers_per_block,
        latent_channels=settings.latent_channels,
        norm_num_groups=settings.norm_num_groups,
        mid_block_add_attention=False,
        scaling_factor=1.0,  # set once the latents are known
    )


def new_text_encoder(settings: SmallPipeline, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=settings.embedding_dim,
            intermediate_size=4 * settings.embedding_dim,
            num_hidden_layers=settings.text_layers,
            num_attention_heads=settings.attention_heads,
            max_position_embeddings=settings.prompt_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def new_unet(settings: SmallPipeline, size: int) -> UNet2DConditionModel:
    """An untrained UNet for the latents of images of size x size pixels.

    It attends to the prompt at all resolutions except the finest, where attention costs most.
    """
    from diffusers import UNet2DConditionModel

    deeper = len(settings.unet_channels) - 1
    return UNet2DConditionModel(
        sample_size=size // 2 ** (len(settings.vae_channels) - 1),
        in_channels=settings.latent_channels,
        out_channels=settings.latent_channels,
        block_out_channels=settings.unet_channels,
        down_block_types=["DownBlock2D", *["CrossAttnDownBlock2D"] * deeper],
        up_block_types=[*["CrossAttnUpBlock2D"] * deeper, "UpBlock2D"],
        layers_per_block=settings.layers_per_block,
        cross_attention_dim=settings.embedding_dim,
        attention_head_dim=settings.attention_heads,  # diffusers' name for the number of heads
        norm_num_groups=settings.norm_num_groups,
    )
