"""Figure of query images with their top-scoring groups."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from guda.core.paths import Paths
from guda.data.queries import on_show
from guda.evaluation.metrics_table import read_rankings
from guda.evaluation.ranking import first_rows
from guda.report.lettering import Lettering, drawable
from guda.report.pictures import named_images
from guda.specs import FigureSpec

INK, ORACLE, METHOD, FRAME = "#333333", "#b0b7c3", "#2a6fbb", "#c8c8c8"
LINEAR_NATS = 5
# Inches. Each query has its own column: its name, its image, and below it the bars of its groups with their names above
# them, so that long names take no room from the image.
COLUMN, PICTURE, GAP, MARGIN, NARROWEST = 1.5, 1.2, 0.15, 0.15, 3.6
LINE, BAR, AXIS, BETWEEN, LEGEND, LABEL, PAD = 0.125, 0.15, 0.22, 0.2, 0.2, 0.16, 0.04
NAME_SIZE, SMALL = 7.5, 7
IN_A_ROW, FEW_TICKS = 8, 4
DIGIT = 0.64 / 72  # width of a digit in inches per point of font size


class Column(NamedTuple):
    """A query as drawn: the lines of its name, its pixels, and for each group the lines of its name and its scores."""

    name: list[str]
    image: np.ndarray
    groups: list[list[str]]
    scores: list[tuple[float, ...]]


def query_figure(images: dict[str, np.ndarray], rankings: pd.DataFrame, method: str, oracle: str, top: int) -> Figure:
    """A matplotlib figure with one column per query: its image above its `top` groups by `method`, with oracle scores.

    If `oracle` is '', only the method's scores. `images` maps query ids to uint8 [C, H, W]; `rankings` is the table
    of rankings.csv. Ties are broken by a hash of (query, group).
    """
    methods = [method, oracle] if oracle else [method]
    drawn = rankings[rankings["query"].isin(list(images)) & rankings["method"].isin(methods)]
    names, families = drawable(drawn["group"], "group")
    queries, more = drawable(images, "query")
    figure = Figure(dpi=150)
    lettering = Lettering(figure, [*families, *more[1:]], NAME_SIZE)
    scores = drawn.set_index(["method", "query", "group"])["score"].sort_index()
    columns = []
    for query, image in images.items():
        by_group = scores[method, query]
        first = by_group.iloc[first_rows(by_group, by_group.index, top, query)].index
        of_groups = [tuple(scores[name, query, group] for name in methods) for group in first]
        lines = [lettering.lines(names[group], COLUMN) for group in first]
        columns.append(Column(lettering.lines(queries[query], COLUMN), image, lines, of_groups))
    shown = [score for column in columns for each in column.scores for score in each]
    label = ["score: drop in the ELBO without the group (nats)"]
    if any(name != names[name] for name in names):
        label.append("group N: see row N of data/groups.csv")
    _draw(figure, columns, methods, _limits(min(shown), max(shown)), label, lettering)
    return figure


def _limits(lowest: float, highest: float) -> tuple[float, float]:
    """Limits of the axis, shared by all queries so that bars are comparable."""
    low, high = 1.1 * min(0, lowest), 1.1 * max(0, highest)
    return (low, high) if low < high else (0, 1)


def _draw(
    figure: Figure,
    columns: list[Column],
    methods: list[str],
    limits: tuple[float, float],
    label: list[str],
    lettering: Lettering,
) -> None:
    """Lay out all columns in rows of IN_A_ROW and draw them."""
    rows = [columns[start : start + IN_A_ROW] for start in range(0, len(columns), IN_A_ROW)]
    named = [PAD + LINE * max(len(column.name) for column in row) for row in rows]
    charts = [max(map(_height, row)) for row in rows]
    used = max(map(len, rows)) * (COLUMN + GAP) - GAP
    width, legend = max(NARROWEST, used + 2 * MARGIN), LEGEND * (len(methods) if used < 2 * NARROWEST else 1)
    cells = [name + PICTURE + GAP / 2 + chart + AXIS for name, chart in zip(named, charts, strict=True)]
    height = 2 * MARGIN + legend + sum(cells) + BETWEEN * (len(rows) - 1) + LABEL * len(label)
    figure.set_size_inches(width, height)

    def at(left: float, top: float, wide: float, high: float) -> tuple[float, float, float, float]:
        """Figure coordinates of a box given in inches from the left and the top."""
        return left / width, 1 - (top + high) / height, wide / width, high / height

    top = MARGIN + legend
    for row, name, cell in zip(rows, named, cells, strict=True):
        for number, column in enumerate(row):
            left = (width - used) / 2 + number * (COLUMN + GAP)
            middle, bottom = (left + COLUMN / 2) / width, 1 - (top + name - PAD) / height
            figure.text(middle, bottom, "\n".join(column.name), ha="center", va="bottom", color=INK, **lettering.style)
            inset = left + (COLUMN - PICTURE) / 2
            _draw_picture(figure.add_axes(at(inset, top + name, PICTURE, PICTURE)), column.image)
            below = top + name + PICTURE + GAP / 2
            axes = figure.add_axes(at(left, below, COLUMN, _height(column)))
            _draw_bars(axes, column, limits, lettering)
        top += cell + BETWEEN
    labels = [methods[0], *(f"{name} (retrained without the group)" for name in methods[1:])]
    handles = [Patch(color=color, label=label) for color, label in zip((METHOD, ORACLE), labels, strict=False)]
    figure.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, 1 - MARGIN / 2 / height),
        ncols=1 if used < 2 * NARROWEST else 2,
        frameon=False,
        fontsize=8,
        borderpad=0,
    )
    figure.text(0.5, MARGIN / 2 / height, "\n".join(label), ha="center", va="bottom", fontsize=8)


def _height(column: Column) -> float:
    """Height of a query's bars with their group names."""
    return sum(
        LINE * len(lines) + BAR * len(scores) / 2 + BAR / 2
        for lines, scores in zip(column.groups, column.scores, strict=True)
    )


def _draw_picture(axes: Axes, image: np.ndarray) -> None:
    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(color=FRAME, linewidth=0.8)  # marks the edge of white images


def _draw_bars(axes: Axes, column: Column, limits: tuple[float, float], lettering: Lettering) -> None:
    """Draw a bar for each score, in axes whose vertical unit is an inch."""
    height = _height(column)
    axes.set_ylim(height, 0)
    # Linear up to LINEAR_NATS, logarithmic beyond.
    axes.set_xscale("symlog", linthresh=LINEAR_NATS, linscale=1.5)
    axes.set_xlim(*limits)
    down = 0.0
    for lines, scores in zip(column.groups, column.scores, strict=True):
        text = "\n".join(lines)
        axes.text(
            0, 1 - down / height, text, transform=axes.transAxes, ha="left", va="top", color=INK, **lettering.style
        )
        down += LINE * len(lines) + BAR / 8
        axes.vlines(0, down - BAR / 8, down + BAR * len(scores) / 2 + BAR / 8, color=INK, linewidth=0.6)
        for score, color in zip(scores, (METHOD, ORACLE), strict=False):
            axes.barh(down + BAR / 4, score, height=0.45 * BAR, color=color)
            down += BAR / 2
        down += BAR * 3 / 8
    ticks = _ticks(axes, limits)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=SMALL)
    axes.set_xticks([], minor=True)
    axes.set_yticks([])
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="x", length=2, pad=2)


def _ticks(axes: Axes, limits: tuple[float, float]) -> list[float]:
    """Zero and round numbers whose labels do not overlap, preferring powers of ten, largest first."""
    powers = [10.0**power for power in range(9, -7, -1)]
    found: list[float] = []
    taken: list[tuple[float, float]] = []
    for sizes in ([0.0], powers, [5 * power for power in powers], [2 * power for power in powers]):
        if len(found) >= FEW_TICKS:
            break
        for tick in (sign * size for size in sizes for sign in (1, -1)):
            middle = axes.transData.transform((tick, 0))[0] / axes.figure.dpi
            half = (len(f"{tick:g}") + 1) * DIGIT * SMALL / 2
            free = all(middle + half <= low or middle - half >= high for low, high in taken)
            if limits[0] <= tick <= limits[1] and free:
                found.append(tick)
                taken.append((middle - half, middle + half))
    return sorted(found)


def query_png(spec: FigureSpec, paths: Paths) -> Figure:
    """queries.png: some queries with their top groups, and oracle scores if there are any. Raises ArtifactError."""
    images: dict[str, np.ndarray] = {}
    for bucket, expected in spec.buckets.items():
        images |= named_images(paths.queries(bucket), expected)
    shown = on_show(images, spec.settings.queries)
    rankings = read_rankings(paths.rankings(), spec.rankings)
    return query_figure(
        {query: images[query] for query in shown}, rankings, spec.method, spec.oracle, spec.settings.top
    )
