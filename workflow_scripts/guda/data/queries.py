"""The images to attribute, and the buckets that they are split into."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pandas as pd

from guda import config
from guda.core.paths import BUCKET
from guda.core.seeding import derive_seed
from guda.data.datasets import Dataset, load_dataset
from guda.data.datasets.conversion import Conversion
from guda.data.datasets.image_folder import read_folder
from guda.specs import digest_lines

LIKE = "a training image"
PICTURED = 10_000  # most queries saved as PNG files: each is an output that Snakemake keeps track of
OWN_COLUMNS = ("query", "bucket", "file")
EXEMPLARS_OF = "exemplars_of"  # column for queries of fine-tuned models: the group that the model was fine-tuned on


def bucket_prefix(query_set: str) -> str:
    """The start of the names of a query set's buckets; '' is the set without a name."""
    return f"{query_set}-{BUCKET}" if query_set else BUCKET


def queries_by_bucket(queries: list[str], n_buckets: int, query_set: str = "") -> dict[str, list[str]]:
    """Ids by bucket, assigned by a stable hash, so that a new query changes one bucket; empty ones are left out."""
    buckets: dict[str, list[str]] = {}
    for query in queries:
        name = f"{bucket_prefix(query_set)}{derive_seed('bucket', query) % n_buckets:04d}"
        buckets.setdefault(name, []).append(query)
    return dict(sorted(buckets.items()))


def on_show(queries: Iterable[str], count: int) -> list[str]:
    """The queries shown in figures and in detail on the page: the first `count` by a hash of their ids."""
    return sorted(queries, key=lambda query: derive_seed("figure", query))[:count]


def source_of(data: config.Data, queries: config.Queries) -> config.QuerySource:
    """Where the queries come from: as configured, or else as the other keys imply."""
    if queries.source is not None:
        return queries.source
    if queries.folder is not None:
        return "folder"
    return "generated" if data.held_out is None else "held_out"


def given_queries(
    data: config.Data, queries: config.Queries, training: Dataset | None = None, shape: list[int] | None = None
) -> Dataset | None:
    """The queries of a set that is not generated: images held out of training, or in a folder; None if generated.

    `training` is the training set, if already loaded; `shape` [C, H, W] is that of its images, needed to read pixels.
    """
    source = source_of(data, queries)
    if source == "held_out":
        return (training or load_dataset(data)).held_out
    if source != "folder" or queries.folder is None:
        return None
    if training is not None:
        shape = list(training.image_shape)
    like = None if shape is None else (LIKE, (shape[0], shape[1], shape[2]))
    found = read_folder(queries.folder, queries.table, "queries", Conversion.of(data), like=like)
    nameless = queries.table is None and found.table["label"].isna().all()
    return found if not nameless else replace(found, table=found.table.drop(columns="label"))


def of_bucket(queries: Dataset, ids: list[str]) -> Dataset:
    """The queries with these ids."""
    return queries.select([*queries.table.index[queries.table["id"].isin(ids)]])


def content_digest(queries: Dataset) -> str:
    """Digest of the id and the content of each query."""
    return digest_lines(queries.table["id"] + " " + queries.table["sha256"])


def known_of_queries(queries: Dataset) -> pd.DataFrame:
    """The metadata of given queries: a row each, with `query` and the columns of their table.

    Columns whose names are reserved in queries.csv are renamed, as in `bucket_of_query`.
    """
    known = queries.table.drop(columns="sha256").rename(columns={name: f"{name}_of_query" for name in OWN_COLUMNS})
    return known.rename(columns={"id": "query"})
