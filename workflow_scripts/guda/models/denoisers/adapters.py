"""Low-rank adapters of text-to-image networks (LoRA, arXiv 2106.09685): W + (alpha / r) B A in place of a weight W.

They are on the attention layers, and are saved in the file that diffusers' `load_lora_weights` reads. Peft trains them;
they are merged into the weights when a model is loaded.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from torch import Tensor

from guda.core.artifacts import CURE, check_tensors, save_tensors
from guda.core.errors import ArtifactError
from guda.core.paths import ADAPTER
from guda.core.seeding import derive_seed
from guda.models.denoisers.unet import UNetDenoiser
from guda.specs import Spec

LAYERS = ("to_q", "to_k", "to_v", "to_out.0")  # suffixes of the names of adapted layers
NETWORK = "unet"  # the adapted part of a pipeline, prefix of each name in the file
SETTINGS = "lora_adapter_metadata"  # where diffusers looks for rank and alpha
KIND = "default"  # peft's name for the one adapter


def add_adapters(denoiser: UNetDenoiser, rank: int, alpha: float, seed: int) -> None:
    """Add adapters of rank r to a network's attention layers, in place; only they are trained.

    B is zero, so that the network is initially unchanged; A [r, in] is drawn with the seed.
    """
    from peft import LoraConfig, inject_adapter_in_model

    settings = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(LAYERS))
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed("adapters", seed))
        inject_adapter_in_model(settings, denoiser.unet, KIND)


def save_adapters(folder: str | Path, denoiser: UNetDenoiser, spec: Spec, **metadata: str) -> list[Path]:
    """Write a network's adapters, with spec and provenance. Returns the files written."""
    from peft import get_peft_model_state_dict

    tensors = get_peft_model_state_dict(denoiser.unet, adapter_name=KIND, save_embedding_layers=False)
    made = denoiser.unet.peft_config[KIND]
    settings = {"r": made.r, "lora_alpha": made.lora_alpha, "target_modules": list(LAYERS)}
    metadata[SETTINGS] = json.dumps({f"{NETWORK}.{name}": value for name, value in settings.items()})
    file = Path(folder) / ADAPTER
    save_tensors(file, {f"{NETWORK}.{name}": tensor for name, tensor in tensors.items()}, spec, **metadata)
    return [file]


def check_adapters(
    file: Path, tensors: dict[str, Tensor], metadata: dict[str, str], unet: torch.nn.Module
) -> tuple[int, float]:
    """The rank and alpha of adapters. Raises ArtifactError unless the tensors are adapters of this network."""
    try:
        settings = json.loads(metadata[SETTINGS])
        rank, alpha = int(settings[f"{NETWORK}.r"]), float(settings[f"{NETWORK}.lora_alpha"])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ArtifactError(f"{file}: its metadata lacks the adapters' rank and alpha. {CURE}") from None
    if rank < 1 or not math.isfinite(alpha):
        raise ArtifactError(f"{file}: rank {rank} and alpha {alpha} are not valid for adapters. {CURE}")
    wanted = {}
    for name, weight in unet.named_parameters():
        layer, _, kind = name.rpartition(".")
        if kind == "weight" and layer.endswith(tuple(f".{end}" for end in LAYERS)):
            sizes = {"A": (rank, weight.shape[1]), "B": (weight.shape[0], rank)}
            for part, size in sizes.items():
                wanted[f"{NETWORK}.{layer}.lora_{part}.weight"] = torch.empty(size, device="meta")
    check_tensors(file, tensors, wanted)
    return rank, alpha


@torch.no_grad()
def merge_adapters(denoiser: UNetDenoiser, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Merge adapters written by `save_adapters` into the network's weights, in place."""
    settings, weights = json.loads(metadata[SETTINGS]), dict(denoiser.unet.named_parameters())
    scale = settings[f"{NETWORK}.lora_alpha"] / settings[f"{NETWORK}.r"]
    for name, down in tensors.items():
        if ".lora_A." in name:
            up = tensors[name.replace(".lora_A.", ".lora_B.")]
            weights[name.removeprefix(f"{NETWORK}.").replace(".lora_A", "")] += scale * up @ down
