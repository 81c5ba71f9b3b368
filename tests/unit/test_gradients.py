"""Scores from features: by hand, for linear models of known influence; and the choice of the damping."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from guda import config, specs
from guda.core.artifacts import pack_ids, save_tensors
from guda.core.errors import GudaError
from guda.core.paths import TRAINING, Paths
from guda.core.seeding import chosen
from guda.data.groups import write_members
from guda.data.training_set import TrainingSet
from guda.methods import GRADIENT_METHODS, get_method
from guda.methods.gradients.compute import Kernel, gram
from guda.methods.gradients.damping import GRID, choose_damping
from guda.methods.gradients.features import projected_gradients
from guda.methods.gradients.plan import Gradients, GradientScoresSpec, GradientsSpec
from guda.plan.config import load_config
from guda.plan.experiment import Experiment

FEATURES = np.array([[2, 0], [0, 1]], np.float32)  # Gram matrix diag(4, 1), mean eigenvalue 2.5
RESIDUALS = np.array([1, 2], np.float32)
IDS = ["i0", "i1"]


def kernel(features, damping, residuals=None):
    ids = [f"image-{row}" for row in range(len(features))]
    return Kernel(np.asarray(features), np.ones(len(features)) if residuals is None else residuals, ids, damping)


def gradients_spec(samples, **changes):
    settings = {
        "function": "loss",
        "normalize": False,
        "steps": [10],
        "own_noise": False,
        "seed": 0,
        "projection_dim": 2,
    }
    schedule = config.NoiseSchedule()
    return GradientsSpec(base="b", noise_schedule=schedule, samples=samples, **settings | changes)


# --- scores ------------------------------------------------------------------------------------------


def test_the_kernel_by_hand():
    # lambda = 0.4 * 2.5 = 1: (1, 1) diag(5, 2)^-1 (2, 0) and (0, 1).
    found = kernel(FEATURES, 0.4)
    assert found.ridge == pytest.approx(1)
    np.testing.assert_allclose(found(np.array([[1, 1], [0, -4]], np.float32)), [[0.4, 0.5], [0, -2]], rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("trak", [0.9, 0.5]), ("dtrak", [0.9, 0.5]), ("das", [0.4**2 + (0.5 * 2) ** 2, (0.5 * 2) ** 2])],
)
def test_groups_sum_their_images_by_hand(name, expected, tmp_path):
    """Group a has both images, b the second; the kernel is that of the test above."""
    paths, members = Paths(tmp_path), {}
    for group, ids in (("a", IDS), ("b", IDS[1:])):
        spec = specs.GroupSpec(dataset="d", group=group, members=specs.digest_lines(ids))
        write_members(paths.group(group), spec, ids)
        members[group] = spec.digest()
    images = specs.ImagesSpec(dataset="d", content="c")
    save_tensors(paths.images(), {"images": np.zeros((2, 1, 2, 2), np.uint8), "ids": pack_ids(IDS)}, images)
    of_training, of_queries = gradients_spec("training"), gradients_spec("queries")
    tensors = {"features": FEATURES, "residuals": RESIDUALS, "ids": pack_ids(IDS)}
    save_tensors(paths.features(name, TRAINING), tensors, of_training)
    tensors = {"features": np.ones((1, 2), np.float32), "residuals": RESIDUALS[:1], "ids": pack_ids(["q"])}
    save_tensors(paths.features(name, "bucket-0000"), tensors, of_queries)
    spec = GradientScoresSpec(
        method=name,
        images=images.digest(),
        members=members,
        training=of_training.digest(),
        queries={"bucket-0000": of_queries.digest()},
        settings=Gradients(aggregate="sum", damping=0.4),
    )
    found = get_method(name).scores(spec, paths)
    assert (found.queries, found.groups, found.details) == (["q"], ["a", "b"], {"damping": 0.4})
    np.testing.assert_allclose(found.score, [expected], rtol=1e-12)


def test_a_copy_of_a_training_image_has_its_score():
    draw = np.random.default_rng(0)
    features = draw.standard_normal((30, 8)).astype(np.float32)
    features[20] = features[4]
    scores = kernel(features, 0.1)(draw.standard_normal((5, 8)).astype(np.float32))
    np.testing.assert_allclose(scores[:, 20], scores[:, 4], rtol=1e-10)


def test_blocks_of_images_give_the_same(monkeypatch):
    draw = np.random.default_rng(1)
    features, queries = (draw.standard_normal((n, 8)).astype(np.float32) for n in (100, 7))
    whole = kernel(features, 0.1)(queries)
    monkeypatch.setattr("guda.methods.gradients.compute.FEATURES", 8 * 13)
    np.testing.assert_allclose(kernel(features, 0.1)(queries), whole, rtol=1e-10)


@pytest.mark.parametrize(("own_noise", "places"), [(False, 1), (True, 3)])
def test_a_query_that_is_a_training_image_finds_it(denoiser, images, own_noise, places):
    """Under noise of its own, which its other name brings, among the first three of twelve."""
    spec = gradients_spec("s", steps=list(range(50, 1000, 50)), own_noise=own_noise, projection_dim=256)
    training, _ = projected_gradients(denoiser, TrainingSet(images, [f"image-{row}" for row in range(12)]), spec, 240)
    queries, _ = projected_gradients(denoiser, TrainingSet(images[:4], [f"query-{row}" for row in range(4)]), spec, 240)
    order = (-kernel(training, 1.0)(queries)).argsort(axis=1)
    assert all(row in order[row, :places] for row in range(4))


def test_damping_that_leaves_a_singular_kernel_is_refused():
    features = np.ones((4, 3), np.float32)
    with pytest.raises(GudaError, match="damping 1e-30 is too small for these gradients; raise it, or write auto"):
        kernel(features, 1e-30)


# --- linear models -----------------------------------------------------------------------------------


@pytest.fixture
def regression():
    """Least squares whose residuals are +-c: x [40, 3], y [40], a further point, c."""
    draw = np.random.default_rng(2)
    c, signs = 0.3, np.tile([1.0, -1.0], 20)
    x = draw.standard_normal((40, 3))
    x -= np.outer(signs, signs @ x) / 40  # orthogonal to the residuals, as least squares needs
    y = x @ np.array([1.0, -2.0, 0.5]) + c * signs
    return x, y, draw.standard_normal(3), 0.7, c


def without(x, y, row):
    return np.linalg.lstsq(np.delete(x, row, 0), np.delete(y, row), rcond=None)[0]


def test_trak_is_first_order_influence_on_the_loss(regression):
    """Where all residuals are +-c, Phi^T Phi = 4 c^2 X^T X: the empirical Fisher information is the Hessian.

    Leaving out i, the loss of a query changes to first order by -2 r x^T (theta_-i - theta), theta_-i - theta being
    -(X^T X)^-1 x_i r_i / (1 - h_i) by the normal equations. TRAK leaves out the leverage h_i, as its paper does.
    """
    x, y, x_q, y_q, c = regression
    theta = np.linalg.lstsq(x, y, rcond=None)[0]
    residuals, r_q = y - x @ theta, y_q - x_q @ theta
    np.testing.assert_allclose(np.abs(residuals), c)
    scores = kernel(-2 * residuals[:, None] * x, 1e-9)(-2 * r_q * x_q[None])[0]
    leverage = (x * np.linalg.solve(x.T @ x, x.T).T).sum(1)
    change = [-2 * r_q * x_q @ (without(x, y, row) - theta) for row in range(len(x))]
    np.testing.assert_allclose(2 * c**2 * scores / (1 - leverage), change, rtol=1e-6)


def test_das_is_the_squared_change_of_the_output(regression):
    """For the output itself: exact with the leverage 1 - h_i, which the score leaves out."""
    x, y, x_q, _, _ = regression
    theta = np.linalg.lstsq(x, y, rcond=None)[0]
    residuals = y - x @ theta
    scores = (kernel(x, 1e-9)(x_q[None])[0] * residuals) ** 2
    leverage = (x * np.linalg.solve(x.T @ x, x.T).T).sum(1)
    change = [(x_q @ (without(x, y, row) - theta)) ** 2 for row in range(len(x))]
    np.testing.assert_allclose(scores / (1 - leverage) ** 2, change, rtol=1e-6)


# --- damping -----------------------------------------------------------------------------------------


def drawn(n, spread, seed=0):
    return np.random.default_rng(seed).standard_normal((n, len(spread))) * spread


def choice(features):
    half = len(features) // 2
    parts = features[:half], features[half:]
    return choose_damping(tuple(part.T @ part for part in parts), tuple(map(len, parts)))


def test_the_damping_is_the_one_that_makes_held_out_features_most_likely():
    features = drawn(60, np.geomspace(1, 0.05, 12))
    likelihood = np.zeros(len(GRID))
    for seen, held_out in ((features[:30], features[30:]), (features[30:], features[:30])):
        gram_matrix = seen.T @ seen
        for column, damping in enumerate(GRID):
            covariance = (gram_matrix + damping * np.trace(gram_matrix) / 12 * np.eye(12)) / 30
            likelihood[column] += multivariate_normal(np.zeros(12), covariance).logpdf(held_out).mean()
    assert choice(features) == GRID[likelihood.argmax()]
    assert 0 < likelihood.argmax() < len(GRID) - 1


def test_the_less_images_say_of_a_direction_the_stronger_the_damping():
    wide = np.geomspace(1, 0.01, 16)
    many, few, alike = choice(drawn(4000, wide)), choice(drawn(24, wide)), choice(drawn(24, np.ones(16)))
    assert many < few < alike


def test_auto_takes_halves_by_the_images_own_ids():
    features = drawn(50, np.geomspace(1, 0.05, 8), seed=3).astype(np.float32)
    ids = [f"image-{row}" for row in range(50)]
    first = np.array(chosen(ids, 25, "damping"))
    second = np.setdiff1d(np.arange(50), first)
    expected = choose_damping((gram(features, first), gram(features, second)), (25, 25))
    order = np.random.default_rng(0).permutation(50)
    assert kernel(features, "auto").damping == expected
    assert Kernel(features[order], np.ones(50), [ids[row] for row in order], "auto").damping == expected


# --- specs -------------------------------------------------------------------------------------------


def experiment(**settings):
    return Experiment(load_config({"methods": ["trak", "das"], "attribution": {"trak": settings}}))


def test_features_are_made_again_for_what_they_depend_on_alone():
    before = get_method("trak").features_spec(experiment(), TRAINING)
    assert get_method("trak").features_spec(experiment(damping=0.1, aggregate="mean"), TRAINING) == before
    for change in ({"steps": 3}, {"projection_dim": 64}, {"own_noise": True}, {"seed": 5}):
        assert get_method("trak").features_spec(experiment(**change), TRAINING) != before
    assert experiment(damping=0.1).method_spec("trak") != experiment().method_spec("trak")
    assert experiment(damping=0.1).method_spec("das") == experiment().method_spec("das")


def test_the_default_experiment_computes_no_gradients():
    default = Experiment(load_config({}))
    files = [file for name in default.score_names for file in default.method_files(name)]
    assert files
    assert not [file for file in files if any(f"/{name}/" in file for name in GRADIENT_METHODS)]


@pytest.mark.parametrize("value", [0, -1.0, "Auto", True, [1]])
def test_damping_is_auto_or_a_positive_number(value):
    with pytest.raises(GudaError, match=r"attribution\.trak\.damping"):
        experiment(damping=value)
