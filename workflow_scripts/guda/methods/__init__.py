"""Attribution methods: each gives a score to every group for every query.

A method is a module with a class that follows `Method`; adding one is that file and an entry in METHODS.
"""

from __future__ import annotations

import re

from guda.core.errors import GudaError, nearest_name
from guda.evaluation.scores import Scores
from guda.methods.classifier import MeanPosterior
from guda.methods.conditional import LikelihoodRatio
from guda.methods.counterfactual import GuidedUnlearned, Oracle, Unlearned, UnlearnedVariant
from guda.methods.embedding import Embedding
from guda.methods.gradients import Gradient
from guda.methods.method import Method
from guda.methods.prompt import PromptOverlap
from guda.methods.query_unlearning import Abu, Mucs
from guda.methods.random import Random
from guda.methods.similarity import Nearest, NearestVariant
from guda.unlearning import ESD, FINETUNE, NEGGRAD, RETRACK, STRATEGIES

GRADIENT_METHODS = {
    "trak": Gradient("trak", "loss"),
    "dtrak": Gradient("dtrak", "squared_output"),
    "das": Gradient("das", "mean_output", of_output=True),
}
METHODS: dict[str, Method] = {
    "guda": Unlearned(RETRACK, calibrated=True),
    "guda_uncalibrated": Unlearned(RETRACK, calibrated=False),
    "guda_esd": GuidedUnlearned(ESD, calibrated=True),
    "finetune": Unlearned(FINETUNE, calibrated=True),
    "neggrad": Unlearned(NEGGRAD, calibrated=True),
    **GRADIENT_METHODS,
    "conditional_elbo": LikelihoodRatio(),
    "classifier": MeanPosterior(),
    "nearest": Nearest(),
    "embedding": Embedding(),
    "abu": Abu(),
    "mucs": Mucs(),
    "random": Random(),
}
# For text-to-image models.
TEXT_METHODS: dict[str, Method] = {
    **{name: METHODS[name] for name in ("guda", "guda_uncalibrated", "nearest", "embedding", "abu", "mucs", "random")},
    **{name: Unlearned(name, calibrated=True) for name in STRATEGIES},
    "prompt": PromptOverlap(),
}


def get_method(name: str) -> Method:
    """The method of this name. Raises GudaError.

    `logo-SEED` is the oracle trained from SEED, METHOD@SETTINGS a variant of the section `sweep`.
    """
    if oracle := re.fullmatch(r"logo-(\d+)", name):
        return Oracle(int(oracle[1]))
    if re.match(r"(guda|nearest)@", name):
        return NearestVariant(name) if name.startswith("nearest") else UnlearnedVariant(name)
    known = METHODS | TEXT_METHODS
    if name not in known:
        raise GudaError(f"unknown method {name!r}; {nearest_name(name, list(known))}")
    return known[name]


__all__ = ["GRADIENT_METHODS", "METHODS", "TEXT_METHODS", "Method", "Scores", "get_method"]
