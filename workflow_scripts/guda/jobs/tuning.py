"""For `tune.py`: the inputs of fine-tuning on exemplars, and how the network is trained, measured and saved."""

from __future__ import annotations

from argparse import Namespace

import torch

from guda.core.errors import DataError
from guda.data.training_set import read_training_set
from guda.jobs.model import Recipe
from guda.models.denoisers import load_denoiser, save_denoiser
from guda.models.noise_schedule import NoiseSchedule
from guda.scoring.probe import measured
from guda.specs import TunedSpec
from guda.training.loop import tune
from guda.training.state import Execution


def tuned(spec: TunedSpec, args: Namespace, parent_sha256: str, device: torch.device) -> Recipe:
    """The base model, fine-tuned on a few images of one group.

    Its health is measured on these images and compared with the base model's. Raises DataError if one of them is not a
    training image.
    """
    base, _ = load_denoiser(args.base, NoiseSchedule.from_config(spec.noise_schedule), spec.base)
    base.to(device)
    training_set = read_training_set(args.samples, spec.images)
    if absent := set(spec.exemplars) - set(training_set.ids):
        raise DataError(f"{sorted(absent)[0]!r} is an exemplar, but not a training image; run snakemake again")
    others = torch.tensor([sample_id not in set(spec.exemplars) for sample_id in training_set.ids])

    def trained(execution: Execution) -> tuple[torch.nn.Module, int]:
        rows = torch.nonzero(~others).flatten()
        return tune(base, training_set.images, rows, spec.training, execution)

    return Recipe(
        trained,
        lambda denoiser: measured(denoiser, spec, training_set, others, base, args.execution.micro_batch_size or 0),
        lambda folder, denoiser: save_denoiser(folder, denoiser, spec, parent_sha256=parent_sha256),
        "tuning",
    )
