"""Who has images like this one? Similarity in pixel space, the rival that needs no counterfactual model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from guda.core.artifacts import load_tensors, unpack_ids
from guda.core.paths import Paths
from guda.methods.instance import InstanceLevel
from guda.methods.method import Needs
from guda.specs import NearestSpec

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment

CHUNK = 256
SIMILARITIES = 2**24  # at a time: 128 MiB
PIXELS = 2**22  # at a time: 32 MiB


class Nearest(InstanceLevel):
    """An image's score is its similarity to the query."""

    def spec(self, experiment: Experiment) -> NearestSpec:
        return NearestSpec(
            images=experiment.images_digest,
            members={group: experiment.group_digest(group) for group in experiment.groups},
            buckets=experiment.bucket_digests(),
            settings=experiment.config.attribution.nearest,
        )

    def parse(self, text: str) -> NearestSpec:
        return NearestSpec.parse(text)

    def needs(self, spec: NearestSpec, paths: Paths) -> Needs:
        return Needs([paths.images(), *map(paths.group, spec.members), *map(paths.queries, spec.buckets)])

    def instance_scores(self, spec: NearestSpec, paths: Paths) -> Iterator[tuple[list[str], np.ndarray]]:
        training, _ = load_tensors(paths.images(), spec.images, "np")
        for bucket, expected in spec.buckets.items():
            tensors, _ = load_tensors(paths.queries(bucket), expected, "np")
            ids, done = unpack_ids(tensors["ids"]), 0
            for chunk in np.array_split(tensors["images"], -(-len(ids) // CHUNK)):
                for similar in similarities(chunk, training["images"], spec.settings.similarity):
                    yield ids[done : done + len(similar)], similar
                    done += len(similar)


class NearestVariant(Nearest):
    """The same with other settings, from the section `sweep`."""

    def __init__(self, name: str):
        self.name = name

    def spec(self, experiment: Experiment) -> NearestSpec:
        spec = super().spec(experiment)
        settings = spec.settings.model_copy(update=experiment.variants[self.name].nearest)
        return spec.model_copy(update={"settings": settings})


def similarities(queries: np.ndarray, images: np.ndarray, kind: str) -> Iterator[np.ndarray]:
    """`similarity` for block after block of the queries, float64 [q, N]."""
    for block in _blocks(len(queries), SIMILARITIES // len(images), 8):
        yield similarity(queries[block], images, kind)


def similarity(queries: np.ndarray, images: np.ndarray, kind: str) -> np.ndarray:
    """Similarity of uint8 images [Q, C, H, W] to [N, C, H, W], float64 [Q, N], in the range [-1, 1] of pixels.

    'cosine', or 'euclidean': minus the distance.
    """
    q = queries.reshape(len(queries), -1) / 127.5 - 1
    similar = np.empty((len(queries), len(images)))
    for block in _blocks(len(images), PIXELS // q.shape[1], 192):
        x = images[block].reshape(-1, q.shape[1]) / 127.5 - 1
        if kind == "cosine":
            x /= np.linalg.norm(x, axis=1, keepdims=True)
            similar[:, block] = (q / np.linalg.norm(q, axis=1, keepdims=True)) @ x.T
        else:
            squared = (q**2).sum(1)[:, None] + (x**2).sum(1) - 2 * q @ x.T
            similar[:, block] = -np.sqrt(squared.clip(min=0))
    return similar


def _blocks(length: int, size: int, multiple: int) -> list[slice]:
    """Slices that make up `length`: each of the last multiple before `size`, the last one with the rest.

    A product of matrices is so rounded alike whole and in blocks: none begins within the rows that a kernel takes at
    once, and none has so few rows, less than the multiple, that another kernel takes over.
    """
    size = max(1, size // multiple) * multiple
    starts = range(0, max(1, length - multiple + 1), size)
    return [slice(start, length if start == starts[-1] else start + size) for start in starts]
