"""quality.csv and curves.csv: quality of the base model and of unlearning."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from guda.core.artifacts import load_tensors, unpack_ids
from guda.core.paths import BASE, CALIBRATION, TRAINING, Paths
from guda.core.records import read_record
from guda.data.groups import read_members
from guda.evaluation.two_sample import MOST, two_samples
from guda.models import health
from guda.models.quality import base_remark, known, unlearned_remark
from guda.specs import CurvesSpec, QualitySpec

EMBEDDING = "embedding"
BASE_COLUMNS = ("train_loss", "held_out_loss", "falls", "n_generated")
TWO_SAMPLE = ("precision", "precision_floor", "auroc", "auroc_floor", "kid", "kid_floor")
UNLEARNED_COLUMNS = ("health_ratio", "retained_ratio", "own_ratio", "forgetting")
NUMBERS = (*BASE_COLUMNS, *TWO_SAMPLE, *UNLEARNED_COLUMNS)


def quality_csv(spec: QualitySpec, paths: Paths) -> pd.DataFrame:
    """quality.csv: one row for the base model and one for each unlearned model. Raises ArtifactError."""
    base = read_record(paths.model_record(BASE), spec.base)
    rows = [base_row(spec, base, paths), *unlearned_rows(spec, base, paths)]
    table = pd.DataFrame(rows, columns=["model", "group", *NUMBERS, "remark"])
    return table.astype(dict.fromkeys(NUMBERS, float)).round(5)


def base_row(spec: QualitySpec, record: dict[str, Any], paths: Paths) -> dict[str, Any]:
    """The base model's loss on training and held-out images, and two-sample statistics of its generated images."""
    checked = record.get("learning_curve", {}).get("checked", {})
    row: dict[str, Any] = dict.fromkeys(NUMBERS, math.nan) | {"model": BASE, "remark": spec.unseen}
    row["train_loss"] = checked["training"][-1] if checked else record.get("health", {}).get("loss", math.nan)
    row["held_out_loss"] = checked.get("held_out", [math.nan])[-1]
    row["falls"] = checked.get("falls", math.nan)
    if spec.features:
        ids, training = read_features(spec, paths, TRAINING)
        generated = [read_features(spec, paths, bucket)[1] for bucket in spec.features if bucket != TRAINING]
        found = two_samples(np.concatenate(generated), training, ids)
        if found is not None:
            row["n_generated"] = min(MOST, sum(map(len, generated)))
            for name, values in zip(found[0]._fields, zip(*found, strict=True), strict=True):
                row[name], row[f"{name}_floor"] = values
            row["remark"] = base_remark(row)
    return row


def read_features(spec: QualitySpec, paths: Paths, images: str) -> tuple[list[str], np.ndarray]:
    """Ids and features float32 [n, d] of the training images or of a bucket."""
    tensors, _ = load_tensors(paths.features(EMBEDDING, images), spec.features[images], "np")
    return unpack_ids(tensors["ids"]), tensors["features"]


def unlearned_rows(spec: QualitySpec, base: dict[str, Any], paths: Paths) -> list[dict[str, Any]]:
    """The loss increase of each unlearned model on retained images and on its group's own."""
    forgotten: dict[str, float | None] = {}
    for method, expected in spec.scores.items():
        found = read_record(paths.scores_record(method), expected).get("forgetting", {})
        forgotten |= {model: found.get(spec.groups[model]) for model in spec.models_of[method]}
    rows = []
    for model, expected in spec.models.items():
        row = dict.fromkeys(NUMBERS, math.nan)
        record = read_record(paths.model_record(model), expected)
        if "health" in record:
            row["health_ratio"] = known(health.ratio(record["health"], base.get("health", {})))
        if model in spec.terms:
            row["retained_ratio"], row["own_ratio"] = loss_ratios(spec, model, paths)
        row["forgetting"] = known(forgotten.get(model))
        rows.append({"model": model, "group": spec.groups[model], "remark": unlearned_remark(row)} | row)
    return rows


def loss_ratios(spec: QualitySpec, model: str, paths: Paths) -> tuple[float, float]:
    """ELBO terms of calibration images relative to the base model's: of retained images, and of the group's own.

    NaN if the calibration sample has none.
    """
    before, _ = load_tensors(paths.elbo(BASE, CALIBRATION), spec.terms[BASE], "np")
    after, _ = load_tensors(paths.elbo(model, CALIBRATION), spec.terms[model], "np")
    group = spec.groups[model]
    members = read_members(paths.group(group), spec.members[group])
    own = np.array([sample_id in members for sample_id in unpack_ids(before["ids"])])
    lost, had = (tensors["kl"].astype(np.float64).sum(1) for tensors in (after, before))
    retained, held = (float(lost[rows].sum() / had[rows].sum()) if rows.any() else math.nan for rows in (~own, own))
    return retained, held


def curves_csv(spec: CurvesSpec, paths: Paths) -> pd.DataFrame:
    """curves.csv: the learning curves in the models' records. Raises ArtifactError."""
    tables = []
    for model, expected in spec.models.items():
        curve = read_record(paths.model_record(model), expected).get("learning_curve", {})
        table = pd.DataFrame({"step": curve.get("steps", []), "loss": curve.get("loss", [])})
        checked = pd.DataFrame(curve.get("checked", {})).reindex(columns=["steps", "training", "held_out"])
        table = table.merge(checked, left_on="step", right_on="steps", how="left").drop(columns="steps")
        table.insert(0, "model", model)
        tables.append(table)
    found = pd.concat(tables).rename(columns={"training": "checked_training", "held_out": "checked_held_out"})
    return found.astype({"step": int})
