"""Families of models: what the experiment needs from any kind of base model.

A family defines how base and retrained models are made, and how samples and conditions reach a network. Torch-free,
like the rest of planning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guda.plan.families.family import FLOAT, Family, Network
from guda.plan.families.fine_tuned import FineTuned
from guda.plan.families.scratch import FromScratch

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment


def family_of(experiment: Experiment) -> Family:
    """The family that the configuration selects."""
    text = experiment.config.text_to_image
    return FromScratch(experiment) if text is None else FineTuned(experiment, text)


__all__ = ["FLOAT", "Family", "FineTuned", "FromScratch", "Network", "family_of"]
