"""The tables of agreement with the oracle and of cost, with one row per method."""

from __future__ import annotations

import numpy as np
import pandas as pd

from guda import config
from guda.core.artifacts import ANEW, DIVERGED, not_finite, read_long_csv
from guda.core.errors import ArtifactError, DataError
from guda.core.paths import Paths, record_of
from guda.core.records import check_recorded, read_record
from guda.evaluation.agreement import agreement, mean_agreement
from guda.evaluation.metrics import first_shares
from guda.evaluation.relevance import beyond_doubt
from guda.evaluation.scores import NAMES, read_numbers
from guda.models.health import worst_of
from guda.specs import MetricsSpec, RankingsSpec

COSTS = [f"{part}_{cost}" for cost in ("seconds", "cpu_seconds", "evaluations") for part in ("build", "query")]
HEALTH = ["health_median", "health_worst", "forgetting_median", "forgetting_worst"]
CEILING = "ceiling"
CONSTANT = "constant"
VOTERS = 5


def score_matrices(rankings: pd.DataFrame) -> tuple[list[str], dict[str, np.ndarray]]:
    """Query ids, and each method's scores [n_queries, n_groups], all in the same order of queries and groups.

    Methods are in the order of the table. NaN for missing scores. Raises ValueError if a method has two
    scores for a query and a group.
    """
    names, cell = [], np.zeros(len(rankings), dtype=np.int64)
    for column in ("method", "query", "group"):
        found = rankings[column].astype("category").cat
        names.append(sorted(found.categories))
        cell *= len(names[-1])
        cell += np.argsort(np.argsort(found.categories))[found.codes]  # each name's position among the sorted names
    matrices = np.full([len(each) for each in names], np.nan)
    matrices.put(cell, rankings["score"])
    if np.count_nonzero(~np.isnan(matrices)) < np.count_nonzero(rankings["score"].notna()):
        raise ValueError("a method has several scores for a query and a group")
    by_method = dict(zip(names[0], matrices, strict=True))
    return names[1], {name: by_method[name] for name in rankings["method"].unique()}


def constant_scores(oracle: np.ndarray) -> np.ndarray:
    """Scores [n, G] that rank the oracle's most frequent first group first for every query; the others tie at 0.

    Equally frequent groups tie for first place.
    """
    times = first_shares(oracle).sum(axis=0)
    return np.tile(np.isclose(times, times.max(), rtol=1e-12, atol=0).astype(np.float64), (len(oracle), 1))


def metrics_table(
    matrices: dict[str, np.ndarray],
    oracles: list[str],
    methods: list[str],
    costs: dict[str, dict[str, float]],
    settings: config.Metrics,
    rows: np.ndarray | None = None,
) -> pd.DataFrame:
    """Agreement of every method with the first oracle, its cost, and its models' health.

    `matrices` holds scores [n, G] by name; `rows` selects queries (default: all). The row `constant` ranks first, for
    every query, the group that the first oracle most often ranks first among these queries, at no cost: only what a
    method achieves beyond it is based on the queries. The row `ceiling`, present with at least two oracle seeds, is the
    mean agreement of the other oracles with the first, which no method can be expected to exceed. `speedup` is the
    first oracle's build and query evaluations over the method's, NaN if the method has none. The scores of `constant`
    have no effect size.
    """
    if rows is not None:
        matrices = {name: matrix[rows] for name, matrix in matrices.items()}
    reference, others = oracles[0], oracles[1:]
    decisive = beyond_doubt([matrices[name] for name in oracles], settings.decisive_ratio)

    def measured(scores: np.ndarray) -> dict[str, float]:
        return agreement(
            scores,
            matrices[reference],
            *decisive,
            n_bootstrap=settings.bootstrap_samples,
            seed=settings.seed,
        )

    table = {name: measured(matrices[name]) | costs[name] for name in [reference, *methods]}
    free = dict.fromkeys(COSTS, 0) | dict.fromkeys([*HEALTH, "size_ratio"], np.nan)
    table[CONSTANT] = measured(constant_scores(matrices[reference])) | free
    if others:
        mean = {key: float(np.mean([costs[name][key] for name in others])) for key in (*COSTS, "health_median")}
        worst = {"health_worst": worst_of(costs[name]["health_worst"] for name in others)}
        table[CEILING] = mean_agreement([measured(matrices[name]) for name in others]) | mean | worst
    frame = pd.DataFrame.from_dict(table, orient="index").rename_axis("method").reset_index()
    evaluations = frame["build_evaluations"] + frame["query_evaluations"]
    speedup = evaluations[frame["method"] == reference].item() / evaluations.where(evaluations > 0)
    frame.insert(list(frame.columns).index("health_median"), "speedup", speedup)
    counts = ["n_queries", "n_groups", "build_evaluations", "query_evaluations"]
    return frame.astype(dict.fromkeys(counts, int))


def sources_of_content(table: pd.DataFrame, content: str, groups: dict[str, set[str]]) -> dict[str, str]:
    """'sole' or 'shared' for every value of the column `content`: whether one group contains all of its images.

    Images in no group or in several make a content shared. Raises DataError for an unknown column.
    """
    if content not in table.columns:
        raise DataError(
            f"metrics.content: no column {content!r} in the training table, which has {list(table.columns)}"
        )
    sources = {}
    for value, rows in table.groupby(content):
        ids = set(rows["id"])
        holders = [members for members in groups.values() if members & ids]
        sources[str(value)] = "sole" if len(holders) == 1 and ids <= holders[0] else "shared"
    return sources


def vote(neighbors: np.ndarray, contents: np.ndarray) -> np.ndarray:
    """The content of each query by majority vote of its VOTERS nearest training images; the nearest breaks ties.

    `neighbors` int [Q, K] rows into `contents` [N], nearest first.
    """
    winners = []
    for nearest in contents[neighbors[:, :VOTERS]]:
        values, firsts, counts = np.unique(nearest, return_index=True, return_counts=True)
        winners.append(values[np.lexsort((firsts, -counts))[0]])
    return np.array(winners)


def read_rankings(path: str, spec_digest: str) -> pd.DataFrame:
    """rankings.csv, with names as text and scores at full precision. Raises ArtifactError."""
    check_recorded(path, spec_digest)
    frame = read_numbers(path, ("rank",))
    return frame.astype(dict.fromkeys(NAMES, object))


def read_score_matrices(path: str, spec_digest: str) -> tuple[list[str], dict[str, np.ndarray]]:
    """`score_matrices` of rankings.csv, without loading the whole table. Raises ArtifactError."""
    check_recorded(path, spec_digest)
    frame = read_long_csv(path, NAMES, ("score",))
    if problem := not_finite(frame["score"].to_numpy(), "score"):
        raise ArtifactError(f"{path}: {problem}. {DIVERGED} {ANEW}")
    return score_matrices(frame)


def read_costs(rankings: str, files: dict[str, str], paths: Paths) -> dict[str, dict[str, float]]:
    """Each method's columns of cost and health, from the records of its ranked scores.

    `rankings` is the digest of the table's spec, `files` has the name of each method's score file. Health is NaN for
    methods without models to compare with the base model, and so are values that older records lack. Raises
    ArtifactError.
    """
    ranked = RankingsSpec.parse(read_record(record_of(paths.rankings()), rankings)["spec"])
    records = {name: read_record(paths.scores_record(file), ranked.scores[name]) for name, file in files.items()}
    return {
        name: {column: record.get(column, np.nan) for column in (*COSTS, *HEALTH)} for name, record in records.items()
    }


def metrics_csv(spec: MetricsSpec, paths: Paths) -> pd.DataFrame:
    """metrics.csv: every method's agreement with the oracle, and its cost. Raises ArtifactError."""
    _, matrices = read_score_matrices(paths.rankings(), spec.rankings)
    costs = read_costs(spec.rankings, spec.files, paths)
    return metrics_table(matrices, spec.oracles, spec.methods, costs, spec.settings)
