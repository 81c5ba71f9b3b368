"""Whose gradients are like the query's? TRAK, D-TRAK and DAS, on features that `compute_gradients.py` wrote."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from guda import config
from guda.core.artifacts import load_tensors, unpack_ids
from guda.core.errors import GudaError
from guda.core.paths import BASE, TRAINING, Paths
from guda.core.seeding import chosen
from guda.evaluation.scores import Scores
from guda.methods.damping import choose_damping
from guda.methods.instance import InstanceLevel
from guda.methods.method import Needs
from guda.models.noise_schedule import elbo_steps
from guda.specs import GradientScoresSpec, GradientsSpec

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment

GRADIENTS = 2**26  # numbers in the gradients of a batch: 256 MiB
FEATURES = 2**22  # in float64 at a time: 32 MiB
SCORES = 2**23  # at a time: 64 MiB


class Gradient(InstanceLevel):
    """A method on gradients of one function of the base model's output, by its name in `gradients.FUNCTIONS`.

    With `of_output` (DAS) gradients are brought to length 1 at each diffusion step, and a score is (k(x, i) r_i)^2 with
    the residual r_i: the squared change of the output. Without (TRAK, D-TRAK) it is k(x, i).
    """

    def __init__(self, name: str, function: str, of_output: bool = False):
        self.name = name
        self.function = function
        self.of_output = of_output

    def settings(self, experiment: Experiment) -> config.Gradients:
        return getattr(experiment.config.attribution, self.name)

    def features_spec(self, experiment: Experiment, bucket: str) -> GradientsSpec:
        """Spec of the features of the training images (TRAINING), or of a bucket of queries."""
        settings = self.settings(experiment)
        window = experiment.config.elbo.steps.model_copy(update={"kind": "geometric", "count": settings.steps})
        samples = experiment.images_spec if bucket == TRAINING else experiment.bucket_spec(bucket)
        return GradientsSpec(
            base=experiment.model_digest(BASE),
            noise_schedule=experiment.config.noise_schedule,
            samples=samples.digest(),
            function=self.function,
            normalise=self.of_output,
            steps=elbo_steps(window).tolist(),
            own_noise=settings.own_noise,
            seed=settings.seed,
            projection_dim=settings.projection_dim,
        )

    def spec(self, experiment: Experiment) -> GradientScoresSpec:
        return GradientScoresSpec(
            method=self.name,
            images=experiment.images_digest,
            members={group: experiment.group_digest(group) for group in experiment.groups},
            training=self.features_spec(experiment, TRAINING).digest(),
            queries={bucket: self.features_spec(experiment, bucket).digest() for bucket in experiment.buckets},
            settings=self.settings(experiment),
        )

    def parse(self, text: str) -> GradientScoresSpec:
        return GradientScoresSpec.parse(text)

    def needs(self, spec: GradientScoresSpec, paths: Paths) -> Needs:
        files = [paths.images(), *map(paths.group, spec.members)]
        files += [paths.features(spec.method, bucket) for bucket in (TRAINING, *spec.queries)]
        return Needs(
            files,
            {paths.features_record(spec.method, TRAINING): spec.training},
            {paths.features_record(spec.method, bucket): expected for bucket, expected in spec.queries.items()},
        )

    def scores(self, spec: GradientScoresSpec, paths: Paths) -> Scores:
        scores = super().scores(spec, paths)
        kernel = _kernel(paths.features(spec.method, TRAINING), spec.training, spec.settings.damping)
        return replace(scores, details={"damping": kernel.damping})

    def instance_scores(self, spec: GradientScoresSpec, paths: Paths) -> Iterator[tuple[list[str], np.ndarray]]:
        kernel = _kernel(paths.features(spec.method, TRAINING), spec.training, spec.settings.damping)
        for bucket, expected in spec.queries.items():
            queries, _ = load_tensors(paths.features(spec.method, bucket), expected, "np")
            ids = unpack_ids(queries["ids"])
            for block in _blocks(len(ids), SCORES // len(kernel.features)):
                scores = kernel(queries["features"][block])
                if self.of_output:
                    scores = (scores * kernel.residuals) ** 2
                yield ids[block], scores


@lru_cache(maxsize=1)  # for the scores, and for the record of what they were made with
def _kernel(path: str, expected: str, damping: float | str) -> Kernel:
    training, _ = load_tensors(path, expected, "np")
    return Kernel(training["features"], training["residuals"], unpack_ids(training["ids"]), damping)


class Kernel:
    """k(x, i) = phi(x)^T (Phi^T Phi + lambda I)^-1 phi_i for the rows phi_i of Phi, float32 [N, d].

    lambda is `damping` times the mean eigenvalue of Phi^T Phi, or chosen on halves of the images by their ids ('auto').
    All in float64.
    """

    def __init__(self, features: np.ndarray, residuals: np.ndarray, ids: list[str], damping: float | str):
        from scipy.linalg import cho_factor

        self.features, self.residuals = features, residuals
        first = chosen(ids, len(ids) // 2, "damping")
        second = np.setdiff1d(np.arange(len(ids)), first)
        halves = gram(features, np.array(first, dtype=np.int64)), gram(features, second)
        self.damping = choose_damping(halves, (len(first), len(second))) if damping == "auto" else damping
        whole = halves[0] + halves[1]
        self.ridge = self.damping * np.trace(whole) / len(whole)
        whole[np.diag_indices_from(whole)] += self.ridge
        try:
            self._factor = cho_factor(whole, lower=True, overwrite_a=True)
        except np.linalg.LinAlgError:
            raise GudaError(
                f"damping {self.damping} is too small for these gradients; raise it, or write auto"
            ) from None

    def __call__(self, queries: np.ndarray) -> np.ndarray:
        """k of queries' features [q, d] and every row, float64 [q, N]."""
        from scipy.linalg import cho_solve

        solved = cho_solve(self._factor, queries.T.astype(np.float64))
        found = np.empty((len(queries), len(self.features)))
        for block in _blocks(len(self.features), FEATURES // len(solved)):
            found[:, block] = (self.features[block].astype(np.float64) @ solved).T
        return found


def gram(features: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Phi^T Phi over these rows of the features [N, d], float64 [d, d]."""
    dim = features.shape[1]
    total = np.zeros((dim, dim))
    for block in _blocks(len(rows), FEATURES // dim):
        part = features[rows[block]].astype(np.float64)
        total += part.T @ part
    return total


def _blocks(length: int, size: int) -> list[slice]:
    size = max(1, size)
    return [slice(start, start + size) for start in range(0, length, size)]
