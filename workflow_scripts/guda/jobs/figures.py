"""The figures of files under results by kind of spec, for `plot.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from guda.core.paths import Paths
from guda.report.cost import cost_png
from guda.report.curves import curves_png
from guda.report.queries import query_png
from guda.report.removal import removal_png
from guda.report.samples import samples_png
from guda.report.sweep import sweep_png
from guda.specs import (
    CostFigureSpec,
    CurvesFigureSpec,
    FigureSpec,
    RemovalFigureSpec,
    SamplesFigureSpec,
    Spec,
    SweepFigureSpec,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES: dict[type[Spec], Callable[[Any, Paths], Figure]] = {
    FigureSpec: query_png,
    CostFigureSpec: cost_png,
    CurvesFigureSpec: curves_png,
    SamplesFigureSpec: samples_png,
    RemovalFigureSpec: removal_png,
    SweepFigureSpec: sweep_png,
}
