"""Figure of the removal test: query loss against the number of groups or images removed."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from guda.core.artifacts import read_csv
from guda.core.paths import Paths
from guda.core.records import check_recorded
from guda.evaluation.removal import CONTROL
from guda.specs import RemovalFigureSpec

INK, GREY = "#333333", "#8a93a3"
COLORS, MARKERS = 10, "osD^v"
IN_A_LINE = 3  # method names per line below a panel
NUMBERS = ("k", "loss_rise", "loss_rise_low", "loss_rise_high")


def removal_figure(table: pd.DataFrame) -> Figure:
    """A matplotlib figure with one panel for groups and one for images, if removal.csv has both.

    One line per method, with bars for 95 % intervals; methods are offset sideways so that intervals do not overlap.
    Random removal is dashed.
    """
    units, methods = list(dict.fromkeys(table["unit"])), list(dict.fromkeys(table["method"]))
    lines = -(-len(methods) // (IN_A_LINE * len(units)))
    figure = Figure(figsize=(1 + 4.2 * len(units), 3.5 + 0.15 * lines), layout="constrained")
    for axes, unit in zip(figure.subplots(1, len(units), squeeze=False)[0], units, strict=True):
        rows = table[table["unit"] == unit]
        names, ks = list(dict.fromkeys(rows["method"])), sorted(rows["k"].unique())
        for number, name in enumerate(names):
            of_method = rows[rows["method"] == name].sort_values("k")
            shift = 0.4 * (number / max(1, len(names) - 1) - 0.5)
            random = name == CONTROL
            axes.errorbar(
                [ks.index(k) + shift for k in of_method["k"]],
                of_method["loss_rise"],
                yerr=[
                    of_method["loss_rise"] - of_method["loss_rise_low"],
                    of_method["loss_rise_high"] - of_method["loss_rise"],
                ],
                label=name,
                color=GREY if random else f"C{methods.index(name) % COLORS}",
                linestyle="--" if random else "-",
                marker=MARKERS[methods.index(name) // COLORS % len(MARKERS)],
                markersize=4,
                capsize=2,
                linewidth=1.2,
            )
        axes.set_xticks(range(len(ks)), [f"{k:g}" for k in ks])
        axes.set_xlim(-0.5, len(ks) - 0.5)
        axes.axhline(0, color=INK, linewidth=0.6)
        axes.set_xlabel(f"top {unit} removed from training")
        axes.spines[["top", "right"]].set_visible(False)
    shown = {label: line for axes in figure.axes for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    columns = IN_A_LINE * len(units)
    figure.legend(shown.values(), shown, loc="outside lower center", ncols=columns, frameon=False, fontsize=7)
    figure.supylabel("increase in query loss (nats)", fontsize=10)
    return figure


def removal_png(spec: RemovalFigureSpec, paths: Paths) -> Figure:
    """Figure of removal.csv. Raises ArtifactError."""
    check_recorded(paths.removal(), spec.removal)
    return removal_figure(read_csv(paths.removal(), numbers=NUMBERS))
