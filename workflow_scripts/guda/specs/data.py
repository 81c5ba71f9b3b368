"""The training images, their groups and neighbors, and the images to score."""

from __future__ import annotations

from guda import config
from guda.core.spec import Spec


class ImagesSpec(Spec):
    stage, version = "images", 1
    dataset: str
    content: str  # digest of (id, sha256) of every image, and of the shape that images are converted to, if any


class TableSpec(Spec):
    stage, version = "table", 1
    dataset: str
    content: str  # digest of all rows and columns


class GroupSpec(Spec):
    stage, version = "group", 1
    dataset: str
    group: str
    members: str  # digest of the members' ids


class GroupSizesSpec(Spec):
    stage, version = "group_sizes", 1
    members: dict[str, str]  # digest of each group


class ExclusionSpec(Spec):
    stage, version = "exclusion", 1
    members: str  # digest of the sorted ids that are left out


class NeighborsSpec(Spec):
    stage, version = "neighbors", 1
    images: str
    group: str
    n_neighbors: int


class QueriesSpec(Spec):
    stage, version = "queries", 1
    base: str
    noise_schedule: config.NoiseSchedule
    seed: int
    sampler: str
    sampling_steps: int
    ids: list[str]


class ExemplarQueriesSpec(Spec):
    stage, version = "exemplar_queries", 1
    of_groups: dict[str, QueriesSpec]  # the queries of each fine-tuned model, by the group of its exemplars


class QueryFilesSpec(Spec):
    stage, version = "query_files", 1
    bucket: str
    buckets: int
    shape: list[int]  # [C, H, W] of the training images, to which queries are converted
    content: str  # digest of (id, sha256) of every image of the bucket


class CalibrationSpec(Spec):
    stage, version = "calibration", 1
    images: str
    count: int
    seed: int
