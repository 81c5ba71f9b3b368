"""What unlearning reads, and how its network is made, measured and saved: for `unlearn.py`."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from guda.core.artifacts import load_tensors
from guda.core.errors import ArtifactError
from guda.data.training_set import read_training_set
from guda.jobs.model import Recipe
from guda.models.denoisers import TextDenoiser, load_denoiser, save_adapters, save_denoiser
from guda.models.noise_schedule import NoiseSchedule
from guda.scoring.probe import measured
from guda.specs import AnchorsSpec, EsdSpec, FinetuneSpec, NegGradSpec
from guda.training.state import Execution
from guda.unlearning import anchors, esd, finetune, neggrad, retrack


def unlearned(spec: Any, args: Namespace, device: torch.device, parent_sha256: str) -> Recipe:
    """The base model, without a group, by the operator that the spec is of.

    `args.files` are those that the operator reads beside the base model and the training set.
    """
    schedule, by_anchors = NoiseSchedule.from_config(spec.noise_schedule), isinstance(spec, AnchorsSpec)
    base, _ = load_denoiser(args.base, schedule, spec.base)
    if by_anchors and args.execution.gradient_checkpointing:
        base.unet.enable_gradient_checkpointing()
    base.to(device)
    training_set = read_training_set(args.samples, spec.samples if by_anchors else spec.images)
    forget = training_set.in_group(args.group, spec.group)
    micro_batch_size = args.execution.micro_batch_size

    def trained(execution: Execution) -> tuple[torch.nn.Module, int]:
        task, how = (base, training_set.images, forget), (spec.settings, execution)
        if isinstance(spec, AnchorsSpec):
            captions = replace(training_set.told_captions(), seed=spec.settings.seed)
            if not isinstance(base, TextDenoiser):
                raise ArtifactError(f"{args.base}: no text-to-image model, which unlearning by anchors needs")
            return anchors.unlearn(
                base, training_set.images, forget, captions, anchors.read_anchors(args.files[0], spec.anchors), *how
            )
        if isinstance(spec, EsdSpec):
            guide, _ = load_denoiser(Path(args.files[0]).parent, schedule, spec.conditional)
            return esd.unlearn(*task, guide.to(device), spec.label, *how)
        if isinstance(spec, FinetuneSpec):
            return finetune.unlearn(*task, *how)
        if isinstance(spec, NegGradSpec):
            return neggrad.unlearn(*task, *how)
        neighbors, _ = load_tensors(args.files[0], spec.neighbors)
        return retrack.unlearn(*task, neighbors["rows"], *how)

    save = save_adapters if by_anchors and spec.settings.trainable == "lora" else save_denoiser
    return Recipe(
        trained,
        lambda denoiser: measured(denoiser, spec, training_set, forget, base, micro_batch_size or 0),
        lambda folder, denoiser: save(folder, denoiser, spec, parent_sha256=parent_sha256),
        "unlearning",
    )
