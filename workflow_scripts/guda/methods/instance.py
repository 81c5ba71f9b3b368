"""Methods that score every training image for a query; a group's score is aggregated over its members."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeVar

import numpy as np
from pydantic import Field, PositiveInt

from guda.config.section import Section
from guda.core.artifacts import load_tensors, unpack_ids
from guda.core.paths import Paths
from guda.core.spec import Spec
from guda.data.groups import read_members
from guda.evaluation.scores import Scores
from guda.methods.method import Method

Part = TypeVar("Part", bound=Section)


class Aggregation(Section):
    """How the scores of training images are aggregated to a group's score."""

    aggregate: Literal["sum", "mean", "top_k"] = Field(
        "top_k",
        description="A group's score from those of its images: sum, mean, or top_k (the mean of the `top_k` highest).",
    )
    top_k: PositiveInt = Field(1, description="top_k: number of images; 1 is the highest score alone.")


class InstanceSpec(Spec):
    """Base of the specs of instance-level methods."""

    members: dict[str, str]  # digest of each group
    settings: Aggregation


class SimilaritySpec(InstanceSpec):
    """Base of the specs of methods that compare a query with every training image."""

    images: str  # digest of the training images


S = TypeVar("S", bound=InstanceSpec)
C = TypeVar("C", bound=SimilaritySpec)


class InstanceLevel(Method[S]):
    """A method whose `compute.py` has `instance_scores` instead of `scores`."""

    unit = ""

    def train_ids(self, spec: S, paths: Paths) -> list[str]:
        """Ids of the training images that are scored."""
        raise NotImplementedError

    def instance_scores(self, spec: S, paths: Paths) -> Iterator[tuple[list[str], np.ndarray]]:
        """Blocks of queries: their ids and the score of every image of `train_ids`, float64 [q, N].

        Higher is more influential. Raises ArtifactError for a file that does not match the spec.
        """
        return self.compute.instance_scores(self, spec, paths)

    def scores(self, spec: S, paths: Paths) -> Scores:
        membership = rows_of_groups(self.train_ids(spec, paths), spec.members, paths)
        queries, score = [], []
        for ids, of_images in self.instance_scores(spec, paths):
            queries += ids
            score.append(aggregate(of_images, membership, spec.settings))
        return Scores(queries, list(spec.members), np.concatenate(score))


class Similarity(InstanceLevel[C]):
    """A method that compares a query with every training image, in the order of the training table."""

    def train_ids(self, spec: C, paths: Paths) -> list[str]:
        training, _ = load_tensors(paths.images(), spec.images, "np")
        return unpack_ids(training["ids"])


def part(section: Section, kind: type[Part]) -> Part:
    """The part of a section's settings that belongs to one of its base classes."""
    return kind.model_validate(section.model_dump(include=set(kind.model_fields)))


def rows_of_groups(train_ids: list[str], members: dict[str, str], paths: Paths) -> list[np.ndarray]:
    """Rows of each group's images, from the groups' files, whose digests are checked."""
    found = []
    for group, expected in members.items():
        of_group = read_members(paths.group(group), expected)
        found.append(np.flatnonzero([train_id in of_group for train_id in train_ids]))
    return found


def aggregate(scores: np.ndarray, membership: list[np.ndarray], settings: Aggregation) -> np.ndarray:
    """Group scores [Q, G] from scores of training images [Q, N] and the rows of each group's images."""
    columns = []
    for members in membership:
        of_group = scores[:, members]
        if settings.aggregate == "top_k":
            np.negative(of_group, out=of_group)
            of_group.sort(axis=1)
            of_group = -of_group[:, : settings.top_k]
        columns.append(of_group.sum(1) if settings.aggregate == "sum" else of_group.mean(1))
    return np.stack(columns, axis=1)
