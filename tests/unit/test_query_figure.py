import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from guda.report.queries import query_figure


@pytest.mark.parametrize("name", [r"$\frac{$", "A$AP", "<b>R&B</b>"])
def test_names_of_groups_are_drawn_as_they_are_written(name):
    rows = [
        (method, "q", group, score) for method in ("guda", "logo") for group, score in [(name, 2.0), ("other", 1.0)]
    ]
    rankings = pd.DataFrame(rows, columns=["method", "query", "group", "score"])
    figure = query_figure({"q": np.zeros((1, 8, 8), dtype=np.uint8)}, rankings, "guda", "logo", top=2)
    FigureCanvasAgg(figure).draw()
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == [name, "other"]
