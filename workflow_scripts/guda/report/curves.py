"""Figure of the learning curves of the base model and the unlearned models."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from guda.core.artifacts import read_csv
from guda.core.paths import BASE, Paths
from guda.core.records import check_recorded
from guda.specs import CurvesFigureSpec

INK, BLUE, RED = "#333333", "#2a6fbb", "#c0504d"
NUMBERS = ("step", "loss", "checked_training", "checked_held_out")
NAMED = 12  # unlearned models listed in the legend


def curves_figure(table: pd.DataFrame) -> Figure:
    """A matplotlib figure of curves.csv: the base model on the left, the unlearned models, if any, on the right."""
    unlearned = [model for model in table["model"].unique() if model != BASE]
    panels = 2 if unlearned else 1
    figure = Figure(figsize=(1 + 4.6 * panels, 3.6), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    _base(axes[0], table[table["model"] == BASE])
    if unlearned:
        for number, model in enumerate(unlearned):
            rows = table[table["model"] == model]
            label = model if number < NAMED else None
            axes[1].plot(rows["step"], rows["loss"], linewidth=1, color=f"C{number % 10}", label=label)
        axes[1].set_title("unlearning objective", fontsize=9)
        legend = axes[1].legend(frameon=False, fontsize=7)
        for text in legend.get_texts():
            text.set_parse_math(False)  # a name may contain dollar signs
    for each in axes:
        each.set_yscale("log")
        each.yaxis.set_minor_formatter("{x:.3g}")
        each.yaxis.set_major_formatter("{x:.3g}")
        each.tick_params(which="both", labelsize=7)
        each.set_xlabel("step", fontsize=8)
        each.spines[["top", "right"]].set_visible(False)
    return figure


def _base(axes: Axes, rows: pd.DataFrame) -> None:
    axes.set_title("base model training", fontsize=9)
    axes.set_ylabel("loss (1 = predicting zero)", fontsize=8)
    if not len(rows):
        axes.set_axis_off()
        text = "no learning curve of the base model: it was imported,\nor trained before curves were recorded"
        axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=8, transform=axes.transAxes)
        return
    axes.plot(rows["step"], rows["loss"], linewidth=1, color=INK, label="training loss, mean over each interval")
    for column, color, label in (
        ("checked_training", BLUE, "averaged weights, training images"),
        ("checked_held_out", RED, "averaged weights, held-out images"),
    ):
        checked = rows.dropna(subset=[column])
        if len(checked):
            axes.plot(checked["step"], checked[column], "o-", markersize=3, linewidth=1, color=color, label=label)
    axes.legend(frameon=False, fontsize=7)


def curves_png(spec: CurvesFigureSpec, paths: Paths) -> Figure:
    """Figure of curves.csv. Raises ArtifactError."""
    check_recorded(paths.curves(), spec.curves)
    return curves_figure(read_csv(paths.curves(), numbers=NUMBERS))
