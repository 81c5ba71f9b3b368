"""Contents of the HTML report, gathered from the files under results."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

import guda
from guda.core.artifacts import load_tensors, read_csv, unpack_ids
from guda.core.paths import BASE, Paths, record_of
from guda.core.records import check_recorded, read_record
from guda.data.training_set import read_training_set
from guda.evaluation.metrics_table import read_rankings
from guda.evaluation.quality import NUMBERS
from guda.evaluation.ranking import first_groups
from guda.methods import get_method, method_of
from guda.methods.counterfactual.compute import mean_terms
from guda.methods.counterfactual.plan import Unlearned
from guda.methods.similarity.compute import similarities
from guda.models import forgetting
from guda.models.quality import base_remark
from guda.report.pictures import data_uri, named_images, overlay_uri
from guda.report.verdicts import verdict
from guda.specs import PageSpec, RankingsSpec

SHOWN_METRICS = {
    "top1": "top1",
    "kappa": "kappa",
    "contrast_spearman": "contrast",
    "effect_spearman": "effect",
    "decisive_auroc": "decisive AUROC",
    "size_ratio": "size ratio",
    "speedup": "speedup",
    "health_worst": "worst health",
    "forgetting_worst": "least forgetting",
}
SHOWN_QUALITY = {
    "model": "model",
    "group": "without",
    "train_loss": "loss",
    "held_out_loss": "held-out loss",
    "precision": "precision",
    "precision_floor": "floor",
    "health_ratio": "health",
    "own_ratio": "own images",
    "retained_ratio": "retained images",
    "forgetting": "forgetting",
    "remark": "remark",
}
CAPTION = (
    "How well each method agrees with retraining without each group: the share of images with the same first group "
    "(top1, with its 95 % interval over images), the same corrected for chance (kappa), the rank correlation of effect "
    "sizes (contrast: the first group's score minus the mean over groups), and how many times fewer network "
    "evaluations it needs than the oracle (speedup). The row 'ceiling' compares one oracle seed with another."
)
COSTS = {
    "build_seconds": "seconds (one-time)",
    "query_seconds": "seconds (for these images)",
    "build_evaluations": "evaluations (one-time)",
    "query_evaluations": "evaluations (for these images)",
}
BEYOND_NOISE = 0.05  # p-value below which a pixel is significant
DIGITS = 5  # significant digits of a score


def page_content(spec: PageSpec, paths: Paths) -> dict[str, Any]:
    """Input of `guda.report.page`. Raises ArtifactError for a file that is missing, damaged or has another spec."""
    rankings = read_rankings(paths.rankings(), spec.rankings)
    queries, groups = sorted(rankings["query"].unique()), list(spec.members)
    columns = _matrices(rankings, queries, groups)
    methods = [*spec.methods, *spec.oracles]
    scores = {name: columns["score"][name] for name in methods}
    sure = {name: _of_first(columns["p_top1"][name], scores[name]) for name in methods}
    images: dict[str, np.ndarray] = {}
    for bucket, expected in spec.buckets.items():
        images |= named_images(paths.queries(bucket), expected)
    training = read_training_set(paths.images(), spec.images)
    held = [training.in_group(paths.group(group), expected).numpy() for group, expected in spec.members.items()]
    first = methods[0]
    units = {name: get_method(spec.files[name]).unit for name in methods}
    nobody = {name: _of_first(columns["p_none"][name], scores[name]) for name in methods}
    best = first_groups(rankings, first, queries[: spec.settings.detailed], spec.settings.groups)
    wanted = {query: [groups.index(group) for group in each] for query, each in best.items()}
    likes, shown = _nearest(spec, {query: images[query] for query in wanted}, wanted, training.images.numpy(), held)
    records = _records(spec, paths)
    return {
        "title": f"Which groups of training data are these images attributable to? {spec.title}".strip(),
        "summary": f"{len(queries)} images, {len(groups)} groups, {len(training.ids)} training images.",
        "notes": _notes(spec, paths, records),
        "groups": groups,
        "n_images": [int(rows.sum()) for rows in held],
        "methods": methods,
        "units": units,
        "queries": queries,
        "pictures": [data_uri(images[query]) for query in queries],
        "known": _known(spec, paths, queries),
        "scores": {name: _rounded(values) for name, values in scores.items()},
        "se": {name: _rounded(columns["se"][name]) for name in methods if not np.isnan(columns["se"][name]).any()},
        "sure": {name: _rounded(values, 3) for name, values in sure.items() if not np.isnan(values).all()},
        "none": {name: _rounded(values, 3) for name, values in nobody.items() if not np.isnan(values).all()},
        "largest": {name: float(np.abs(values).max()) for name, values in scores.items()},
        "verdicts": [
            verdict(groups, row, p, units[first], none)
            for row, p, none in zip(scores[first], _numbers(sure[first]), _numbers(nobody[first]), strict=True)
        ],
        "nearest": [likes.get(query) for query in queries],
        "training": {
            "ids": [training.ids[row] for row in shown],
            "pictures": [data_uri(training.images[row].numpy()) for row in shown],
        },
        "redrawn": _redrawn(spec, paths, queries, groups),
        "maps": _maps(spec, paths, queries, groups),
        "schedule": _schedule(spec, paths, records),
        "metrics": _metrics(spec, paths),
        "quality": _table(paths.quality(), spec.quality, SHOWN_QUALITY),
        "curve": _curve(spec, paths),
        "costs": list(COSTS.values()),
        "origin": [{"name": name, "costs": [record.get(cost) for cost in COSTS]} for name, record in records.items()],
        "specs": [
            [f"the score file of {name}", json.dumps(json.loads(record["spec"]), indent=1)]
            for name, record in records.items()
        ],
        "versions": _versions(),
    }


def _matrices(rankings: pd.DataFrame, queries: list[str], groups: list[str]) -> dict[str, dict[str, np.ndarray]]:
    """Columns of the rankings by column and method, float64 [queries, groups]."""
    found = {}
    for column in ("score", "se", "p_top1", "p_none"):
        wide = rankings.pivot(index=["method", "query"], columns="group", values=column)[groups]
        found[column] = {name: wide.loc[name].reindex(queries).to_numpy() for name in rankings["method"].unique()}
    return found


def _of_first(values: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The value of the group with the highest score, [n]."""
    return values[np.arange(len(scores)), scores.argmax(axis=1)]


def _numbers(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values.tolist()]


def _rounded(values: np.ndarray, digits: int = DIGITS) -> list[float | None]:
    """Flattened and rounded to significant digits, which keeps the page small; None for NaN."""
    return [None if np.isnan(value) else float(f"{value:.{digits}g}") for value in values.ravel().tolist()]


def _known(spec: PageSpec, paths: Paths, queries: list[str]) -> dict[str, list[str]]:
    """Metadata of the queries from their table, by column."""
    check_recorded(paths.query_table(), spec.query_table)
    table = read_csv(paths.query_table()).set_index("query").loc[queries]
    return {str(name): list(table[name]) for name in table.columns.drop(["bucket", "file", "sha256"])}


def _nearest(
    spec: PageSpec,
    images: dict[str, np.ndarray],
    wanted: dict[str, list[int]],
    training: np.ndarray,
    held: list[np.ndarray],
) -> tuple[dict[str, list[tuple[int, list[int]]]], list[int]]:
    """For each image id, the wanted groups with indices of their nearest training images into the second list.

    `held` marks the training images of each group, bool [N].
    """
    rows: dict[int, int] = {}
    found: dict[str, list[tuple[int, list[int]]]] = {}
    blocks = similarities(np.stack(list(images.values())), training, "euclidean")
    for query, similar in zip(images, (row for block in blocks for row in block), strict=True):
        nearest = [(group, _best_of(similar, held[group], spec.settings.nearest)) for group in wanted[query]]
        found[query] = [(group, [rows.setdefault(row, len(rows)) for row in each]) for group, each in nearest]
    return found, list(rows)


def _redrawn(spec: PageSpec, paths: Paths, queries: list[str], groups: list[str]) -> dict[int, dict[int, str]]:
    """By image and group index, the sample from the image's noise by the model without this group."""
    if not spec.redrawn:
        return {}
    tensors, _ = load_tensors(paths.redrawn(), spec.redrawn, "np")
    found: dict[int, dict[int, str]] = {}
    named = zip(unpack_ids(tensors["ids"]), unpack_ids(tensors["groups"]), tensors["images"], strict=True)
    for query, group, image in named:
        found.setdefault(queries.index(query), {})[groups.index(group)] = data_uri(image)
    return found


def _maps(spec: PageSpec, paths: Paths, queries: list[str], groups: list[str]) -> dict[int, dict[int, dict[str, str]]]:
    """By image and group index, an overlay that shows where in the image the evidence lies."""
    if not spec.maps:
        return {}
    tensors, _ = load_tensors(paths.maps(), spec.maps, "np")
    found: dict[int, dict[int, dict[str, str]]] = {}
    ids = unpack_ids(tensors["ids"])
    largest: dict[str, float] = {}
    for query, values in zip(ids, tensors["maps"], strict=True):  # all groups of an image share one scale
        largest[query] = max(largest.get(query, np.finfo(float).tiny), float(np.abs(values).max()))
    named = zip(ids, unpack_ids(tensors["groups"]), tensors["maps"], tensors["p"], strict=True)
    for query, group, values, p in named:
        share = f"{100 * (p <= BEYOND_NOISE).mean():.0f} % of pixels significant"
        shown = {"overlay": overlay_uri(values, p <= BEYOND_NOISE, largest[query]), "said": share}
        found.setdefault(queries.index(query), {})[groups.index(group)] = shown
    return found


def _schedule(spec: PageSpec, paths: Paths, records: dict[str, dict[str, Any]]) -> dict[str, list[float]] | None:
    """Mean contribution over images of each diffusion step to the first group's score, by the unlearning method."""
    if not spec.unlearned:
        return None
    scored = method_of(Unlearned, spec.unlearned).parse(records[spec.unlearned]["spec"])
    first, parts = next(iter(scored.runs)), []
    for bucket, samples in first.buckets.items():
        _, terms = mean_terms(scored, paths, bucket, samples)
        parts.append(terms[np.arange(len(terms)), terms.sum(axis=2).argmax(axis=1)])
    mean = np.concatenate(parts).mean(axis=0)
    return {"steps": list(map(float, first.elbo.steps)), "nats": [float(f"{value:.4g}") for value in mean]}


def _best_of(similar: np.ndarray, among: np.ndarray, count: int) -> list[int]:
    candidates = np.flatnonzero(among)
    return candidates[np.argsort(-similar[candidates], kind="stable")[:count]].tolist()


def _metrics(spec: PageSpec, paths: Paths) -> dict[str, Any] | None:
    """The main columns of metrics.csv, as text or numbers; None if no model was retrained."""
    if not spec.metrics:
        return None
    check_recorded(paths.metrics(), spec.metrics)
    table = read_csv(paths.metrics(), ("build_evaluations", "query_evaluations", *SHOWN_METRICS))
    low, high = table["top1_low"].astype(float), table["top1_high"].astype(float)
    shown = table[list(SHOWN_METRICS)].astype(object).where(table[list(SHOWN_METRICS)].notna(), None)
    top1 = [f"{value:.3f} ({a:.2f} - {b:.2f})" for value, a, b in zip(table["top1"], low, high, strict=True)]
    rows = shown.assign(top1=top1).values.tolist()
    cost = (table["build_evaluations"] + table["query_evaluations"]).tolist()
    points = zip(table["method"], cost, table["kappa"], strict=True)
    return {
        "caption": CAPTION,
        "columns": ["method", *SHOWN_METRICS.values()],
        "rows": [[name, *row] for name, row in zip(table["method"], rows, strict=True)],
        "points": [
            {"method": name, "evaluations": spent, "kappa": kappa}
            for name, spent, kappa in points
            if name != "logo" and not np.isnan([spent, kappa]).any()
        ],
    }


def _table(path: str, expected: str, shown: dict[str, str]) -> dict[str, Any]:
    """Some columns of a table under the page's column titles; values as text."""
    check_recorded(path, expected)
    table = read_csv(path)
    return {
        "columns": list(shown.values()),
        "rows": [[_short(value) for value in row] for row in table[list(shown)].values],
    }


def _short(value: str) -> str:
    """A number with three significant digits, other text unchanged."""
    try:
        return f"{float(value):.3g}"
    except ValueError:
        return value


def _curve(spec: PageSpec, paths: Paths) -> dict[str, list[float]] | None:
    """Training loss of the base model by step; None if its record has no curve."""
    check_recorded(paths.curves(), spec.curves)
    table = read_csv(paths.curves(), ("step", "loss"))
    base = table[table["model"] == BASE].dropna(subset=["loss"])
    return {"steps": base["step"].tolist(), "loss": base["loss"].tolist()} if len(base) > 1 else None


def _records(spec: PageSpec, paths: Paths) -> dict[str, dict[str, Any]]:
    """The record of each method's scores, by the method's name in the tables."""
    ranked = RankingsSpec.parse(read_record(record_of(paths.rankings()), spec.rankings)["spec"])
    return {name: read_record(paths.scores_record(file), ranked.scores[name]) for name, file in ranked.files.items()}


def _notes(spec: PageSpec, paths: Paths, records: dict[str, dict[str, Any]]) -> list[str]:
    """Warnings that a reader should know before trusting the scores."""
    check_recorded(paths.quality(), spec.quality)
    models: Any = read_csv(paths.quality(), numbers=NUMBERS)
    remark = base_remark(models[models["model"] == BASE].iloc[0])
    return [f"base model: {remark}"] * bool(remark) + [
        sentence
        for name, record in records.items()
        for sentence in forgetting.describe(name, record.get("forgetting", {}))
    ]


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {"guda-workflow": guda.__version__} | {name: version(name) for name in ("torch", "diffusers", "numpy")}
