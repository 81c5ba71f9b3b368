"""For `unlearn.py`: the inputs of unlearning, and how the network is trained, measured and saved."""

from __future__ import annotations

from argparse import Namespace

import torch

from guda.data.training_set import read_training_set
from guda.jobs.model import Recipe
from guda.models.denoisers import TextDenoiser, load_denoiser, save_adapters, save_denoiser
from guda.models.noise_schedule import NoiseSchedule
from guda.scoring.probe import measured
from guda.specs import UnlearnedSpec
from guda.training.state import Execution
from guda.unlearning import Job, Operator


def unlearned(
    operator: Operator, spec: UnlearnedSpec, args: Namespace, parent_sha256: str, device: torch.device
) -> Recipe:
    """The base model with a group unlearned by the operator.

    `args.files` are the operator's inputs besides the base model and the training set.
    """
    base, _ = load_denoiser(args.base, NoiseSchedule.from_config(spec.noise_schedule), spec.base)
    if isinstance(base, TextDenoiser) and args.execution.gradient_checkpointing:
        base.unet.enable_gradient_checkpointing()
    base.to(device)
    training_set = read_training_set(args.samples, spec.seen)
    forget = training_set.in_group(args.group, spec.group)
    micro_batch_size = args.execution.micro_batch_size

    def trained(execution: Execution) -> tuple[torch.nn.Module, int]:
        return operator.run(Job(spec, base, training_set, forget, args.files, execution))

    save = save_adapters if spec.adapters else save_denoiser
    return Recipe(
        trained,
        lambda denoiser: measured(denoiser, spec, training_set, forget, base, micro_batch_size or 0),
        lambda folder, denoiser: save(folder, denoiser, spec, parent_sha256=parent_sha256),
        "unlearning",
    )
