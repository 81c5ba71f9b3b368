"""Which images are attributed, and the buckets that they are spread over."""

from __future__ import annotations

from pathlib import Path

from guda.datasets.conversion import Conversion
from guda.datasets.image_files import check_shape, file_digests, image_files, image_shape
from guda.noise import derive_seed

KEY = "queries.folder"
LIKE = "a training image"


def queries_by_bucket(queries: list[str], n_buckets: int) -> dict[str, list[str]]:
    """Ids of each bucket, by a stable hash of the id, so that a new query changes one bucket; empty ones are absent."""
    buckets = {}
    for query in queries:
        buckets.setdefault(f"bucket-{derive_seed('bucket', query) % n_buckets:04d}", []).append(query)
    return dict(sorted(buckets.items()))


def read_query_digests(folder: str) -> dict[str, str]:
    """SHA-256 of each image file in a folder of queries, by the query's id: its path relative to the folder."""
    names = image_files(folder, KEY)
    return dict(zip(names, file_digests(folder, names, KEY), strict=True))


def check_query_shapes(folder: str, queries: list[str], shape: tuple[int, int, int], conversion: Conversion) -> None:
    """Raise DataError for a query that the conversion does not bring to the training images' shape [C, H, W]."""
    for query in queries:
        path = Path(folder) / query
        check_shape(path, image_shape(path, conversion), shape, LIKE)
