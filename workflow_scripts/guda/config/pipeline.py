"""Section `text_to_image.small_pipeline`: how a small pipeline is made and pretrained."""

from __future__ import annotations

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from guda.config.section import Fraction, Section, Seed
from guda.config.training import Optimisation, Training


class AutoencoderTraining(Optimisation):
    """Training of the autoencoder, on all images."""

    steps: PositiveInt = Field(2000, description="Optimiser steps.")
    batch_size: PositiveInt = Field(16, description="Images per step.")
    learning_rate: PositiveFloat = Field(2.5e-3, description="Peak learning rate of AdamW.")
    kl_weight: float = Field(
        1.0e-3,
        ge=0,
        description="Weight of the latents' divergence from the standard normal, beside the squared error.",
    )


class TextTraining(Optimisation):
    """Training of the text encoder, to tell the words of a prompt, on all prompts."""

    steps: PositiveInt = Field(400, description="Optimiser steps.")
    learning_rate: PositiveFloat = Field(2.0e-3, description="Peak learning rate of AdamW.")


class Pretraining(Training):
    """Training of the UNet, on the pretraining styles."""

    steps: PositiveInt = Field(800, description="Optimiser steps.")
    learning_rate: PositiveFloat = Field(3.0e-3, description="Peak learning rate of AdamW.")
    ema_decay: Fraction = Field(0.995, description="Decay of the averaged weights, which are kept; 0: none.")
    prompt_dropout: Fraction = Field(
        0.1, description="Share of the prompts that are replaced by the empty one, which guidance needs."
    )


class SmallPipeline(Section):
    """A pipeline of Stable Diffusion's kind for colour images of a few dozen pixels, made on a CPU in minutes."""

    seed: Seed = Field(0, description="Initial weights, order of the images, noise.")
    styles: list[str] = Field(
        [], description="Styles that it is pretrained on, by their names in the training table; empty: all images."
    )
    vae_channels: list[PositiveInt] = Field(
        [16, 32, 32],
        min_length=1,
        description="Channels of the autoencoder's resolutions, finest first; each after the first halves the image.",
    )
    latent_channels: PositiveInt = Field(4, description="Channels of the latents.")
    prompt_length: PositiveInt = Field(24, ge=3, description="Tokens of a prompt, its start and end among them.")
    embedding_dim: PositiveInt = Field(64, description="Channels of the text encoder.")
    text_layers: PositiveInt = Field(2, description="Layers of the text encoder.")
    unet_channels: list[PositiveInt] = Field(
        [32, 64], min_length=1, description="Channels of the UNet's resolutions, finest first."
    )
    layers_per_block: PositiveInt = Field(1, description="Layers per resolution of autoencoder and UNet.")
    attention_heads: PositiveInt = Field(4, description="Heads of every attention layer.")
    norm_num_groups: PositiveInt = Field(8, description="Groups of the group normalisation.")
    autoencoder: AutoencoderTraining = AutoencoderTraining()
    text_encoder: TextTraining = TextTraining()
    pretraining: Pretraining = Pretraining()

    @model_validator(mode="after")
    def _channels_divide(self) -> SmallPipeline:
        for key in ("vae_channels", "unet_channels"):
            for channels in getattr(self, key):
                if channels % self.norm_num_groups:
                    raise ValueError(
                        f"{key}: {channels} is no multiple of norm_num_groups {self.norm_num_groups}; "
                        "change one of them"
                    )
        for channels in [self.embedding_dim, *self.unet_channels]:
            if channels % self.attention_heads:
                raise ValueError(
                    f"{channels} channels (embedding_dim, unet_channels) are no multiple of attention_heads "
                    f"{self.attention_heads}; change one of them"
                )
        return self
