"""Specs of what some methods compute for all groups at once: features, influence, kernels and mixtures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guda.methods import GRADIENT_METHODS, method_of
from guda.methods.embedding.plan import FeatureSimilarity
from guda.methods.kernel.plan import EMBEDDING, KernelCounterfactual, KernelTermsSpec
from guda.methods.mixture.plan import Mixture
from guda.methods.query_unlearning.plan import AbuMethod, QueryUnlearning
from guda.specs import Spec

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment

FEATURES_OF_GRADIENTS = list(GRADIENT_METHODS)  # methods


def fisher_spec(experiment: Experiment) -> Spec:
    """Spec of the base model's Fisher information, with which AbU unlearns queries."""
    return method_of(AbuMethod, "abu").fisher_spec(experiment)


def influence_spec(experiment: Experiment, method: str, bucket: str) -> Spec:
    """Spec of the influence of training images on a bucket of queries, by a method that unlearns the queries."""
    return method_of(QueryUnlearning, method).influence_spec(experiment, bucket)


def kernel_spec(experiment: Experiment, bucket: str) -> KernelTermsSpec:
    """Spec of a bucket's ELBO terms under the base model, shifted by a kernel as if a group had been absent."""
    return method_of(KernelCounterfactual, "kernel").terms_spec(experiment, bucket)


def kernel_features(experiment: Experiment, bucket: str) -> list[str]:
    """Feature files that the kernel compares: the training images', then the bucket's; none if it compares pixels."""
    features = method_of(KernelCounterfactual, "kernel").features(experiment, [bucket])
    return [experiment.paths.features(EMBEDDING.name, name) for name in features]


def features_spec(experiment: Experiment, samples: str) -> Spec:
    """Spec of the features with which `embedding` compares the training images (TRAINING) and a bucket's queries."""
    return method_of(FeatureSimilarity, "embedding").features_spec(experiment, samples)


def gradients_spec(experiment: Experiment, method: str, samples: str) -> Spec:
    """Spec of the projected gradients with which a method of FEATURES_OF_GRADIENTS compares them."""
    return GRADIENT_METHODS[method].features_spec(experiment, samples)


def mixture_spec(experiment: Experiment, bucket: str) -> Spec:
    """Spec of the ELBO terms of the mixture without each group, with which `mixture` scores a bucket's queries."""
    return method_of(Mixture, "mixture").spec(experiment).terms(bucket)
