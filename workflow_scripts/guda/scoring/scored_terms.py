"""ELBO terms taken from a file that has them at more diffusion steps."""

from __future__ import annotations

import numpy as np

from guda.core.artifacts import load_tensors, save_tensors
from guda.core.errors import ArtifactError
from guda.core.paths import record_of
from guda.core.records import read_record, write_record
from guda.models.noise_schedule import step_weights
from guda.specs import ElboSpec


def take_terms(scored: str, spec: ElboSpec, output: str, record: str) -> None:
    """Write the terms of `spec` from a file of the same model and images whose diffusion steps include them.

    A term depends only on its own step, so these equal recomputed values. The record's cost is what computing them
    would have taken: the steps' share. Raises ArtifactError if the file is damaged or lacks some of the terms.
    """
    import torch

    tensors, metadata = load_tensors(scored)
    found = ElboSpec.parse(metadata["spec"])
    rows = np.flatnonzero(np.isin(found.elbo.steps, spec.elbo.steps))
    window = {name: getattr(spec.elbo, name) for name in ("steps", "first", "last")}
    same = found.model_copy(update={"elbo": found.elbo.model_copy(update=window)}) == spec
    if not same or len(rows) != len(spec.elbo.steps):
        raise ArtifactError(f"{scored}: lacks the requested ELBO terms. Delete it and run snakemake again.")
    steps, before = np.array(spec.elbo.steps), read_record(record_of(scored), found.digest())
    provenance = {name: metadata[name] for name in ("query_ids", "model_sha256", "parent_sha256")}
    terms = {
        "kl": tensors["kl"][:, torch.from_numpy(rows)],
        "steps": torch.from_numpy(steps),
        "step_weights": torch.from_numpy(step_weights(steps, spec.elbo.first, spec.elbo.last)),
        "ids": tensors["ids"],
    }
    save_tensors(output, terms, spec, **provenance)
    share = len(rows) / len(found.elbo.steps)
    elapsed = {name: before[name] * share for name in ("seconds", "cpu_seconds") if name in before}
    write_record(record, spec, [output], evaluations=len(tensors["kl"]) * len(rows), **elapsed)
