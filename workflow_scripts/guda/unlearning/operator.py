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

    from guda.config.training import Optimisation
    from guda.data.training_set import TrainingSet
    from guda.models.denoisers import UNetDenoiser
    from guda.plan.experiment import Experiment
    from guda.training.state import Execution

S = TypeVar("S", bound=UnlearnedSpec)


@dataclass(frozen=True)
class Job(Generic[S]):
    """One group to unlearn: the full model, the training samples, which of them to forget (bool [N]), and with what.

    `files` are those of `Operator.files`.
    """

    spec: S
    full: UNetDenoiser
    training_set: TrainingSet
    forget: Tensor
    files: list[str]
    execution: Execution


class Operator(Generic[S]):
    """A way to turn the full model into one that approximates training without a group.

    It is declared in `plan.py` of a folder, which never imports torch; `compute.py` beside that has `run(job)`. `name`
    is the folder of its models under models/, `variation` holds settings in place of the configured ones.
    """

    kind: type[S]

    def __init__(self, name: str, variation: dict[str, Any] | None = None):
        self.name = name
        self.variation = variation or {}

    def applies(self, experiment: Experiment) -> bool:
        """Whether it can unlearn the kind of models that the experiment has."""
        return experiment.config.text_to_image is None

    def check(self, experiment: Experiment) -> None:
        """Raise ConfigError where the experiment's groups cannot be unlearned so."""

    def settings(self, experiment: Experiment, group: str) -> Optimisation:
        """Settings for a group, the variation among them."""
        raise NotImplementedError

    def varied(self, name: str, variation: dict[str, Any]) -> Self:
        """The same under another name, with other settings: what the section `sweep` tries, or another seed."""
        other = copy.copy(self)
        other.name, other.variation = name, self.variation | variation
        return other

    def spec(self, experiment: Experiment, group: str) -> S:
        """Spec of the model that has unlearned the group."""
        raise NotImplementedError

    def files(self, experiment: Experiment, group: str) -> list[str]:
        """Inputs beside the base model, the training samples and the group, in the order in which `run` reads them."""
        return []

    def batch(self, settings: Optimisation) -> int:
        """Samples that the network sees in a step."""
        return 2 * settings.batch_size

    def evaluations(self, settings: Optimisation) -> int:
        """Evaluations that a group costs, but for those of networks that are asked beside the one that learns."""
        return settings.steps * self.batch(settings) * FORWARD_AND_BACKWARD

    def run(self, job: Job[S]) -> tuple[UNetDenoiser, int]:
        """The model that has unlearned the group, and the evaluations spent. Loads torch.

        Raises ArtifactError for a file that is not of the spec, FloatingPointError for a loss that is not finite.
        """
        return self.compute.run(job)

    def of_pixels(self, experiment: Experiment, group: str, **others: Any) -> S:
        """That spec for models that see the images themselves; `others` are fields of this kind of spec alone."""
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
        """The module `compute` beside the one that declares the operator."""
        return import_module(f"{type(self).__module__.removesuffix('.plan')}.compute")
