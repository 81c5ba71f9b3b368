"""Attribution methods: each scores every group for every query.

A method is declared in a folder's `plan.py`, computed in `compute.py` beside it, and registered by a line of METHODS.
"""

from __future__ import annotations

import re
from typing import TypeVar

from guda.core.errors import GudaError, nearest_name
from guda.evaluation.scores import Scores
from guda.methods.classifier.plan import MeanPosterior
from guda.methods.conditional.plan import LikelihoodRatio, LogPosterior
from guda.methods.counterfactual.plan import GuidedUnlearned, Oracle, Unlearned, UnlearnedVariant
from guda.methods.embedding.plan import FeatureSimilarity
from guda.methods.ensemble.plan import EnsembleOf
from guda.methods.gradients.plan import GradientSimilarity
from guda.methods.kernel.plan import KernelCounterfactual
from guda.methods.method import Method
from guda.methods.mixture.plan import Mixture
from guda.methods.prompt.plan import PromptOverlap
from guda.methods.proxy.plan import RetrainedProxies
from guda.methods.query_unlearning.plan import AbuMethod, MucsMethod
from guda.methods.random.plan import RandomScores
from guda.methods.scaled.plan import ScaledUnlearned
from guda.methods.similarity.plan import PixelSimilarity, PixelSimilarityVariant
from guda.methods.subsets.plan import GroupValues
from guda.unlearning import GUDA

M = TypeVar("M", bound=Method)

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Unlearned("guda"),
        Unlearned("guda_uncalibrated", GUDA, calibrated=False),
        ScaledUnlearned("guda_scaled"),
        RetrainedProxies("proxy"),
        GuidedUnlearned("guda_esd"),
        Unlearned("guda_erasediff"),
        Unlearned("guda_siss"),
        Unlearned("finetune"),
        Unlearned("neggrad"),
        GradientSimilarity("trak", "loss"),
        GradientSimilarity("dtrak", "squared_output"),
        GradientSimilarity("das", "mean_output", of_output=True),
        LikelihoodRatio("conditional_elbo"),
        LogPosterior("conditional_posterior"),
        MeanPosterior("classifier"),
        KernelCounterfactual("kernel"),
        Mixture("mixture"),
        PixelSimilarity("nearest"),
        FeatureSimilarity("embedding"),
        AbuMethod("abu"),
        MucsMethod("mucs"),
        GroupValues("shapley"),
        GroupValues("banzhaf"),
        RandomScores("random"),
        Unlearned("guda_weighted"),
        Unlearned("guda_uniform"),
        Unlearned("guda_removed"),
        PromptOverlap("prompt"),
    )
}
# Any other method may be a member, except those that lds.csv must refit to evaluate on held-out subsets.
METHODS["ensemble"] = EnsembleOf(
    "ensemble", {name: method for name, method in METHODS.items() if not isinstance(method, GroupValues)}
)
GRADIENT_METHODS = {name: method for name, method in METHODS.items() if isinstance(method, GradientSimilarity)}


def get_method(name: str) -> Method:
    """The method of this name. Raises GudaError.

    `logo-SEED` is the oracle trained from SEED, METHOD@SETTINGS a variant of the section `sweep`.
    """
    if oracle := re.fullmatch(r"logo-(\d+)", name):
        return Oracle(int(oracle[1]))
    if re.match(r"(guda|nearest)@", name):
        return PixelSimilarityVariant(name) if name.startswith("nearest") else UnlearnedVariant(name)
    if name not in METHODS:
        raise GudaError(f"unknown method {name!r}; {nearest_name(name, list(METHODS))}")
    return METHODS[name]


def method_of(kind: type[M], name: str) -> M:
    """The method of this name, which must be of a given kind. Raises GudaError."""
    method = get_method(name)
    if not isinstance(method, kind):
        raise GudaError(f"method {name!r} is of kind {type(method).__name__}, not {kind.__name__}; name one that is")
    return method


__all__ = ["GRADIENT_METHODS", "METHODS", "Method", "Scores", "get_method", "method_of"]
