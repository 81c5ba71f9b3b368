"""The figure of agreement against cost: every method, the Pareto frontier, and retraining."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.transforms import Affine2D

from guda.core.artifacts import read_csv
from guda.core.paths import Paths
from guda.core.records import check_recorded
from guda.evaluation.metrics_table import CEILING
from guda.report.labels import free_places
from guda.specs import CostFigureSpec

INK, BLUE, RED, GREY, SHADE = "#333333", "#2a6fbb", "#c0504d", "#767f8d", "#f2f4f7"
PANELS = {
    "contrast_spearman": "Sizes of effects: rank correlation with the oracle's contrasts",
    "kappa": "First groups: agreement with the oracle's beyond chance",
}
COSTS = ("build_evaluations", "query_evaluations")
NUMBERS = (*PANELS, *COSTS)
FREE = 0.2  # a method without an evaluation is drawn at this share of the least that another spends


def cost_figure(table: pd.DataFrame) -> Figure:
    """A matplotlib figure with a panel for each kind of agreement; `table` as in metrics.csv, the oracle first."""
    table = table.assign(evaluations=table[list(COSTS)].sum(axis=1)).set_index("method")
    least = table["evaluations"].where(table["evaluations"] > 0).min()
    table["place"] = table["evaluations"].where(table["evaluations"] > 0, FREE * least)
    figure = Figure(figsize=(8, 9.6), dpi=150, layout="constrained")
    panels = figure.subplots(len(PANELS), sharex=True)
    for axes, (column, title) in zip(panels, PANELS.items(), strict=True):
        _panel(axes, table, column)
        axes.set_title(title, fontsize=9, loc="left")
    _scale(panels[-1], table["place"], least)
    n_queries, n_groups = table.iloc[0][["n_queries", "n_groups"]]
    panels[-1].set_xlabel(f"network evaluations for {n_queries} queries and {n_groups} groups", fontsize=9)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # labels are placed where the axes are now
    for axes, column in zip(panels, PANELS, strict=True):
        _label(axes, methods_of(table, column))
    return figure


def methods_of(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """The rows that are no oracle's, with their `agreement` by a column, and whether they are on the `frontier`.

    That is Pareto's: no method that agrees at least as well costs less, and none that costs as little agrees better.
    Those on it come first, then the others, each by falling agreement.
    """
    rows = table.iloc[1:].drop(index=CEILING, errors="ignore").dropna(subset=[column])
    cost, agreement = rows["evaluations"].to_numpy(), rows[column].to_numpy()
    less, more = cost[:, None] - cost, agreement - agreement[:, None]  # [i, j]: by how much j beats i
    frontier = ~((less >= 0) & (more >= 0) & ((less > 0) | (more > 0))).any(axis=1)
    rows = rows.assign(agreement=agreement, frontier=frontier)
    return rows.sort_values(["frontier", "agreement"], ascending=False, kind="stable")


def _panel(axes: Axes, table: pd.DataFrame, column: str) -> None:
    methods, retraining = methods_of(table, column), table.iloc[0]
    best, others = methods[methods["frontier"]][::-1], methods[~methods["frontier"]]
    across = [*best["place"], table["place"].max()]
    axes.plot(np.repeat(across, 2)[1:-1], np.repeat(best["agreement"], 2), color=BLUE, linewidth=1.2)
    axes.plot(best["place"], best["agreement"], "o", markersize=6, color=BLUE, zorder=3, label="on the Pareto frontier")
    hollow = axes.plot(others["place"], others["agreement"], "o", markersize=6, color=GREY)[0]
    hollow.set(markerfacecolor="white", label="dominated by another method")
    axes.axvline(retraining["place"], color=RED, linestyle="--", linewidth=1, label="cost of retraining")
    if CEILING in table.index:
        label, ceiling = "ceiling: agreement of another retraining", table[column][CEILING]
        axes.axhline(ceiling, color=RED, linestyle=":", linewidth=1.2, label=label)
    axes.set_ylabel(column, fontsize=9)
    axes.margins(y=0.08)
    axes.tick_params(which="both", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _scale(axes: Axes, places: pd.Series, least: float) -> None:
    """The axis of evaluations that panels share: logarithmic, but for a strip at the left where there are none."""
    free, border = FREE * least, np.sqrt(FREE) * least
    decades = 10.0 ** np.arange(np.floor(np.log10(border)), np.ceil(np.log10(places.max())) + 1)
    major, minor = (ticks[ticks > border] for ticks in (decades, np.outer(decades, range(2, 10))))
    axes.set_xscale("log")
    axes.set_xticks([free, *major], ["none", *(f"$10^{{{np.log10(tick):.0f}}}$" for tick in major)])
    axes.set_xticks(minor, minor=True, labels=[""] * len(minor))
    axes.set_xlim(free**1.5 / border**0.5, max(places.max() * 1.8, major[0]))
    for each in axes.figure.axes:
        each.axvspan(axes.get_xlim()[0], border, color=SHADE, zorder=0)


def _label(axes: Axes, methods: pd.DataFrame) -> None:
    """The name of every method beside its point."""
    figure = axes.figure
    in_points = Affine2D().scale(1 / 72) + figure.dpi_scale_trans  # from 1/72 inch
    to_points = in_points.inverted()
    texts = [
        axes.text(0, 0, str(name), fontsize=7.5, color=BLUE if frontier else INK, va="bottom", transform=in_points)
        for name, frontier in methods["frontier"].items()
    ]
    sizes = np.array([text.get_window_extent().size for text in texts]).reshape(-1, 2) * 72 / figure.dpi
    points = to_points.transform(axes.transData.transform(methods[["place", "agreement"]].to_numpy()))
    area = to_points.transform(axes.get_window_extent()).ravel()
    drawn = [
        to_points.transform(line.get_transform().transform(line.get_path().vertices))
        for line in axes.lines
        if line.get_linestyle() != "None"
    ]
    lines = np.vstack([np.hstack([corners[:-1], corners[1:]]) for corners in drawn])
    boxes, leaders = free_places(points, sizes, area, lines)
    for text, box in zip(texts, boxes, strict=True):
        text.set_position(box[:2])
    drawn_leaders = LineCollection(list(leaders.reshape(-1, 2, 2)), colors=GREY, linewidths=0.6, transform=in_points)
    axes.add_collection(drawn_leaders, autolim=False)


def cost_png(spec: CostFigureSpec, paths: Paths) -> Figure:
    """The figure of metrics.csv. Raises ArtifactError."""
    check_recorded(paths.metrics(), spec.metrics)
    return cost_figure(read_csv(paths.metrics(), numbers=NUMBERS))
