"""A small pipeline of Stable Diffusion's kind, made from images and prompts alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from guda import config
from guda.config.pipeline import SmallPipeline
from guda.diffusers_import import network_class
from guda.noise import derive_seed
from guda.noise_schedule import NoiseSchedule
from guda.pipeline import Pipeline, encode_latents
from guda.records import FORWARD_AND_BACKWARD
from guda.small_tokenizer import new_tokenizer
from guda.training import batch_rows, optimise, random_steps, to_network_range
from guda.training_state import TrainingState

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

ENCODING_BATCH = 64


class TextToImage(torch.nn.Module):
    """A UNet and the text encoder that it attends to, which are trained together."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel, schedule: NoiseSchedule):
        super().__init__()
        self.unet, self.text_encoder = unet, text_encoder
        self.register_buffer("gammas", torch.tensor(schedule.gammas, dtype=torch.float32), persistent=False)
        self.register_buffer("sigmas", torch.tensor(schedule.sigmas, dtype=torch.float32), persistent=False)
        self.prediction_type = schedule.prediction_type

    def training_loss(self, x: Tensor, noise: Tensor, t: Tensor, tokens: Tensor) -> Tensor:
        """Mean squared error of the network's own prediction (noise, velocity or image), a scalar.

        x and noise [B, c, h, w], t int64 [B], tokens int64 [B, L].
        """
        gamma, sigma = self.gammas[t][:, None, None, None], self.sigmas[t][:, None, None, None]
        target = {"epsilon": noise, "v_prediction": gamma * noise - sigma * x, "sample": x}[self.prediction_type]
        embeddings = self.text_encoder(tokens).last_hidden_state
        return torch.nn.functional.mse_loss(self.unet(gamma * x + sigma * noise, t, embeddings).sample, target)


def make_small_pipeline(
    images: Tensor,
    prompts: list[list[str]],
    rows: Tensor,
    settings: SmallPipeline,
    process: config.NoiseSchedule,
    states: tuple[TrainingState | None, TrainingState | None] = (None, None),
    device: torch.device | str = "cpu",
) -> tuple[Pipeline, UNet2DConditionModel, int]:
    """Train an autoencoder on all images, then a UNet and a text encoder together on those `rows`, int64 [n].

    `images` uint8 [N, 3, H, W], `prompts` one or more of each. The tokenizer knows the words of all of them. `states`
    are of the two trainings. Returns the pipeline, its UNet, and the number of evaluations spent.
    """
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed("small pipeline", settings.seed))
        vae = new_autoencoder(settings, images.shape[-1]).to(device)
        tokenizer = new_tokenizer([text for texts in prompts for text in texts], settings.prompt_length)
        text_encoder = new_text_encoder(settings, tokenizer)
        unet = new_unet(settings, images.shape[-1])
        networks = TextToImage(unet, text_encoder, NoiseSchedule.from_config(process)).to(device)
    train_autoencoder(vae, images, settings, states[0])
    latents = encode_latents(vae, images, [""] * len(images), "mean", 0, ENCODING_BATCH)
    vae.register_to_config(scaling_factor=round(1 / latents.std().item(), 4))
    latents = latents[rows] * vae.config.scaling_factor
    pretrain(networks, latents, [prompts[row] for row in rows.tolist()], tokenizer, settings, process, states[1])
    samples = sum(each.steps * each.batch_size for each in (settings.autoencoder, settings.pretraining))
    return Pipeline(vae, text_encoder, tokenizer, process.model_dump()), unet, samples * FORWARD_AND_BACKWARD


def train_autoencoder(vae: AutoencoderKL, images: Tensor, settings: SmallPipeline, state: TrainingState | None) -> None:
    """Minimise squared error + kl_weight * KL(posterior, standard normal), both means over values, in place."""

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

    optimise(vae, draw, loss, settings.autoencoder, settings.seed, "training the autoencoder", state=state)


def pretrain(
    networks: TextToImage,
    latents: Tensor,
    prompts: list[list[str]],
    tokenizer: CLIPTokenizer,
    settings: SmallPipeline,
    process: config.NoiseSchedule,
    state: TrainingState | None,
) -> None:
    """Train UNet and text encoder on latents [n, c, h, w] with their prompts, one of an image's at random, in place."""
    schedule, training = NoiseSchedule.from_config(process), settings.pretraining
    counts = torch.tensor([len(texts) for texts in prompts])
    starts = counts.cumsum(0) - counts
    tokens = tokenized(tokenizer, [text for texts in prompts for text in texts])
    empty = tokenized(tokenizer, [""])

    def draw(step: int) -> list[Tensor]:
        chosen = batch_rows(step, len(latents), training.batch_size, "pretraining", settings.seed)
        x = latents[chosen]
        given = tokens[starts[chosen] + (torch.rand(len(chosen)) * counts[chosen]).long()]
        dropped = torch.rand(len(chosen)) < training.prompt_dropout
        given = torch.where(dropped[:, None], empty, given)
        return [x, torch.randn_like(x), random_steps(len(x), schedule), given]

    optimise(networks, draw, networks.training_loss, training, settings.seed, "pretraining", training.ema_decay, state)


def tokenized(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids of texts, int64 [len(texts), L]."""
    return tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt")["input_ids"]


def new_autoencoder(settings: SmallPipeline, size: int) -> AutoencoderKL:
    """An autoencoder with fresh weights for colour images of size x size pixels."""
    levels = len(settings.vae_channels)
    return network_class("AutoencoderKL")(
        sample_size=size,
        block_out_channels=settings.vae_channels,
        down_block_types=["DownEncoderBlock2D"] * levels,
        up_block_types=["UpDecoderBlock2D"] * levels,
        layers_per_block=settings.layers_per_block,
        latent_channels=settings.latent_channels,
        norm_num_groups=settings.norm_num_groups,
        mid_block_add_attention=False,
        scaling_factor=1.0,  # until the latents are known
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
    """A UNet with fresh weights for the latents of images of size x size pixels.

    It attends to the prompt at all resolutions but the finest, where that costs most.
    """
    deeper = len(settings.unet_channels) - 1
    return network_class("UNet2DConditionModel")(
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
