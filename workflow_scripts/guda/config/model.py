"""Sections `model`, `unet` and `noise_schedule`: the denoising network and its diffusion process."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from guda.config.section import Fraction, Location, Section
from guda.core.errors import ConfigError

# Of diffusers' blocks, those that work in a network of the arguments that `UNet` has.
DownBlock = Literal["DownBlock2D", "ResnetDownsampleBlock2D", "AttnDownBlock2D"]
UpBlock = Literal["UpBlock2D", "ResnetUpsampleBlock2D", "AttnUpBlock2D"]
Beta = Annotated[float, Field(gt=0, lt=1)]


class Model(Section):
    pretrained: Location | None = Field(
        None,
        description="A pretrained base model: a diffusers folder, or a Hub id OWNER/NAME@COMMIT. `unet` and "
        "`noise_schedule` below must describe its architecture and schedule, since the oracle's models "
        "are trained with them; if they do not, the error lists the sections to write. null: the base "
        "model is trained.",
    )


class UNet(Section):
    """Arguments of diffusers' `UNet2DModel` under their own names; size and channels come from the images."""

    block_out_channels: list[PositiveInt] = Field(
        [16, 32],
        min_length=1,
        description="Channels at each resolution, finest first. Twice the channels cost about four times the compute.",
    )
    layers_per_block: PositiveInt = Field(1, description="Residual layers per resolution.")
    down_block_types: list[DownBlock] = Field(
        ["DownBlock2D", "DownBlock2D"],
        description="One per resolution. AttnDownBlock2D and AttnUpBlock2D add self-attention, worthwhile from 16x16 "
        "images upwards; ResnetDownsampleBlock2D and ResnetUpsampleBlock2D change resolution inside a "
        "residual layer.",
    )
    mid_block_type: Literal["UNetMidBlock2D"] | None = Field(
        "UNetMidBlock2D", description="Block at the coarsest resolution, between the down and up blocks; null: none."
    )
    up_block_types: list[UpBlock] = Field(["UpBlock2D", "UpBlock2D"], description="One per resolution, coarsest first.")
    add_attention: bool = Field(False, description="Self-attention in the middle block.")
    attention_head_dim: PositiveInt | None = Field(8, description="Channels per attention head; null: a single head.")
    norm_num_groups: PositiveInt = Field(
        8, description="Groups of the group normalization; must divide every channel count."
    )
    attn_norm_num_groups: PositiveInt | None = Field(
        None,
        description="Groups of the normalization before the middle block's attention; must divide the last channel "
        "count. null: norm_num_groups, or no normalization if resnet_time_scale_shift is scale_shift.",
    )
    norm_eps: PositiveFloat = Field(
        1.0e-5, description="Epsilon of every normalization. Models trained with older code have 1.0e-6."
    )
    act_fn: Literal["silu", "swish", "mish", "gelu", "relu"] = Field(
        "silu", description="Activation function: silu (alias swish), mish, gelu or relu."
    )
    dropout: Fraction = Field(
        0.0,
        description="Dropout in the residual layers. Raise it (0.1 to 0.3) if the network memorizes its training "
        "images.",
    )
    resnet_time_scale_shift: Literal["default", "scale_shift"] = Field(
        "default",
        description="How residual layers use the timestep embedding: default (added) or scale_shift, from which "
        "larger networks benefit.",
    )
    time_embedding_dim: PositiveInt | None = Field(
        None,
        description="Dimension of the timestep embedding; null: four times the first of block_out_channels.",
    )
    freq_shift: NonNegativeInt = Field(
        0,
        description="This key and those up to upsample_type match models trained elsewhere and change little. The "
        "timestep embedding has K frequencies, half the first of block_out_channels; frequency k is "
        "10000^(-k / (K - freq_shift)). Ho et al. (2020) use freq_shift 1 and flip_sin_to_cos false.",
    )
    flip_sin_to_cos: bool = Field(True, description="Cosines before sines in the timestep embedding.")
    center_input_sample: bool = Field(
        False, description="Feeds 2 x - 1 to the network instead of x. Images are already in [-1, 1], so leave it off."
    )
    downsample_padding: Literal[0, 1] = Field(
        1, description="Zero padding of the strided convolutions: 1, or 0 (right and bottom only)."
    )
    downsample_type: Literal["conv", "resnet"] = Field(
        "conv", description="How AttnDownBlock2D halves the resolution: conv or resnet."
    )
    upsample_type: Literal["conv", "resnet"] = Field(
        "conv", description="How AttnUpBlock2D doubles the resolution: conv or resnet."
    )
    mid_block_scale_factor: PositiveFloat = Field(
        1.0, description="The outputs of the middle block's layers are divided by it."
    )
    learned_variance: bool = Field(
        False,
        description="Also predict the variance of the reverse process, in as many additional output channels (Nichol "
        "& Dhariwal 2021). Scores and samples use the noise prediction alone.",
    )

    def narrowed(self, share: float) -> UNet:
        """The network with this share of the channels, rounded to what normalization and attention heads allow.

        No layer becomes wider.
        """
        unit = math.lcm(self.norm_num_groups, self.attn_norm_num_groups or 1, self.attention_head_dim or 1)
        channels = [min(each, max(unit, unit * round(share * each / unit))) for each in self.block_out_channels]
        return self.model_copy(update={"block_out_channels": channels})

    @model_validator(mode="after")
    def _consistent(self) -> UNet:
        n = len(self.block_out_channels)
        for key in ("down_block_types", "up_block_types"):
            if len(getattr(self, key)) != n:
                raise ValueError(
                    f"{key} has {len(getattr(self, key))} entries, block_out_channels has {n}; give one each"
                )
        for channels in self.block_out_channels:
            if channels % self.norm_num_groups:
                raise ValueError(
                    f"block_out_channels: {channels} is no multiple of norm_num_groups {self.norm_num_groups}; "
                    "change one of them"
                )
        frequencies = self.block_out_channels[0] // 2
        if self.freq_shift and self.freq_shift >= frequencies:
            raise ValueError(
                f"freq_shift is {self.freq_shift}, but {self.block_out_channels[0]} channels at the finest resolution "
                f"give {frequencies} frequencies; use less"
            )
        self._check_attention()
        return self

    def _check_attention(self) -> None:
        coarsest = self.block_out_channels[-1]
        finest_first = [*zip(self.block_out_channels, self.down_block_types, strict=True)]
        coarsest_first = [*zip(reversed(self.block_out_channels), self.up_block_types, strict=True)]
        attended = [channels for channels, block in finest_first + coarsest_first if block.startswith("Attn")]
        if self.add_attention and self.mid_block_type:
            attended.append(coarsest)
            if self.attn_norm_num_groups and coarsest % self.attn_norm_num_groups:
                raise ValueError(
                    f"attn_norm_num_groups is {self.attn_norm_num_groups}, which does not divide the {coarsest} "
                    "channels of the coarsest resolution; change one of them"
                )
        if attended and min(attended) < (self.attention_head_dim or 0):
            raise ValueError(
                f"attention_head_dim is {self.attention_head_dim}, but self-attention stands at a resolution of "
                f"{min(attended)} channels; use {min(attended)} or less"
            )

    def check_size(self, height: int, width: int) -> None:
        """Raise ConfigError unless each resolution but the coarsest can halve such images, and double them again."""
        n_resolutions = len(self.block_out_channels)
        divisor = 2 ** (n_resolutions - 1)
        if height % divisor or width % divisor:
            raise ConfigError(
                f"unet.block_out_channels: {n_resolutions} resolutions need width and height that are multiples of "
                f"{divisor}, but the training images have {width}x{height} pixels; give fewer, or set data.size"
            )


class NoiseSchedule(Section):
    num_train_timesteps: PositiveInt = Field(
        1000, description="Number of diffusion steps T. 1000 is usual; more make finer steps, not better models."
    )
    beta_schedule: Literal["squaredcos_cap_v2", "linear", "scaled_linear", "sigmoid"] = Field(
        "squaredcos_cap_v2",
        description="squaredcos_cap_v2 (cosine), linear, scaled_linear (Stable Diffusion's), or sigmoid.",
    )
    beta_start: Beta = Field(
        1.0e-4,
        description="Noise variance of the first step, for all but the cosine schedule. For another T, multiply both "
        "by 1000 / T.",
    )
    beta_end: Beta = Field(0.02, description="Noise variance of the last step, for all but the cosine schedule.")
    prediction_type: Literal["epsilon", "v_prediction", "sample"] = Field(
        "epsilon",
        description="What the network predicts: epsilon (the noise), v_prediction (the velocity), or sample (the "
        "clean image).",
    )

    @model_validator(mode="after")
    def _betas_ascend(self) -> NoiseSchedule:
        if self.beta_start > self.beta_end:
            raise ValueError(f"beta_start is {self.beta_start}, above beta_end {self.beta_end}; choose a smaller one")
        return self
