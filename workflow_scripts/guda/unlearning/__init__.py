"""Unlearning operators: each turns the full model into one that approximates training without a group.

An operator is a module with a function `unlearn`, a kind of spec that holds its settings, and an entry in OPERATORS.
Torch-free, since the workflow plans with it.
"""

from __future__ import annotations

from guda import config
from guda.core.records import FORWARD_AND_BACKWARD
from guda.specs import EsdSpec, FinetuneSpec, NegGradSpec, Spec, UnlearnSpec

RETRACK, ESD, FINETUNE, NEGGRAD = "guda", "guda_esd", "finetune", "neggrad"

# Operators of text-to-image models, by the strategy of their anchors; that of RETRACK's name is the configured one.
STRATEGIES = {"guda_weighted": "weighted", "guda_uniform": "uniform", "guda_removed": "removed"}

# The kind of spec of each operator's models, by the name under models/.
OPERATORS: dict[str, type[Spec]] = {
    RETRACK: UnlearnSpec,
    ESD: EsdSpec,
    FINETUNE: FinetuneSpec,
    NEGGRAD: NegGradSpec,
}


def retrack_evaluations(settings: config.Unlearning) -> int:
    """Evaluations of one step of ReTrack: forget and retained images, and the full model where it is asked."""
    teacher = 1 if settings.preserve == "distillation" else 0
    return settings.batch_size * (2 * FORWARD_AND_BACKWARD + teacher)


def finetuning(unlearn: config.Unlearning, finetune: config.Finetune) -> config.FineTuning:
    """Settings of fine-tuning at ReTrack's price: its steps, each on as many retained images as its evaluations buy."""
    settings = {name: getattr(unlearn, name) for name in config.FineTuning.model_fields}
    settings["batch_size"] = round(retrack_evaluations(unlearn) / FORWARD_AND_BACKWARD)
    if finetune.learning_rate is not None:
        settings["learning_rate"] = finetune.learning_rate
    return config.FineTuning(**settings)
