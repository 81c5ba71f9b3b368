"""The table of variants: their settings, and their agreement with every oracle seed."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from guda.core.paths import Paths
from guda.core.records import read_record
from guda.evaluation.agreement import agreement, mean_agreement
from guda.evaluation.metrics_table import CEILING, score_matrices
from guda.evaluation.ranking import rankings_frame
from guda.evaluation.relevance import beyond_doubt
from guda.evaluation.scores import read_scores
from guda.models.health import worst_of
from guda.specs import SweepSpec


def sweep_table(
    matrices: dict[str, np.ndarray], seconds: dict[str, float], health: dict[str, float], spec: SweepSpec
) -> pd.DataFrame:
    """One row per variant and oracle, then each oracle's ceiling: the other oracles' mean agreement with it.

    `matrices` holds scores [n, G], `seconds` the build seconds and `health` the worst health ratio (NaN: unknown) of
    variants and oracles by name. `chosen` marks each method's variant with the best mean of kappa and contrast_spearman
    against the second oracle; among equals, the first one listed.
    """
    decisive = beyond_doubt([matrices[name] for name in spec.oracles], spec.metrics.decisive_ratio)

    def measured(name: str, oracle: str) -> dict[str, float]:
        resampling = {"n_bootstrap": spec.metrics.bootstrap_samples, "seed": spec.metrics.seed}
        return agreement(matrices[name], matrices[oracle], *decisive, **resampling)

    found = {(name, oracle): measured(name, oracle) for name in spec.variants for oracle in spec.oracles}
    chosen = chosen_variants({name: found[name, spec.oracles[1]] for name in spec.variants}, spec.methods)
    rows = []
    for (name, oracle), metrics in found.items():
        row = {"variant": name, "method": spec.methods[name], "oracle": oracle, "chosen": name in chosen}
        rows.append(
            row | spec.variants[name] | metrics | {"build_seconds": seconds[name], "health_worst": health[name]}
        )
    for oracle in spec.oracles:
        others = [name for name in spec.oracles if name != oracle]
        row = {"variant": CEILING, "method": CEILING, "oracle": oracle, "chosen": False}
        ceiling = mean_agreement([measured(other, oracle) for other in others])
        build = {"build_seconds": float(np.mean([seconds[other] for other in others]))}
        rows.append(row | ceiling | build | {"health_worst": worst_of(health[other] for other in others)})
    first = ["variant", "method", "oracle", "chosen"]
    settings = list(dict.fromkeys(key for shown in spec.variants.values() for key in shown))
    names = list(next(iter(found.values())))
    # Settings as text, so that integers beside empty values stay integers.
    frame = pd.DataFrame(rows)[[*first, *settings, *names, "build_seconds", "health_worst"]]
    return frame.astype(dict.fromkeys(settings, object)).astype({"n_queries": int, "n_groups": int})


def chosen_variants(metrics: dict[str, dict[str, float]], methods: dict[str, str]) -> set[str]:
    """Each method's best variant, given each variant's agreement with the oracle used for selection.

    Kappa measures whether the right group is first, contrast_spearman whether effects have the right sizes. Both are 0
    for constant scores and at most 1, so neither dominates their sum.
    """
    names = {method: [name for name in metrics if methods[name] == method] for method in methods.values()}
    merit = {name: found["kappa"] + found["contrast_spearman"] for name, found in metrics.items()}
    return {max(variants, key=lambda name: merit[name]) for variants in names.values()}


def sweep_csv(spec: SweepSpec, paths: Paths) -> pd.DataFrame:
    """sweep.csv: every variant against every oracle seed. Raises ArtifactError."""
    frames, seconds, health = [], {}, {}
    for name, expected in spec.scores.items():
        scores = read_scores(paths.scores(name), expected)
        frames.append(rankings_frame(name, scores.queries, scores.groups, scores.score, None, None))
        record = read_record(paths.scores_record(name), expected)
        seconds[name], health[name] = record["build_seconds"], record.get("health_worst", math.nan)
    _, matrices = score_matrices(pd.concat(frames))
    return sweep_table(matrices, seconds, health, spec)
