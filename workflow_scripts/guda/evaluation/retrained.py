"""Outputs of retrained models that evaluations read: each query's ELBO, and its image from the same noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from guda.core.artifacts import load_tensors, unpack_ids
from guda.core.paths import Paths
from guda.specs import ElboSettings, ElboSpec, RemovalSpec


def read_elbos(paths: Paths, name: str, model: str, buckets: dict[str, str], settings: ElboSettings) -> pd.Series:
    """ELBO in nats of every query, by id, under the model `name` whose spec has the digest `model`.

    Up to terms that all models share, over the window of diffusion steps. Raises ArtifactError.
    """
    found: dict[str, Any] = {}
    for bucket, samples in buckets.items():
        expected = ElboSpec(model=model, samples=samples, elbo=settings).digest()
        tensors, _ = load_tensors(paths.elbo(name, bucket), expected, "np")
        elbo = -(tensors["kl"].astype(np.float64) @ tensors["step_weights"])
        found |= dict(zip(unpack_ids(tensors["ids"]), elbo.tolist(), strict=True))
    return pd.Series(found)


def read_queries(paths: Paths, buckets: dict[str, str]) -> tuple[dict[str, list[str]], np.ndarray]:
    """Ids of the queries of each bucket, and all their images, uint8 [Q, C, H, W]. Raises ArtifactError."""
    ids, images = {}, []
    for bucket, expected in buckets.items():
        tensors, _ = load_tensors(paths.queries(bucket), expected, "np")
        ids[bucket] = unpack_ids(tensors["ids"])
        images.append(tensors["images"])
    return ids, np.concatenate(images)


def read_regenerated(paths: Paths, name: str, model: str, ids: dict[str, list[str]], spec: RemovalSpec) -> np.ndarray:
    """The images that a model generates from the queries' noise, uint8 [Q, C, H, W], in the order of `read_queries`."""
    images = []
    for bucket, queries in ids.items():
        expected = spec.regenerated(model, bucket, queries).digest()
        images.append(load_tensors(paths.regenerated(name, bucket), expected, "np")[0]["images"])
    return np.concatenate(images)
