"""Is the base model any good, and did unlearning do what it should: the figures, the words and the pictures."""

import numpy as np
import pandas as pd
import pytest

from guda.core.artifacts import write_csv
from guda.core.paths import BASE, record_of
from guda.core.records import write_record
from guda.evaluation.quality import NUMBERS
from guda.evaluation.two_sample import FEWEST, auroc, kid, precision, two_samples
from guda.models.quality import base_remark, unlearned_remark
from guda.plan.config import load_config
from guda.plan.experiment import Experiment
from guda.plan.quality import compared, quality_notes, quality_spec
from guda.report.curves import curves_figure
from guda.report.samples import FRAME, contact_sheet, samples_figure

NORMAL = np.random.default_rng(0).normal(size=(400, 8))
IDS = [f"i{row}" for row in range(200)]


def column(*values):
    return np.array(values, dtype=float)[:, None]


def test_kid_by_hand():
    # k(x, y) = (x y + 1)^3: within {0, 1} 1, within {1, 2} 27, between 1, 1, 8 and 27, whose mean is 37/4.
    assert kid(column(0, 1), column(1, 2)) == pytest.approx(1 + 27 - 2 * 37 / 4)


def test_kid_of_samples_of_one_distribution_is_zero_on_average():
    found = [kid(part[:20], part[20:]) for part in np.split(NORMAL, 10)]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(10)
    assert kid(NORMAL[:200] + 1, NORMAL[200:]) > 10 * max(found)


def test_precision_by_hand():
    # Distances to the third nearest other image: 3, 2, 2, 3 and 9. So up to -3 and up to 19 belong to it.
    assert precision(column(-3, -3.5, 19, 19.5), column(0, 1, 2, 3, 10)) == 0.5


def test_a_classifier_tells_what_differs_and_nothing_else():
    assert abs(auroc(NORMAL[:200], NORMAL[200:]) - 0.5) < 0.1
    assert auroc(NORMAL[:200] + 3, NORMAL[200:]) > 0.99


def test_generated_images_that_are_like_training_images_score_as_these_do():
    found, floor = two_samples(NORMAL[200:300], NORMAL[:200], IDS)
    assert abs(found.precision - floor.precision) < 0.15
    assert abs(found.auroc - floor.auroc) < 0.2
    found, floor = two_samples(NORMAL[200:300] + 10, NORMAL[:200], IDS)
    assert (found.precision, found.auroc) == (0, 1)
    assert floor.precision > 0.7


def test_units_of_features_and_those_that_never_change_do_not_matter():
    scaled = np.concatenate([NORMAL * np.arange(1, 9) + 5, np.full((400, 1), 7.0)], axis=1)
    plain = np.concatenate([NORMAL, np.zeros((400, 1))], axis=1)
    one, other = (two_samples(each[200:300], each[:200], IDS)[0] for each in (scaled, plain))
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_of_few_images_there_are_no_figures():
    assert two_samples(NORMAL[: FEWEST - 1], NORMAL[:200], IDS) is None
    assert two_samples(NORMAL[:200], NORMAL[: 2 * FEWEST - 1], IDS[: 2 * FEWEST - 1]) is None


GOOD = dict.fromkeys(NUMBERS, np.nan) | {
    "n_generated": 256,
    "precision": 0.72,
    "precision_floor": 0.92,
    "falls": 0.05,
}


def test_what_is_said_of_a_base_model():
    assert base_remark(GOOD) == base_remark(GOOD | {"precision": np.nan}) == ""
    poor = base_remark(GOOD | {"precision": 0.41})
    assert poor.startswith("only 41% of the generated images lie among training images, where 92% of other training")
    assert poor.endswith("look at figures/samples.png, and train a larger network or for longer")
    # A standard error of 15 images is .13: .41 may be .54 by chance, and the limit is .552; of 10 images .16.
    assert base_remark(GOOD | {"precision": 0.41, "n_generated": 15}) != ""
    assert base_remark(GOOD | {"precision": 0.41, "n_generated": 10}) == ""
    assert "falling, by 11% in the second half of training: raise training.steps" in base_remark(
        GOOD | {"precision": 0.41, "falls": 0.11}
    )


def test_what_is_said_of_an_unlearned_model():
    row = {"health_ratio": 1.2, "forgetting": 1.1}
    assert unlearned_remark(row) == unlearned_remark({"health_ratio": np.nan, "forgetting": np.nan}) == ""
    assert unlearned_remark(row | {"health_ratio": 5.25}).startswith(
        "unlearned too much: 5.25 times the base model's loss"
    )
    assert unlearned_remark(row | {"forgetting": 0.2}).startswith("unlearned too little")


def experiment(tmp_path, **changes):
    return Experiment(load_config({"results": str(tmp_path)} | changes))


def test_what_is_compared_and_why_nothing_is(tmp_path):
    many = experiment(tmp_path, queries={"count": 2000, "buckets": 20})
    assert 5 < len(compared(many)) < 10  # a hundred in each bucket: no more than it takes for 512
    assert list(quality_spec(many).features) == compared(many)
    for changes, reason in (
        ({"queries": {"count": FEWEST - 1, "buckets": 1}}, "fewer than 10 generated"),
        ({"data": {"held_out": {"count": 20}}}, "the queries are given"),
        ({"unet": {"mid_block_type": None}, "methods": ["guda"]}, "no middle block"),
    ):
        spec = quality_spec(experiment(tmp_path, **changes))
        assert spec.features == {}
        assert reason in spec.unseen


def test_the_plan_tells_of_a_poor_base_model_as_long_as_the_table_is_of_it(tmp_path):
    of = experiment(tmp_path)
    row = GOOD | {"model": BASE, "precision": 0.1}
    write_csv(of.paths.quality(), pd.DataFrame([row]))
    write_record(record_of(of.paths.quality()), quality_spec(of), [of.paths.quality()], seconds=0)
    (note,) = quality_notes(of)
    assert note.startswith("base model: only 10% of the generated images")
    assert note in of.notes()
    assert quality_notes(experiment(tmp_path, unlearn={"steps": 77})) == [note]
    assert quality_notes(experiment(tmp_path, training={"steps": 77})) == []
    assert quality_notes(experiment(tmp_path / "elsewhere")) == []


def test_white_pictures_are_framed():
    sheet = contact_sheet(np.full((18, 3, 2, 4), 255, dtype=np.uint8))  # two rows of 16
    assert sheet.shape == (2 * 3 + 1, 16 * 5 + 1, 3)
    assert (sheet[0] == FRAME).all()
    assert (sheet[1:3, 1:5] == 255).all()
    assert (sheet[1:3, 5] == FRAME).all()
    assert (sheet[4:6, 11:] == FRAME).all()  # there are two pictures in the second row


def test_figures_say_which_pictures_are_which_and_what_is_not_known():
    white = np.full((3, 1, 8, 8), 255, dtype=np.uint8)
    titles = [axes.get_title() for axes in samples_figure(white, white, True).axes]
    assert titles == ["generated by the base model", "training images"]
    assert samples_figure(white, white, False).axes[0].get_title() == "queries (not generated by the base model)"
    table = pd.DataFrame({"model": ["guda/a"], "step": [1.0], "loss": [0.5]})
    (text,) = curves_figure(table).axes[0].texts
    assert text.get_text().startswith("no learning curve of the base model")
