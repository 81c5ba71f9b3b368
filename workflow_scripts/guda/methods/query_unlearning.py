"""Methods that unlearn the query: which training images does the model then explain worse?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from guda import config
from guda.core.artifacts import load_tensors, unpack_ids
from guda.core.errors import ConfigError
from guda.core.paths import BASE, TRAINING, Paths
from guda.methods.instance import InstanceLevel
from guda.methods.method import Needs
from guda.specs import AbuSpec, FisherSpec, InfluenceScoresSpec, MucsSpec, PartialFisherSpec

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment

Part = TypeVar("Part", bound=config.Section)
# Keys and values of a text-to-image network's cross-attention.
KEYS_AND_VALUES = [r"attn2\.to_[kv]"]


class QueryUnlearning(InstanceLevel):
    """An image's score is how much its loss grows, as the jobs of the rule `influence` computed it by buckets."""

    name: str

    def settings(self, experiment: Experiment) -> config.Abu | config.Mucs:
        """The method's section of the configuration."""
        return getattr(experiment.config.attribution, self.name)

    def influence_spec(self, experiment: Experiment, bucket: str) -> AbuSpec | MucsSpec:
        """Spec of the job that computes a bucket's influence."""
        raise NotImplementedError

    def fisher(self, experiment: Experiment) -> str | None:
        """Digest of the Fisher information, where the method needs it."""
        return None

    def spec(self, experiment: Experiment) -> InfluenceScoresSpec:
        self._check_sample(experiment)
        return InfluenceScoresSpec(
            members={group: experiment.group_digest(group) for group in experiment.groups},
            influence={bucket: self.influence_spec(experiment, bucket).digest() for bucket in experiment.buckets},
            fisher=self.fisher(experiment),
            settings=part(self.settings(experiment), config.Aggregation),
        )

    def _check_sample(self, experiment: Experiment) -> None:
        ids, settings = list(experiment.dataset.table["id"]), self.settings(experiment)
        sampled = {ids[row] for row in settings.sampled_rows(ids)}
        for group, members in experiment.groups.items():
            if sampled.isdisjoint(members):
                raise ConfigError(
                    f"attribution.{self.name}.train_sample is {settings.train_sample}, but none of the {len(members)} "
                    f"images of group {group!r} is among them; raise it, or set it to null for all"
                )

    def parse(self, text: str) -> InfluenceScoresSpec:
        return InfluenceScoresSpec.parse(text)

    def needs(self, spec: InfluenceScoresSpec, paths: Paths) -> Needs:
        files = [*map(paths.group, spec.members), *(paths.influence(self.name, bucket) for bucket in spec.influence)]
        built = {paths.fisher_record(): spec.fisher} if spec.fisher else {}
        per_query = {paths.influence_record(self.name, bucket): digest for bucket, digest in spec.influence.items()}
        return Needs(files, built, per_query)

    def train_ids(self, spec: InfluenceScoresSpec, paths: Paths) -> list[str]:
        return unpack_ids(self._read(spec, paths, next(iter(spec.influence)))["train_ids"])

    def instance_scores(self, spec: InfluenceScoresSpec, paths: Paths) -> Iterator[tuple[list[str], np.ndarray]]:
        for bucket in spec.influence:
            tensors = self._read(spec, paths, bucket)
            yield unpack_ids(tensors["ids"]), tensors["scores"].astype(np.float64)

    def _read(self, spec: InfluenceScoresSpec, paths: Paths, bucket: str) -> dict[str, np.ndarray]:
        return load_tensors(paths.influence(self.name, bucket), spec.influence[bucket], "np")[0]


class Abu(QueryUnlearning):
    """AbU: a step up the query's loss, divided by the Fisher information."""

    name = "abu"

    def settings(self, experiment: Experiment) -> config.Abu:
        """As configured; of text-to-image models the keys and values of cross-attention move, if none are named."""
        found = super().settings(experiment)
        if experiment.config.text_to_image is None or found.parameters is not None:
            return found
        return found.model_copy(update={"parameters": KEYS_AND_VALUES})

    def influence_spec(self, experiment: Experiment, bucket: str) -> AbuSpec:
        settings = self.settings(experiment)
        return AbuSpec(
            base=experiment.model_digest(BASE),
            images=experiment.scored_digest(TRAINING),
            samples=experiment.scored_digest(bucket),
            fisher=self.fisher_spec(experiment).digest(),
            mirror=experiment.config.training.flip,
            noise_schedule=experiment.config.noise_schedule,
            settings=part(settings, config.AbuInfluence),
        )

    def fisher_spec(self, experiment: Experiment) -> FisherSpec:
        """Spec of the Fisher information, computed once for a base model; of a text-to-image one for what moves."""
        settings = self.settings(experiment)
        values = {
            "base": experiment.model_digest(BASE),
            "images": experiment.scored_digest(TRAINING),
            "noise_schedule": experiment.config.noise_schedule,
            "settings": settings.fisher,
        }
        if experiment.config.text_to_image is None:
            return FisherSpec(**values)
        return PartialFisherSpec(**values, parameters=settings.parameters)

    def fisher(self, experiment: Experiment) -> str:
        return self.fisher_spec(experiment).digest()


class Mucs(QueryUnlearning):
    """MUCS: bounded ascent on the query's loss, mirrored by descent on the training images'."""

    name = "mucs"

    def influence_spec(self, experiment: Experiment, bucket: str) -> MucsSpec:
        return MucsSpec(
            base=experiment.model_digest(BASE),
            images=experiment.scored_digest(TRAINING),
            samples=experiment.scored_digest(bucket),
            noise_schedule=experiment.config.noise_schedule,
            settings=part(self.settings(experiment), config.MucsInfluence),
        )


def part(section: config.Section, kind: type[Part]) -> Part:
    """The settings of a section that are those of a class it derives from."""
    return kind.model_validate(section.model_dump(include=set(kind.model_fields)))
