"""The figure of agreement against cost: its frontier, by hand, and where its labels go."""

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from guda.report.cost import FREE, cost_figure, methods_of
from guda.report.labels import free_places

AREA = np.array([0.0, 0.0, 100.0, 100.0])
NO_LINES = np.empty((0, 4))


def metrics(*rows):
    """metrics.csv of methods as (name, contrast_spearman, kappa, evaluations), between the oracle and the ceiling."""
    rows = [("logo", 1.0, 1.0, 1000), *rows, ("ceiling", 0.9, 0.8, 1000)]
    frame = pd.DataFrame(rows, columns=["method", "contrast_spearman", "kappa", "query_evaluations"])
    return frame.assign(build_evaluations=0, n_queries="7", n_groups="3")


SMALL = metrics(
    ("free", 0.2, 0.1, 0),
    ("worse", 0.1, 0.2, 5),
    ("cheap", 0.5, -0.1, 10),
    ("as cheap", 0.4, 0.15, 10),
    ("late", 0.5, 0.3, 20),
    ("best", 0.7, 0.3, 30),
    ("twin", 0.7, 0.25, 30),
    ("unknown", np.nan, 0.0, 1),
)


@pytest.mark.parametrize(
    ("column", "frontier", "others"),
    [
        ("contrast_spearman", ["best", "twin", "cheap", "free"], ["late", "as cheap", "worse"]),
        ("kappa", ["late", "worse", "free"], ["best", "twin", "as cheap", "unknown", "cheap"]),
    ],
)
def test_no_method_on_the_frontier_is_beaten_at_its_cost_or_less(column, frontier, others):
    table = SMALL.assign(evaluations=SMALL["query_evaluations"]).set_index("method")
    methods = methods_of(table, column)
    assert list(methods.index) == frontier + others
    assert list(methods.index[methods["frontier"]]) == frontier


def test_the_frontier_is_a_step_line_up_to_what_retraining_costs():
    contrast, kappa = cost_figure(SMALL).axes
    free = FREE * 1  # of the least that another method spends
    steps = [(free, 0.2), (10, 0.2), (10, 0.5), (30, 0.5), (30, 0.7), (30, 0.7), (30, 0.7), (1000, 0.7)]
    assert np.allclose(contrast.lines[0].get_xydata(), steps)
    steps = [(free, 0.1), (5, 0.1), (5, 0.2), (20, 0.2), (20, 0.3), (1000, 0.3)]
    assert np.allclose(kappa.lines[0].get_xydata(), steps)
    assert set(contrast.lines[3].get_xdata()) == {1000}
    assert set(contrast.lines[4].get_ydata()) == {0.9}
    assert kappa.get_xticklabels()[0].get_text() == "none"
    assert kappa.get_xticks()[0] == free


def test_free_methods_beside_the_only_oracle_are_drawn():
    table = metrics(("nearest", np.nan, 0.5, 0), ("constant", np.nan, 0.0, 0)).iloc[:-1]
    contrast, kappa = cost_figure(table).axes
    assert not contrast.texts
    assert [text.get_text() for text in kappa.texts] == ["nearest", "constant"]
    assert len(kappa.get_xticks()) > 1


# --- labels ------------------------------------------------------------------------------------------


def test_a_label_goes_to_the_right_of_its_point_and_to_the_left_at_the_edge():
    boxes, leaders = free_places(np.array([[50.0, 50], [95, 20]]), np.array([[20.0, 10], [20, 10]]), AREA, NO_LINES)
    assert boxes.tolist() == [[55, 45, 75, 55], [70, 15, 90, 25]]
    assert len(leaders) == 0


def test_a_label_keeps_off_lines():
    boxes, _ = free_places(np.array([[50.0, 50]]), np.array([[20.0, 10]]), AREA, np.array([[57.0, 0, 57, 100]]))
    assert boxes.tolist() == [[25, 45, 45, 55]]


def test_a_point_among_others_has_a_leader_to_its_label():
    around = [(50 + 9 * across, 50 + 9 * up) for across in (-1, 0, 1) for up in (-1, 0, 1)]
    points = np.array([(50.0, 50.0), *(point for point in around if point != (50, 50))])
    boxes, leaders = free_places(points, np.tile([20.0, 10], (9, 1)), AREA, NO_LINES)
    start, end = leaders[0, :2], leaders[0, 2:]
    assert np.hypot(*(start - points[0])) == pytest.approx(4)
    assert np.array_equal(end, np.clip(points[0], boxes[0, :2], boxes[0, 2:]))


def crowd(spread):
    """25 methods, all but a few of which cost and agree nearly the same."""
    chance = np.random.default_rng(3)
    names = [f"conditional_posterior_{n}" if n % 5 == 0 else f"method_{n}" for n in range(25)]
    costs = (1e5 * np.exp(spread * chance.normal(size=25))).astype(int) * (np.arange(25) % 8 > 0)
    contrast, kappa = 0.7 + spread / 9 * chance.normal(size=25), 0.5 + spread / 99 * chance.normal(size=25)
    rows = zip(names, contrast, kappa, costs, strict=True)
    table = metrics(*rows, ("constant", 0.0, 0.0, 0))
    return table.assign(build_evaluations=10**6 * (table["query_evaluations"] == 1000))


@pytest.mark.parametrize("spread", [0.01, 0.3, 1])
def test_labels_of_many_methods_do_not_overlap(spread):
    figure = cost_figure(crowd(spread))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    for axes in figure.axes:
        boxes = [text.get_window_extent(canvas.get_renderer()) for text in axes.texts]
        assert len(boxes) == 26
        panel = axes.get_window_extent()
        points = np.vstack([line.get_xydata() for line in axes.lines[1:3]])
        for box in boxes:
            assert panel.x0 <= box.x0 < box.x1 <= panel.x1
            assert panel.y0 <= box.y0 < box.y1 <= panel.y1
            assert not box.count_contains(axes.transData.transform(points))
        for one, other in itertools.combinations(boxes, 2):
            assert not one.overlaps(other)
