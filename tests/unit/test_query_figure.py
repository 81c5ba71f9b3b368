"""The figure of queries: measured, so that nothing overlaps or shrinks whatever groups and queries are called."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from guda.report.lettering import Lettering, drawable
from guda.report.queries import FRAME, query_figure

LONG = ["Pierre-Auguste Renoir", "Henri de Toulouse-Lautrec and his circle", "W" * 60, "Ann"]
SIXTY = [f"group number {number}" for number in range(60)]
# Of names of groups, scale and offset of scores, [C, H, W], queries, their name, and groups that are shown.
CASES = {
    "digits": (["amber", "birch", "cedar"], 30, -2, (1, 8, 8), 8, "query-{:06d}", 3),
    "long names": (LONG, 300, 0, (3, 32, 32), 8, "paintings/nineteenth century/landscape at dusk {}.png", 3),
    "two groups, one query": (["Ann", "Bob"], 1, -0.5, (3, 512, 512), 1, "q{}", 3),
    "sixty groups, many queries": (SIXTY, 90000, -900, (1, 16, 16), 19, "q{}", 10),
    "tall, of tiny scores": (["Ann", "Bob"], 1e-3, 0, (3, 64, 24), 3, "q{}", 2),
    "scores below zero": (["Ann", "Bob"], 1, -900, (3, 24, 64), 3, "q{}", 2),
    "of no script's fonts": (["北斎", "हिन्दी समूह", "Ann"], 50, 0, (3, 32, 32), 4, "絵-{}", 3),
}


def drawn(groups, scale, offset, shape, n_queries, name, top, oracle="logo"):
    """The figure, drawn, and its renderer. Warnings, as of characters without a glyph, are errors."""
    generator = np.random.default_rng(0)
    images = {name.format(number): generator.integers(0, 256, shape, dtype=np.uint8) for number in range(n_queries)}
    rows = [
        (method, query, group, offset + scale * generator.exponential())
        for method, query, group in itertools.product(["guda", oracle], images, groups)
        if method
    ]
    rankings = pd.DataFrame(rows, columns=["method", "query", "group", "score"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = query_figure(images, rankings, "guda", oracle, top)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    return figure, canvas.get_renderer()


def pictures(figure):
    return [axes for axes in figure.axes if axes.images]


@pytest.mark.parametrize("case", CASES)
def test_texts_are_inside_and_do_not_overlap(case):
    figure, renderer = drawn(*CASES[case])
    texts = [text for axes in figure.axes for text in (*axes.texts, *axes.get_xticklabels())]
    texts += [*figure.texts, *figure.legends[0].get_texts()]
    boxes = {text: text.get_window_extent(renderer) for text in texts if text.get_text()}
    boxes |= {axes: axes.images[0].get_window_extent(renderer) for axes in pictures(figure)}
    width, height = figure.canvas.get_width_height()
    for box in boxes.values():
        assert -1 <= box.x0 < box.x1 <= width + 1
        assert -1 <= box.y0 < box.y1 <= height + 1
    for one, other in itertools.combinations(boxes.values(), 2):
        across = min(one.x1, other.x1) - max(one.x0, other.x0)
        up = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert min(across, up) < 2, "two overlap by more than a pixel"


@pytest.mark.parametrize("case", CASES)
def test_every_picture_has_its_room_and_its_name(case):
    _, _, _, shape, n_queries, name, _ = CASES[case]
    figure, renderer = drawn(*CASES[case])
    assert len(pictures(figure)) == n_queries
    for axes in pictures(figure):
        box = axes.images[0].get_window_extent(renderer)
        assert max(box.width, box.height) == pytest.approx(1.2 * figure.dpi, abs=1)
        assert box.width / box.height == pytest.approx(shape[2] / shape[1], rel=0.02)
    if len(name) < 20 and name.isascii():
        shown = [text.get_text() for text in figure.texts]
        assert {name.format(number) for number in range(n_queries)} <= set(shown)


def test_a_white_picture_ends_in_a_frame():
    images, rows = {"q": np.full((3, 8, 8), 255, np.uint8)}, [("guda", "q", "a", 1.0), ("guda", "q", "b", 0.5)]
    rankings = pd.DataFrame(rows, columns=["method", "query", "group", "score"])
    figure = query_figure(images, rankings, "guda", "", top=2)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    box = figure.axes[0].get_window_extent(canvas.get_renderer())
    pixels = np.asarray(canvas.buffer_rgba())[::-1, :, :3]
    row = pixels[round((box.y0 + box.y1) / 2)]
    gray = int(FRAME[1:3], 16)
    for edge in (box.x0, box.x1):
        assert gray <= row[round(edge) - 2 : round(edge) + 2].min() < gray + 20  # antialiased
    assert row[round(box.x0) + 3 : round(box.x1) - 3].min() == 255


@pytest.mark.parametrize("name", [r"$\frac{$", "A$AP", "<b>R&B</b>"])
def test_names_of_groups_are_drawn_as_they_are_written(name):
    figure, _ = drawn([name, "other"], 1, 0, (1, 8, 8), 1, "q$x$", 2)
    assert {text.get_text() for text in figure.axes[1].texts} == {name, "other"}
    assert not any(text.get_parse_math() for text in figure.axes[1].texts)
    assert "q$x$0" not in {text.get_text() for text in figure.texts if text.get_parse_math()}


def test_fonts_are_found_for_what_the_usual_one_lacks_and_names_without_any_are_numbered(capsys):
    letters = frozenset(map(ord, "abcAnB"))
    fonts = {"DejaVu Sans": letters, "Han": frozenset(map(ord, "北斎a")), "Half": frozenset(map(ord, "北"))}
    names = ["Ann", "北斎", "Ann\u200d", "北x"]
    assert drawable(["Ann", "北斎"], "group", fonts) == ({"Ann": "Ann", "北斎": "北斎"}, ["DejaVu Sans", "Han"])
    shown, families = drawable(names, "group", fonts)
    assert shown == {"Ann": "Ann", "Ann\u200d": "Ann\u200d", "北x": "group 3", "北斎": "北斎"}
    assert families == ["DejaVu Sans", "Han"]
    assert "no installed font covers all characters of '北x': drawn as 'group 3'" in capsys.readouterr().err


def test_lines_break_at_signs_and_keep_both_ends():
    figure, _ = drawn(*CASES["two groups, one query"])
    lettering = Lettering(figure, ["DejaVu Sans"], 7.5)
    assert lettering.lines("Ann", 1.5) == ["Ann"]
    assert lettering.lines("Henri de Toulouse-Lautrec and his circle", 1.5) == [
        "Henri de Toulouse-Lautrec",
        "and his circle",
    ]
    first, second = lettering.lines("W" * 30 + "end", 1.0)
    assert set(first) == {"W"}
    assert second.startswith("WW")
    assert second.endswith("Wend")
    assert all(lettering.width(line) <= 1.0 for line in (first, second))
