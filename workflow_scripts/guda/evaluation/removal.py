"""Counterfactual removal: the effect on a query of retraining without the data that a method ranks first.

The test of AbU (Wang et al. 2024), with the controls of MUCS: random removal, and non-target queries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from guda.core.artifacts import read_csv
from guda.core.errors import DataError
from guda.core.paths import BASE, Paths, group_file, logo_model, removed_model
from guda.core.records import check_recorded
from guda.core.seeding import chosen
from guda.evaluation.bootstrap import bootstrap_interval
from guda.evaluation.image_metrics import mse, ssim
from guda.evaluation.ranking import first_groups, first_rows
from guda.evaluation.retrained import read_elbos, read_queries, read_regenerated
from guda.models.health import Health, read_healths, warn_of
from guda.specs import ExclusionSpec, FineTuneSpec, RemovalSpec, TrainSpec, digest_lines

CONTROL = "random_removal"
GROUPS, IMAGES = "groups", "images"
ROW = ["method", "unit", "k"]  # columns that identify a table row
COLUMNS = [*ROW, "query", "model"]


class Removed(NamedTuple):
    """The top k groups or images of a method for a query, which are removed together."""

    method: str
    unit: str  # GROUPS or IMAGES
    query: str
    names: list[str]  # of groups, or ids of training images


def top_groups(rankings: pd.DataFrame, method: str, queries: list[str], ks: list[int]) -> Iterator[Removed]:
    """Top groups by rankings.csv; ties are broken by a hash of (query, group)."""
    for query, groups in first_groups(rankings, method, queries, max(ks)).items():
        yield from (Removed(method, GROUPS, query, groups[:k]) for k in ks)


def top_images(
    blocks: Iterable[tuple[list[str], np.ndarray]], train_ids: list[str], method: str, queries: list[str], ks: list[int]
) -> Iterator[Removed]:
    """Top images by blocks of query ids and scores of training images [q, N]; ties are broken by a hash of (query, id).

    Raises DataError if fewer images are scored than are to be removed.
    """
    if len(train_ids) < max(ks):
        raise DataError(
            f"removal.images: {max(ks)} images cannot be removed, since {method} scores only {len(train_ids)}; choose "
            "smaller numbers, or let it score more"
        )
    wanted = set(queries)
    for ids, scores in blocks:
        for query, of_query in zip(ids, scores, strict=True):
            if query in wanted:
                first = first_rows(of_query, train_ids, max(ks), query)
                yield from (Removed(method, IMAGES, query, [train_ids[row] for row in first[:k]]) for k in ks)


def at_random(names: list[str], unit: str, queries: list[str], ks: list[int], seed: int) -> Iterator[Removed]:
    """Random removals by a hash of (seed, query, name), nested: a larger k also removes everything a smaller k does."""
    for query in queries:
        for k in ks:
            rows = chosen(names, k, CONTROL, seed, query)
            yield Removed(CONTROL, unit, query, [names[row] for row in rows])


def removal_sets(
    removals: Iterable[Removed], members: dict[str, set[str]], n_images: int, seed: int
) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """One row per removal with its model's name, and the ids that each newly trained model excludes.

    If a single group is removed, the oracle's model of this seed is used. Other models are named by the digest of the
    ids, so that equal sets are trained once, even across methods. Raises DataError if no image would be left.
    """
    rows, sets, models = [], {}, {}
    for removed in removals:
        names = frozenset(removed.names)
        if (removed.unit, names) not in models:
            models[removed.unit, names] = logo_model(seed, removed.names[0])
            if removed.unit == IMAGES or len(names) > 1:
                ids = sorted(names if removed.unit == IMAGES else set().union(*(members[name] for name in names)))
                if len(ids) == n_images:
                    raise DataError(
                        f"removal.groups: without {', '.join(sorted(names))} no training image is left; remove fewer"
                    )
                key = digest_lines(ids)
                models[removed.unit, names], sets[key] = removed_model(seed, key), ids
        row = (removed.method, removed.unit, len(removed.names), removed.query, models[removed.unit, names])
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS), sets


def digest_of(model: str, train: TrainSpec | FineTuneSpec, members: dict[str, str]) -> str:
    """Digest of the spec of a retrained model, from its name, its training spec and the groups' digests."""
    family, name = model.split("/")
    by_file = {group_file(group): excluded for group, excluded in members.items()}
    excluded = by_file[name] if family.startswith("logo-") else ExclusionSpec(members=name).digest()
    return train.model_copy(update={"excluded": excluded}).digest()


def worst_by_row(sets: pd.DataFrame, found: dict[str, Health]) -> pd.DataFrame:
    """`health_worst` of each table row, by ROW: the worst known health ratio of its models."""
    ratios = sets["model"].map({name: health.ratio for name, health in found.items()}).astype(float)
    return sets.assign(health_worst=ratios).groupby(ROW, sort=False)[["health_worst"]].max().reset_index()


def removal_table(
    sets: pd.DataFrame, queries: list[str], moved: Callable[[str], dict[str, np.ndarray]], n_bootstrap: int, seed: int
) -> pd.DataFrame:
    """One row per method, unit and k, averaged over the target queries.

    `moved` returns, for a model's name, the effects of its exclusion on all `queries`: columns with values [Q]. The
    table has each of these columns for the target query, with an interval over queries for the first, `loss_rise`; and
    their averages over all other queries.
    """
    place = {query: row for row, query in enumerate(queries)}
    effects = {model: pd.DataFrame(moved(model)) for model in sets["model"].unique()}
    rows = []
    for (method, unit, k), removals in sets.groupby(ROW, sort=False):
        at = [place[query] for query in removals["query"]]
        aimed = pd.DataFrame([effects[model].iloc[row] for model, row in zip(removals["model"], at, strict=True)])
        others = pd.DataFrame(
            [effects[model].drop(index=row).mean() for model, row in zip(removals["model"], at, strict=True)]
        )
        low, high = bootstrap_interval(aimed["loss_rise"], n_bootstrap, seed)
        row = {"method": method, "unit": unit, "k": k, "n_queries": len(removals)}
        row |= {"loss_rise": aimed["loss_rise"].mean(), "loss_rise_low": low, "loss_rise_high": high}
        row |= {str(name): value for name, value in aimed.drop(columns="loss_rise").mean().items()}
        row |= {f"others_{name}": value for name, value in others.mean().items()}
        rows.append(row)
    return pd.DataFrame(rows)


def removal_csv(spec: RemovalSpec, paths: Paths) -> pd.DataFrame:
    """removal.csv: how much worse queries are explained, and how far their images change. Raises ArtifactError."""
    check_recorded(paths.removal_sets(), spec.sets)
    sets = read_csv(paths.removal_sets())
    ids, images = read_queries(paths, spec.buckets)
    queries = [query for of_bucket in ids.values() for query in of_bucket]
    full = read_elbos(paths, BASE, spec.base, spec.seen, spec.elbo)

    def moved(name: str) -> dict[str, np.ndarray]:
        model = digest_of(name, spec.train, spec.members)
        rise = (full - read_elbos(paths, name, model, spec.seen, spec.elbo))[queries].to_numpy()
        if spec.generation is None:
            return {"loss_rise": rise, "mse": np.full(len(queries), np.nan), "ssim": np.full(len(queries), np.nan)}
        again = read_regenerated(paths, name, model, ids, spec)
        return {"loss_rise": rise, "mse": mse(images, again), "ssim": ssim(images, again)}

    table = removal_table(sets, queries, moved, spec.bootstrap_samples, spec.bootstrap_seed)
    models = {name: digest_of(name, spec.train, spec.members) for name in sets["model"].unique()}
    found = read_healths(paths, {BASE: spec.base} | models)
    warn_of("removal", found)
    return table.merge(worst_by_row(sets, found), on=ROW)
