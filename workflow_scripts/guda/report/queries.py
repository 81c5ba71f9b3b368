"""The figure of query images with the groups that they owe themselves to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from guda.core.artifacts import load_tensors, unpack_ids
from guda.core.paths import Paths
from guda.core.seeding import derive_seed
from guda.evaluation.metrics_table import read_rankings
from guda.evaluation.ranking import first_rows
from guda.specs import FigureSpec

INK, ORACLE, METHOD = "#333333", "#b0b7c3", "#2a6fbb"
LINEAR_NATS = 5


def query_figure(images: dict[str, np.ndarray], rankings: pd.DataFrame, method: str, oracle: str, top: int) -> Figure:
    """A matplotlib figure, one column a query: its image above its `top` groups by `method`, with the oracle's scores.

    Without an oracle ('') the method's alone. `images` maps query ids to uint8 [C, H, W]; `rankings` is the table of
    rankings.csv. Ties are broken by a hash of (query, group).
    """
    figure = Figure(figsize=(1.45 * len(images), 3.5), layout="constrained")
    axes = figure.subplots(2, len(images), squeeze=False, height_ratios=[1, 1.25])
    drawn = rankings[rankings["query"].isin(list(images)) & rankings["method"].isin([method, oracle])]
    limits = 1.1 * min(0, drawn["score"].min()), 1.1 * drawn["score"].max()
    scores = rankings.set_index(["method", "query", "group"])["score"]
    for column, (query, image) in enumerate(images.items()):
        picture, bars = axes[:, column]
        pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
        picture.imshow(pixels, cmap="gray", vmin=0, vmax=255)
        picture.set_axis_off()

        by_group = scores[method, query]
        first = by_group.iloc[first_rows(by_group, by_group.index, top, query)]
        positions = np.arange(len(first))
        if oracle:
            bars.barh(positions - 0.2, first, height=0.36, color=METHOD)
            bars.barh(positions + 0.2, scores[oracle, query][first.index], height=0.36, color=ORACLE)
        else:
            bars.barh(positions, first, height=0.6, color=METHOD)
        bars.set_yticks(positions, first.index, fontsize=8, parse_math=False)  # a name may hold dollars
        bars.invert_yaxis()
        # One scale for all queries, so that sizes compare: linear up to LINEAR_NATS, logarithmic beyond.
        bars.set_xscale("symlog", linthresh=LINEAR_NATS, linscale=1.5)
        bars.set_xlim(*limits)
        ticks = [tick for tick in (0, 10, 100, 1000, 10000) if tick <= limits[1]]
        bars.set_xticks(ticks, map(str, ticks))
        bars.axvline(0, color=INK, linewidth=0.6)
        bars.tick_params(axis="x", labelsize=7)
        bars.spines[["top", "right", "left"]].set_visible(False)
        bars.tick_params(axis="y", length=0)
    retrained = [_patch(ORACLE, f"{oracle} (retrained without the group)")] if oracle else []
    figure.legend(
        handles=[_patch(METHOD, method), *retrained],
        loc="outside upper center",
        ncols=2,
        frameon=False,
        fontsize=8,
    )
    figure.supxlabel("score: nats of likelihood lost without the group", fontsize=8)
    return figure


def _patch(color: str, label: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=color, label=label)


def query_png(spec: FigureSpec, paths: Paths) -> Figure:
    """queries.png: some queries with their top groups, beside the oracle's scores if any. Raises ArtifactError."""
    images: dict[str, Any] = {}
    for bucket, expected in spec.buckets.items():
        tensors, _ = load_tensors(paths.queries(bucket), expected, "np")
        images |= dict(zip(unpack_ids(tensors["ids"]), tensors["images"], strict=True))
    shown = sorted(images, key=lambda query: derive_seed("figure", query))[: spec.settings.queries]
    rankings = read_rankings(paths.rankings(), spec.rankings)
    return query_figure(
        {query: images[query] for query in shown}, rankings, spec.method, spec.oracle, spec.settings.top
    )
