"""Unlearning operators: each turns the base model into one that approximates training without a group.

An operator is declared in a folder's `plan.py`, with its computation in `compute.py` beside it, and registered by a
line of OPERATORS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guda.core.spec import parse_any
from guda.specs import UnlearnedSpec
from guda.unlearning.anchors.plan import AnchorReTrack
from guda.unlearning.erasediff.plan import ConstrainedErasure
from guda.unlearning.esd.plan import ErasedDiffusion
from guda.unlearning.finetune.plan import ContinuedTraining
from guda.unlearning.neggrad.plan import GradientAscent
from guda.unlearning.operator import Job, Operator
from guda.unlearning.prompted_esd.plan import SelfErasedDiffusion
from guda.unlearning.retrack.plan import ReTrack
from guda.unlearning.siss.plan import SubtractedScores

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment

GUDA = "guda"  # name of the operator of the method `guda`, for every kind of model

OPERATORS: tuple[Operator, ...] = (
    ReTrack(GUDA),
    ErasedDiffusion("guda_esd"),
    ConstrainedErasure("guda_erasediff"),
    SubtractedScores("guda_siss"),
    ContinuedTraining("finetune"),
    GradientAscent("neggrad"),
    AnchorReTrack(GUDA),
    SelfErasedDiffusion("guda_esd"),
    AnchorReTrack("guda_weighted", "weighted"),
    AnchorReTrack("guda_uniform", "uniform"),
    AnchorReTrack("guda_removed", "removed"),
)


def operators_of(experiment: Experiment) -> dict[str, Operator]:
    """The operators that can unlearn the experiment's models, by name."""
    return {operator.name: operator for operator in OPERATORS if operator.applies(experiment)}


def operator_of(text: str) -> tuple[Operator, UnlearnedSpec]:
    """The operator that unlearns the model of a spec, and the spec, from its canonical text. Raises GudaError."""
    operators = {operator.kind: operator for operator in OPERATORS}
    spec = parse_any(operators, text)
    return operators[type(spec)], spec


__all__ = ["GUDA", "OPERATORS", "Job", "Operator", "operator_of", "operators_of"]
