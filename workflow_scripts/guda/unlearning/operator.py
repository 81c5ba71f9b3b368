"""The interface of unlearning operators."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from guda.core.paths import BASE
from guda.core.records import FORWARD_AND_BACKWARD
from guda.specs import UnlearnedSpec

if TYPE_CHECKING:
    from torch import Tensor

    from guda.config.training import Optimization
    from guda.data.training_set import TrainingSet
    from guda.models.denoisers import UNetDenoiser
    from guda.plan.experiment import Experiment
    from guda.training.state import Execution

S = TypeVar("S", bound=UnlearnedSpec)


@dataclass(frozen=True)
class Job(Generic[S]):
    """One group to unlearn: the base model, the training samples, those to forget (bool [N]), and how to execute.

    `files` are the ones listed by `Operator.files`.
    """

    spec: S
    full: UNetDenoiser
    training_set: TrainingSet
    forget: Tensor
    files: list[str]
    execution: Execution


class Operator(Generic[S]):
    """An algorithm that turns the base model into one that approximates training without a group.

    It is declared in a folder's `plan.py`, which never imports torch; `compute.py` beside it has `run(job)`. `name` is
    the folder of its models under models/; `variation` holds settings that override the configured ones.
    """

    kind: type[S]

    def __init__(self, name: str, variation: dict[str, Any] | None = None):
        self.name = name
        self.variation = variation or {}

    def applies(self, experiment: Experiment) -> bool:
        """Whether the operator supports the experiment's kind of models."""
        return experiment.config.text_to_image is None

    def check(self, experiment: Experiment) -> None:
        """Raise ConfigError if the operator cannot unlearn the experiment's groups."""

    def settings(self, experiment: Experiment, group: str) -> Optimization:
        """Settings for a group, with the variation applied."""
        raise NotImplementedError

    def varied(self, name: str, variation: dict[str, Any]) -> Self:
        """The operator under another name with other settings: a variant of the section `sweep`, or another seed."""
        other = copy.copy(self)
        other.name, other.variation = name, self.variation | variation
        return other

    def spec(self, experiment: Experiment, group: str) -> S:
        """Spec of the model that has unlearned the group."""
        raise NotImplementedError

    def files(self, experiment: Experiment, group: str) -> list[str]:
        """Inputs besides the base model, the training samples and the group, in the order in which `run` reads them."""
        return []

    def batch(self, settings: Optimization) -> int:
        """Number of samples in one step."""
        return 2 * settings.batch_size

    def evaluations(self, settings: Optimization) -> int:
        """Evaluations per group of the network being trained, not counting auxiliary networks."""
        return settings.steps * self.batch(settings) * FORWARD_AND_BACKWARD

    def run(self, job: Job[S]) -> tuple[UNetDenoiser, int]:
        """The model with the group unlearned, and the evaluations spent. Loads torch.

        Raises ArtifactError for a file that does not match the spec, FloatingPointError for a non-finite loss.
        """
        return self.compute.run(job)

    def of_pixels(self, experiment: Experiment, group: str, **others: Any) -> S:
        """The spec for pixel-space models; `others` are fields specific to this operator's spec."""
        kind: Any = self.kind
        return kind(
            base=experiment.model_digest(BASE),
            images=experiment.images_digest,
            group=experiment.group_digest(group),
            noise_schedule=experiment.config.noise_schedule,
            settings=self.settings(experiment, group),
            **others,
        )

    @property
    def compute(self) -> ModuleType:
        """The operator's module `compute`."""
        return import_module(f"{type(self).__module__.removesuffix('.plan')}.compute")
