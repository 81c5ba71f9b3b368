"""How likely another run, from another seed, puts the same group first; and whether that is so."""

import numpy as np
import pytest
from golden_methods import MODELS, OF_ANOTHER_SEED, counterfactual_spec, save_terms
from scipy.stats import norm

from guda.core.paths import BASE, Paths
from guda.core.records import write_record
from guda.evaluation.reliability import reliability_table
from guda.evaluation.scores import Scores, read_scores
from guda.methods import get_method
from guda.methods.another_run import first_of_another_run
from guda.methods.counterfactual.plan import RepeatedSpec
from guda.methods.counterfactual.retained import calibrated, lower_half, retained
from guda.methods.random.plan import RandomSpec
from guda.methods.resampling import RESAMPLES, summarize

SHARE_ERROR = 1 / (2 * np.sqrt(RESAMPLES))  # the largest standard error of a share of RESAMPLES draws, 0.016


@pytest.mark.parametrize(
    ("spread", "error", "shrunk", "larger"),
    [
        (0, 3.0, 0, 1),  # all queries have the same true score: this one's own says nothing of it
        (4, 3.0, 16 / 25, 1 + 16 / 25),
        (400, 3.0, 1, 2),  # nothing is known but the score: both runs' errors count
    ],
)
def test_two_groups_by_hand(spread, error, shrunk, larger):
    """True scores are normal with a variance t^2 around 1 (of the other group always 0, without error).

    Given a score with an error e they are normal around 1 + b (score - 1), with variance b e^2, for b = t^2 / (t^2 +
    e^2), and another run's score with e^2 (1 + b): p = Phi of mean over deviation.
    """
    score = np.zeros((2000, 2))
    score[:, 0] = 1 + np.hypot(spread, error * (spread > 0)) * norm.ppf((np.arange(2000) + 0.5) / 2000)
    p = first_of_another_run(score, np.tile([error, 0.0], (2000, 1)))
    expected = norm.cdf((1 + shrunk * (score[:, 0] - 1)) / (error * np.sqrt(larger)))
    np.testing.assert_allclose(p[100:-100, 0], expected[100:-100], atol=4 * SHARE_ERROR)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)


def test_one_query_alone_is_known_by_its_score():
    p = first_of_another_run(np.array([[5.0, 4.0]]), np.array([[3.0, 4.0]]))
    between = norm.cdf(1 / np.sqrt([50, 25]))  # what follows when nothing else is known, or when true scores are known
    assert between[0] - 3 * SHARE_ERROR < p[0, 0] < between[1] + 3 * SHARE_ERROR


def test_scores_without_error_are_the_same_in_another_run_and_ties_share():
    p = first_of_another_run(np.array([[3.0, 1.0, 2.0], [1.0, 4.0, 4.0]]), np.zeros((2, 3)))
    np.testing.assert_allclose(p, [[1, 0, 0], [0, 0.5, 0.5]], rtol=1e-12)
    assert np.isnan(first_of_another_run(np.zeros((1, 2)), np.array([[1.0, np.nan]]))).all()


# Terms of three calibration images by two models at two steps. Their deviations are (a - b) / sqrt 2 and its negative,
# so a standard error is |a - b|.
TERMS = np.array([[[1, 3], [1, 0]], [[3, 5], [0, 3]], [[9, 9], [2, 3]]], dtype=np.float64)
HELD = [np.array([False, False, True]), np.array([False, False, False])]


def test_scores_of_retained_images_say_how_large_errors_are():
    # Group 0: damage (2, 4), what is left (-1, -1) and (1, 1), so scores -2, 2 and no noise. Group 1: damage (1, 2),
    # left (0, -2), (-1, 1), (1, 1), so scores -2, 0, 2 and standard errors 2, 2, 0; below the median -2, squared 4.
    found = retained(TERMS[None], HELD)
    np.testing.assert_allclose(found.damage, [[2, 4], [1, 2]])
    np.testing.assert_allclose(found.dispersion, [0, np.sqrt(4 / (8 / 3))])
    np.testing.assert_allclose(found.damage_se, [np.sqrt(8) / np.sqrt(2), 2 / np.sqrt(3)])

    queries = np.array([[[4.0, 8.0], [5.0, 3.0]]])  # less the damage (2, 4) and (4, 1): standard errors 2 and 3
    score, se, p_top1_scoring, error = calibrated(queries, found)
    np.testing.assert_allclose(score, [[6, 5]])
    np.testing.assert_allclose(se, [[2, 3]])
    np.testing.assert_allclose(error, [[2, np.sqrt(1.5 * 9 + 4 / 3)]])
    np.testing.assert_array_equal(p_top1_scoring, summarize(queries - found.damage)[2])


def test_several_runs_say_it_by_their_differences():
    # Another run, of group 1: (0, -1), (0, 3), (3, 4), so scores -4, 0, 4 and between runs variances 2, 0, 2, of means
    # over both half of that. The means of terms less (1, 2) have the standard errors 2, 2, 0 and scores -3, 0, 3.
    other = TERMS + np.array([[[0, 0], [-1, -1]], [[0, 0], [0, 0]], [[0, 0], [1, 1]]])
    found = retained(np.stack([TERMS, other]), HELD)
    np.testing.assert_allclose(found.damage, [[2, 4], [1, 2]])
    np.testing.assert_allclose(found.dispersion[1], np.sqrt((8 / 3 + 2 / 3) / (8 / 3)))
    np.testing.assert_allclose(found.damage_se[1], 3 / np.sqrt(3))


def test_effects_on_retained_images_are_no_errors():
    """A third of the retained images is far worse off without the group, which gives the scores a variance of 90."""
    noise = norm.ppf((np.arange(30000) + 0.5) / 30000)
    affected = np.concatenate([noise[::3] + 20, noise[1::3], noise[2::3]])
    assert lower_half(noise) == pytest.approx(1, rel=1e-3)
    # Two thirds are normal, so the median is at m = .674, three quarters of these: E[(z - m)^2 | z < m] is 1.74.
    m = norm.ppf(0.75)
    assert lower_half(affected) == pytest.approx(1 + m**2 + m * norm.pdf(m) / 0.75, rel=1e-3)
    assert np.var(affected) == pytest.approx(1 + 400 * 2 / 9, rel=1e-3)
    assert lower_half(np.zeros(3)) == 0


def test_where_one_image_is_retained_or_one_step_scored_nothing_is_known():
    held = [np.array([True, True, False]), HELD[1]]
    assert np.isnan(calibrated(TERMS, retained(TERMS[None], held))[3]).tolist() == [[True, False]] * 3
    assert np.isnan(calibrated(TERMS[..., :1], retained(TERMS[None, ..., :1], HELD))[3]).all()
    assert np.isnan(calibrated(TERMS, None)[3]).all()


def test_scores_over_seeds_are_the_mean_of_those_of_each_and_of_one_seed_its_own(tmp_path):
    models = {BASE: 0, "guda/a": 1, "guda/b": 2, "guda-seed-7/a": 1.5, "guda-seed-7/b": 4}
    save_terms(tmp_path, models)
    runs = [counterfactual_spec(tmp_path, models=models) for models in (MODELS, OF_ANOTHER_SEED)]
    method, paths = get_method("guda"), Paths(tmp_path)
    first, other, mean = (method.scores(spec, paths) for spec in (*runs, RepeatedSpec(runs=runs)))
    np.testing.assert_allclose(mean.score, (first.score + other.score) / 2, rtol=1e-12)
    assert (mean.queries, mean.groups) == (first.queries, first.groups)
    alone = method.scores(RepeatedSpec(runs=runs[:1]), paths)
    for name in ("score", "se", "p_top1_scoring", "p_top1"):
        np.testing.assert_array_equal(getattr(alone, name), getattr(first, name))


def test_a_reliability_table_by_hand():
    # First places of run 0: a, a, b; of run 1: a, b, b; of the oracle: a, a, both. Their p: .9, .3, .5 and 1, .3, .5.
    scores = [np.array([[2.0, 1], [2, 1], [1, 2]]), np.array([[2.0, 1], [1, 2], [1, 2]])]
    p = [np.array([[0.9, 0.1], [0.3, 0.7], [0.5, 0.5]]), np.array([[1.0, 0], [0.7, 0.3], [0.5, 0.5]])]
    runs = [Scores(list("xyz"), ["a", "b"], score, p_top1=found) for score, found in zip(scores, p, strict=True)]
    table = reliability_table(runs, np.array([[1.0, 0], [1, 0], [1, 1]]))
    assert table.to_dict("split")["data"] == [
        ["p_top1", 0.2, 0.4, 2, 0.3, 0.0, 0.5],
        ["p_top1", 0.4, 0.6, 2, 0.5, 1.0, 0.5],
        ["p_top1", 0.8, 0.9, 1, 0.9, 1.0, 1.0],
        ["p_top1", 0.95, 1.0, 1, 1.0, 1.0, 1.0],
    ]
    alone = reliability_table(runs)
    assert alone["agrees_with_oracle"].isna().all()
    assert alone.drop(columns="agrees_with_oracle").equals(table.drop(columns="agrees_with_oracle"))
    columns = ["probability", "above", "up_to", "n_places", "p", "agrees_with_run", "agrees_with_oracle"]
    assert list(table.columns) == columns


@pytest.mark.parametrize("spread", [4.0, 12.0])
def test_probabilities_by_the_true_error_are_kept(spread):
    """Whether effects are smaller than the errors or larger; a probability by a third of the error is not kept."""
    generator, names = np.random.default_rng(0), [list(map(str, range(2000))), list("abcd")]
    truth, error = spread * generator.normal(size=(2000, 4)), np.full((2000, 4), 2.0)
    runs = []
    for _ in range(3):
        score = truth + error * generator.normal(size=truth.shape)
        p, boasting = (first_of_another_run(score, each) for each in (error, error / 3))
        runs.append(Scores(*names, score, p_top1_scoring=boasting, p_top1=p))
    table = reliability_table(runs, truth).query("n_places > 200").set_index("probability")
    kept, boasted = (table.loc[[name]].eval("p - agrees_with_run") for name in ("p_top1", "p_top1_scoring"))
    assert (len(kept) > 2, kept.abs().max() < 0.06) == (True, True)  # 200 places have a standard error of .035 at most
    assert boasted.max() > 0.12


def test_scores_of_before_there_were_two_probabilities_have_that_of_scoring(tmp_path):
    path, spec = tmp_path / "old.csv", RandomSpec(groups=["a", "b"], buckets={}, seed=0)
    path.write_text("query,group,score,se,p_top1\nq,a,2.5,0.5,0.75\nq,b,1.5,0.25,0.25\n")
    write_record(path.with_suffix(".record.json"), spec, [path], seconds=0)
    scores = read_scores(str(path), spec.digest())
    assert scores.p_top1_scoring.tolist() == [[0.75, 0.25]]
    assert np.isnan(scores.p_top1).all()
