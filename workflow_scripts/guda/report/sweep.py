"""Figure of a sweep over variants: how often each finds the oracle's first group, for each oracle seed."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from guda.core.artifacts import read_csv
from guda.core.paths import Paths
from guda.core.records import check_recorded
from guda.evaluation.metrics_table import CEILING
from guda.specs import SweepFigureSpec

COLORS = ["#2a6fbb", "#e07b39", "#6b9c58", "#b0b7c3"]
LETTER = 0.07  # width of a character in inches
ROLES = ["reported", "selects", "another"]


def sweep_figure(table: pd.DataFrame) -> Figure:
    """A matplotlib figure, one row per variant: top1 and its interval against each oracle; `table` as in sweep.csv."""
    oracles = list(table["oracle"].unique())
    variants = table[table["variant"] != CEILING]
    choosing = variants[variants["oracle"] == oracles[1]].set_index("variant")
    order = list(choosing.sort_values("top1", kind="stable").index)
    room = LETTER * max(map(len, order))  # for the variants' names, which contain their settings
    figure = Figure(figsize=(6 + room, 1.6 + 0.34 * len(order)), layout="constrained")
    axes = figure.subplots()
    for index, oracle in enumerate(oracles):
        rows = variants[variants["oracle"] == oracle].set_index("variant").loc[order]
        heights = np.arange(len(order)) + 0.24 * (index - (len(oracles) - 1) / 2)
        spread = [rows["top1"] - rows["top1_low"], rows["top1_high"] - rows["top1"]]
        color, shown = COLORS[index % len(COLORS)], f"{oracle} ({ROLES[min(index, 2)]})"
        axes.errorbar(rows["top1"], heights, xerr=spread, fmt="o", markersize=4, color=color, label=shown)
        ceiling = table.loc[(table["variant"] == CEILING) & (table["oracle"] == oracle), "top1"].item()
        axes.axvline(ceiling, linestyle="--", linewidth=0.8, color=color)
    axes.set_yticks(np.arange(len(order)), order, fontsize=8, parse_math=False)
    for label in axes.get_yticklabels():
        label.set_fontweight("bold" if choosing.loc[label.get_text(), "chosen"] == "True" else "normal")
    axes.set_xlabel("top1 with 95 % interval (dashed: ceiling; bold: selected by kappa and contrast)", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=len(oracles), frameon=False, fontsize=8)
    return figure


def sweep_png(spec: SweepFigureSpec, paths: Paths) -> Figure:
    """Figure of sweep.csv. Raises ArtifactError."""
    check_recorded(paths.sweep(), spec.sweep)
    return sweep_figure(read_csv(paths.sweep(), numbers=("top1", "top1_low", "top1_high")))
