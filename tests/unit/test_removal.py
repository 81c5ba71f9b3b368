"""Counterfactual removal: what is removed, which models that takes, and what their table says."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from guda.core.errors import DataError
from guda.evaluation.ranking import rankings_frame
from guda.evaluation.removal import (
    CONTROL,
    GROUPS,
    IMAGES,
    Removed,
    at_random,
    digest_of,
    removal_sets,
    removal_table,
    top_groups,
    top_images,
    worst_by_row,
)
from guda.methods.similarity.compute import similarity
from guda.models.health import Health
from guda.report.removal import removal_figure
from guda.specs import ExclusionSpec, TrainSpec, digest_lines

MEMBERS = {"a": {"i1", "i2"}, "b": {"i2", "i3"}, "c": {"i4"}}
TRAIN_IDS = ["i1", "i2", "i3", "i4", "i5"]


def test_top_groups_are_the_first_of_the_ranking():
    scores = np.array([[1.0, 3.0, 2.0], [5.0, 4.0, 6.0]])
    frames = [rankings_frame(name, ["q0", "q1"], list("abc"), sign * scores, None, None) for name, sign in
              (("m", 1), ("other", -1))]  # fmt: skip
    found = list(top_groups(pd.concat(frames), "m", ["q1", "q0"], [1, 2]))
    assert found == [
        Removed("m", GROUPS, "q1", ["c"]),
        Removed("m", GROUPS, "q1", ["c", "a"]),
        Removed("m", GROUPS, "q0", ["b"]),
        Removed("m", GROUPS, "q0", ["b", "c"]),
    ]


def test_groups_that_tie_are_removed_by_chance_not_by_the_alphabet():
    """Of b, c and d, which share the second place, each is the one to go for about a third of 300 queries."""
    queries, scores = [f"q{n}" for n in range(300)], np.tile([1.0, 0, 0, 0, -1], (300, 1))
    frame = rankings_frame("m", queries, list("abcde"), scores, None, None)
    second = [removed.names[1] for removed in top_groups(frame, "m", queries, [1, 2]) if len(removed.names) == 2]
    assert all(70 < second.count(group) < 130 for group in "bcd")
    columns = [3, 1, 4, 2, 0]
    shuffled = rankings_frame("m", queries, np.array(list("abcde"))[columns], scores[:, columns], None, None)
    assert list(top_groups(shuffled, "m", queries, [1, 2])) == list(top_groups(frame, "m", queries, [1, 2]))


def test_top_images_are_those_of_the_highest_scores_of_each_query():
    blocks = [(["q0", "q1"], np.array([[1, 9, 2, 8, 0], [0, 0, 0, 0, 0.0]])), (["q2"], np.array([[1, 2, 4, 3, 2.5]]))]
    found = list(top_images(blocks, TRAIN_IDS, "m", ["q0", "q2"], [1, 3]))
    assert found == [
        Removed("m", IMAGES, "q0", ["i2"]),
        Removed("m", IMAGES, "q0", ["i2", "i4", "i3"]),
        Removed("m", IMAGES, "q2", ["i3"]),
        Removed("m", IMAGES, "q2", ["i3", "i4", "i5"]),
    ]


def test_images_that_tie_are_removed_by_chance_not_by_the_tables_order():
    queries, scores = [f"q{n}" for n in range(300)], np.tile([1.0, 0, 0, 0, -1], (300, 1))
    second = [removed.names[1] for removed in top_images([(queries, scores)], TRAIN_IDS, "m", queries, [2])]
    assert all(70 < second.count(image) < 130 for image in TRAIN_IDS[1:4])
    columns = [3, 1, 4, 2, 0]
    shuffled = top_images([(queries, scores[:, columns])], [TRAIN_IDS[row] for row in columns], "m", queries, [2])
    assert [removed.names[1] for removed in shuffled] == second


@pytest.mark.parametrize("kind", ["euclidean", "cosine"])
def test_the_nearest_images_of_a_query_are_its_duplicates(kind):
    """The known answer: of 40 training images two are the query itself, and they are what is removed for K = 2."""
    generator = np.random.default_rng(0)
    images, query = (generator.integers(0, 256, (n, 1, 8, 8), dtype=np.uint8) for n in (40, 1))
    images[[7, 31]] = query
    ids = [f"i{row:02d}" for row in range(40)]
    (removed,) = top_images([(["q"], similarity(query, images, kind))], ids, "nearest", ["q"], [2])
    assert set(removed.names) == {"i07", "i31"}


def test_more_images_than_a_method_scores_are_refused():
    with pytest.raises(DataError, match="4 images cannot be removed, since abu scores only 3"):
        list(top_images([(["q"], np.zeros((1, 3)))], TRAIN_IDS[:3], "abu", ["q"], [2, 4]))


def test_random_removal_grows_and_depends_on_seed_and_query_alone():
    names, ks = [f"i{row:02d}" for row in range(50)], [2, 5]
    two, five, *_ = found = list(at_random(names, IMAGES, ["q0", "q1"], ks, 3))
    assert [(each.method, len(each.names)) for each in found] == [(CONTROL, 2), (CONTROL, 5)] * 2
    assert set(two.names) < set(five.names) < set(names)
    assert list(at_random(names, IMAGES, ["q1"], ks, 3)) == found[2:]
    assert found[0].names != found[2].names
    assert next(at_random(names, IMAGES, ["q0"], ks, 4)).names != two.names


def test_equal_sets_share_a_model_and_one_group_has_the_oracles():
    removals = [
        Removed("m", GROUPS, "q0", ["a"]),
        Removed("m", GROUPS, "q0", ["a", "b"]),
        Removed("n", GROUPS, "q1", ["b", "a"]),
        Removed("m", IMAGES, "q0", ["i4"]),
        Removed("n", IMAGES, "q1", ["i3", "i1", "i2"]),
    ]
    frame, sets = removal_sets(removals, MEMBERS, len(TRAIN_IDS), seed=7)
    pair, single = digest_lines(["i1", "i2", "i3"]), digest_lines(["i4"])
    assert sets == {pair: ["i1", "i2", "i3"], single: ["i4"]}
    assert frame.to_numpy().tolist() == [
        ["m", "groups", 1, "q0", "logo-7/a"],
        ["m", "groups", 2, "q0", f"removed-7/{pair}"],
        ["n", "groups", 2, "q1", f"removed-7/{pair}"],
        ["m", "images", 1, "q0", f"removed-7/{single}"],
        ["n", "images", 3, "q1", f"removed-7/{pair}"],  # the images of two groups, one by one
    ]


def test_nothing_left_to_train_on_is_refused():
    with pytest.raises(DataError, match="without a, b, c no training image is left"):
        removal_sets([Removed("m", GROUPS, "q", ["c", "b", "a"])], MEMBERS, 4, seed=0)


def test_a_models_digest_follows_from_its_name():
    train = TrainSpec.model_construct(images="i", excluded=None, unet=None, noise_schedule=None, training=None)
    of_group = train.model_copy(update={"excluded": "digest of a"})
    assert digest_of("logo-7/a", train, {"a": "digest of a"}) == of_group.digest()
    of_set = train.model_copy(update={"excluded": ExclusionSpec(members="0123").digest()})
    assert digest_of("removed-7/0123", train, {}) == of_set.digest()


def test_the_table_tells_the_query_aimed_at_from_the_others():
    """Three queries, two models: what is aimed at q0 without 'x', and at q1 without 'y'."""
    effects = {
        "x": {"loss_rise": np.array([6.0, 1.0, 2.0]), "mse": np.array([0.4, 0.1, 0.3])},
        "y": {"loss_rise": np.array([0.0, 8.0, 4.0]), "mse": np.array([0.0, 0.2, 0.2])},
    }
    sets = pd.DataFrame(
        [["m", "groups", 2, "q0", "x"], ["m", "groups", 2, "q1", "y"], [CONTROL, "groups", 2, "q1", "x"]],
        columns=["method", "unit", "k", "query", "model"],
    )
    frame = removal_table(sets, ["q0", "q1", "q2"], effects.__getitem__, 200, 0)
    assert list(frame.columns) == [
        "method", "unit", "k", "n_queries", "loss_rise", "loss_rise_low", "loss_rise_high", "mse",
        "others_loss_rise", "others_mse",
    ]  # fmt: skip
    first, control = frame.to_dict(orient="records")
    assert (first["method"], first["n_queries"], first["loss_rise"]) == ("m", 2, 7)
    assert (first["loss_rise_low"], first["loss_rise_high"]) == (6, 8)
    assert first["mse"] == pytest.approx(0.3)
    assert first["others_loss_rise"] == pytest.approx((1.5 + 2) / 2)  # q1 and q2 of x; q0 and q2 of y
    assert first["others_mse"] == pytest.approx((0.2 + 0.1) / 2)
    assert (control["method"], control["n_queries"], control["loss_rise"], control["others_loss_rise"]) == (
        CONTROL, 1, 1, 4)  # fmt: skip


def test_a_row_has_the_worst_health_of_its_models():
    sets = pd.DataFrame(
        [["m", GROUPS, 2, "q0", "x"], ["m", GROUPS, 2, "q1", "y"], [CONTROL, GROUPS, 2, "q1", "z"]],
        columns=["method", "unit", "k", "query", "model"],
    )
    found = {"x": Health(0.1, 1.5, "train"), "y": Health(0.1, 3.0, "train"), "z": Health(0.1, None, "train")}
    frame = worst_by_row(sets, found)
    assert frame["health_worst"].tolist() == pytest.approx([3.0, np.nan], nan_ok=True)
    assert list(frame["method"]) == ["m", CONTROL]
    assert worst_by_row(sets, {})["health_worst"].isna().all()


def test_the_figure_has_a_panel_a_unit_and_a_line_a_method():
    rows = [("m", GROUPS, k, 2.0 * k) for k in (1, 2)] + [(CONTROL, GROUPS, k, 0.5) for k in (1, 2)]
    frame = pd.DataFrame([*rows, ("m", IMAGES, 50, 3.0)], columns=["method", "unit", "k", "loss_rise"])
    frame = frame.assign(loss_rise_low=frame["loss_rise"] - 1, loss_rise_high=frame["loss_rise"] + 1)
    figure = removal_figure(frame)
    groups, images = figure.axes
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["m", CONTROL]
    assert [list(bars.lines[0].get_ydata()) for bars in groups.containers] == [[2, 4], [0.5, 0.5]]
    assert [label.get_text() for label in groups.get_xticklabels()] == ["1", "2"]
    assert images.get_xlabel() == "top images removed from training"


def test_the_names_of_many_methods_stand_below_the_figure_and_its_lines_differ():
    rows = [(f"conditional_posterior_{n}", GROUPS, k, float(n + k)) for n in range(14) for k in (1, 2)]
    frame = pd.DataFrame(rows, columns=["method", "unit", "k", "loss_rise"])
    figure = removal_figure(frame.assign(loss_rise_low=frame["loss_rise"] - 1, loss_rise_high=frame["loss_rise"] + 1))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    panel, legend = (part.get_window_extent(canvas.get_renderer()) for part in (figure.axes[0], figure.legends[0]))
    assert 0 <= legend.y0 < legend.y1 < panel.y0
    assert 0 <= legend.x0 < legend.x1 <= figure.bbox.width
    assert panel.height > 0.5 * figure.bbox.height
    assert len({(bars.lines[0].get_color(), bars.lines[0].get_marker()) for bars in figure.axes[0].containers}) == 14
