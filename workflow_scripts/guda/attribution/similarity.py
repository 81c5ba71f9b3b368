"""Who has images like this one? Similarity in pixel space, the rival that needs no counterfactual model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from guda import config
from guda.artifacts import load_tensors, unpack_ids
from guda.attribution.method import Needs, Scores
from guda.groups import read_members
from guda.paths import Paths
from guda.specs import NearestSpec

if TYPE_CHECKING:
    from guda.experiment import Experiment

CHUNK = 256


class Nearest:
    """A group's score is the similarity of its images to the query, aggregated."""

    def spec(self, experiment: Experiment) -> NearestSpec:
        return NearestSpec(
            images=experiment.images_spec.digest(),
            members={group: experiment.group_spec(group).digest() for group in experiment.groups},
            buckets=experiment.bucket_digests(),
            settings=experiment.config.attribution.nearest,
        )

    def parse(self, text: str) -> NearestSpec:
        return NearestSpec.parse(text)

    def needs(self, spec: NearestSpec, paths: Paths) -> Needs:
        return Needs([paths.images(), *map(paths.group, spec.members), *map(paths.queries, spec.buckets)])

    def scores(self, spec: NearestSpec, paths: Paths) -> Scores:
        training, _ = load_tensors(paths.images(), spec.images, "np")
        train_ids = unpack_ids(training["ids"])
        membership = []
        for group, expected in spec.members.items():
            members = read_members(paths.group(group), expected)
            membership.append([sample_id in members for sample_id in train_ids])
        queries, score = [], []
        for bucket, expected in spec.buckets.items():
            tensors, _ = load_tensors(paths.queries(bucket), expected, "np")
            queries += unpack_ids(tensors["ids"])
            for chunk in np.array_split(tensors["images"], -(-len(tensors["images"]) // CHUNK)):
                similar = similarity(chunk, training["images"], spec.settings.similarity)
                score.append(aggregate(similar, np.array(membership), spec.settings))
        return Scores(queries, list(spec.members), np.concatenate(score))


def similarity(queries: np.ndarray, images: np.ndarray, kind: str) -> np.ndarray:
    """Similarity of uint8 images [Q, C, H, W] to [N, C, H, W], float64 [Q, N], in the range [-1, 1] of pixels.

    'cosine', or 'euclidean': minus the distance.
    """
    q = queries.reshape(len(queries), -1) / 127.5 - 1
    x = images.reshape(len(images), -1) / 127.5 - 1
    if kind == "cosine":
        return (q / np.linalg.norm(q, axis=1, keepdims=True)) @ (x / np.linalg.norm(x, axis=1, keepdims=True)).T
    squared = (q**2).sum(1)[:, None] + (x**2).sum(1) - 2 * q @ x.T
    return -np.sqrt(squared.clip(min=0))


def aggregate(similar: np.ndarray, membership: np.ndarray, settings: config.Nearest) -> np.ndarray:
    """Group scores [Q, G] from similarities [Q, N] and membership bool [G, N]."""
    columns = []
    for members in membership:
        of_group = similar[:, members]
        if settings.aggregate == "top_k":
            of_group = -np.sort(-of_group, axis=1)[:, : settings.top_k]
        columns.append(of_group.sum(1) if settings.aggregate == "sum" else of_group.mean(1))
    return np.stack(columns, axis=1)
