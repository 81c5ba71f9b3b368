"""How well ELBO differences approximate likelihood differences."""

from __future__ import annotations

import numpy as np
import pandas as pd

from guda.core.artifacts import load_tensors, unpack_ids
from guda.core.errors import ArtifactError
from guda.core.paths import BASE, Paths
from guda.evaluation.bootstrap import bootstrap_interval, resamples
from guda.evaluation.metrics import top1
from guda.evaluation.scores import read_scores
from guda.specs import LikelihoodTableSpec

LEVEL = 0.95


def likelihood_differences(
    paths: Paths, models: dict[str, str], likelihoods: dict[str, str]
) -> tuple[list[str], np.ndarray]:
    """Ids of the queries, and log p(x; full) - log p(x; without k) for each probe, float64 [Q, G, P].

    `models` maps groups to model names, `likelihoods` maps model names, including the base model's, to the digests of
    their files' specs. Raises ArtifactError.
    """
    ids, full, base = _read(paths, BASE, likelihoods)
    columns = []
    for model in models.values():
        model_ids, without, metadata = _read(paths, model, likelihoods)
        if model_ids != ids or metadata.get("parent_sha256") not in (None, "", base["model_sha256"]):
            raise ArtifactError(
                f"{paths.likelihood(model)}: its queries, or the base checkpoint that its model was unlearned from, "
                "differ from those of the base model's file. Delete both and run snakemake again."
            )
        columns.append(full - without)
    return ids, np.stack(columns, axis=1)


def _read(paths: Paths, model: str, likelihoods: dict[str, str]) -> tuple[list[str], np.ndarray, dict[str, str]]:
    tensors, metadata = load_tensors(paths.likelihood(model), likelihoods[model], "np")
    return unpack_ids(tensors["ids"]), tensors["log_likelihood"], metadata


def likelihood_row(bounds: np.ndarray, likelihoods: np.ndarray, n_bootstrap: int, seed: int) -> dict[str, float]:
    """Agreement of ELBO and likelihood differences between the full model and those without a group.

    `bounds` [Q, G]; `likelihoods` [Q, G, P] for each of P probes, whose mean is the estimate. Correlations are over all
    (query, group) pairs, with intervals by a bootstrap over queries, which keeps a query's groups together. `probe_se`
    is the root mean square of the estimates' standard errors (NaN for one probe).
    """
    n_queries, n_groups, n_probes = likelihoods.shape
    estimates = likelihoods.mean(2)
    row = {"n_queries": n_queries, "n_pairs": n_queries * n_groups}
    for name, correlation in (("pearson", pearson), ("spearman", spearman)):
        drawn = [correlation(bounds[rows], estimates[rows]) for rows in resamples(n_queries, n_bootstrap, seed)]
        low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        row |= {name: correlation(bounds, estimates), f"{name}_low": float(low), f"{name}_high": float(high)}
    hits = top1(bounds, estimates)
    low, high = bootstrap_interval(hits, n_bootstrap, seed)
    variances = likelihoods.var(2, ddof=1) / n_probes if n_probes > 1 else np.array(np.nan)
    return row | {
        "top1": float(hits.mean()),
        "top1_low": low,
        "top1_high": high,
        "probe_se": float(np.sqrt(variances.mean())),
    }


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation over all entries of two matrices of the same shape; 0 if either is constant."""
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / norm) if norm > 0 else 0.0


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation over all entries, with average ranks for ties."""
    from scipy.stats import rankdata

    return pearson(rankdata(a), rankdata(b))


def likelihood_csv(spec: LikelihoodTableSpec, paths: Paths) -> pd.DataFrame:
    """likelihood.csv: ELBO differences against likelihood differences, by method. Raises ArtifactError."""
    rows = []
    for method in spec.methods:
        models = spec.models[method]
        queries, likelihoods = likelihood_differences(paths, models, spec.likelihoods)
        scores = read_scores(paths.scores(spec.files[method]), spec.scores[method])
        at_queries = [scores.queries.index(query) for query in queries]
        at_groups = [scores.groups.index(group) for group in models]
        bounds = scores.score[at_queries][:, at_groups]
        rows.append({"method": method} | likelihood_row(bounds, likelihoods, spec.bootstrap_samples, spec.seed))
    return pd.DataFrame(rows)
