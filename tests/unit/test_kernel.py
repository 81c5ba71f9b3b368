"""The counterfactual without training: by hand, against ideal denoisers, and what it must not depend on."""

import numpy as np
import pytest
import test_exact_bayes
import torch
from golden_inputs import IDS
from test_elbo import RecordingDenoiser
from test_exact_bayes import IdealDenoiser
from text_experiments import text_experiment
from text_inputs import LATENTS, captions, text_denoiser

from guda.core.errors import ArtifactError, ConfigError
from guda.core.paths import TRAINING
from guda.core.seeding import gaussian
from guda.data.training_set import TrainingSet
from guda.methods import get_method
from guda.methods.kernel import means
from guda.methods.kernel import terms as terms_module
from guda.methods.kernel.means import kernel_logits, shifts
from guda.methods.kernel.terms import FeatureKernel, PixelKernel, fitted_kernels, kernel_terms
from guda.methods.kernel.width import errors, fit_width
from guda.plan.config import load_config
from guda.plan.experiment import Experiment
from guda.scoring.elbo import kl_terms

CPU = torch.device("cpu")
STEPS = np.array([40, 110, 286])


def rows(*groups):
    return [torch.tensor(group) for group in groups]


def floats(*values):
    return torch.tensor(values, dtype=torch.float64)


# --- by hand: three images 0, 1 and 3 of one pixel ------------------------------------------------------

THREE = floats(0, 1, 3).reshape(3, 1, 1, 1)


def test_logits_are_squared_distances_over_twice_the_variance():
    """x = 1 at scale 1/2: (1 - a / 2)^2 = 1, 1/4, 1/4; over twice the variance 2."""
    found = kernel_logits(floats([1]), THREE, floats(0.5), floats(2))
    torch.testing.assert_close(found - found.max(), floats([-0.25, -0.0625, -0.0625]) + 0.0625)


def test_shifts_by_hand():
    """Weights 1/4, 1/2, 1/4: the mean is 5/4, without the first image 5/3, without the others 0."""
    first, others = shifts(floats([1, 2, 1]).log(), THREE, rows([0], [1, 2]))
    torch.testing.assert_close(torch.cat([first, others]), floats([5 / 4 - 5 / 3], [5 / 4]))


def test_terms_by_hand_in_float64(schedule):
    """Two queries, three black, white and gray images of which the second is in both groups, and a network known."""
    levels = np.array([0, 255, 102])
    images = torch.from_numpy(levels).to(torch.uint8).reshape(3, 1, 1, 1)
    training_set, queries = TrainingSet(images, ["a", "b", "c"]), TrainingSet(images[[2, 0]], ["q0", "q1"])
    features = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 1.0], [-1.0, 2.0]]))
    kernels = [PixelKernel(images, 0.3), FeatureKernel(features[[1, 2]], features, 0.5)]
    groups = [[0, 1], [1]]
    denoiser = RecordingDenoiser(schedule, 0.5)
    found = kernel_terms(denoiser, queries, training_set, kernels, rows(*groups), STEPS, 3, batch_size=5)
    x, cosines = levels / 127.5 - 1, (features @ features.T).double().numpy()
    expected = np.empty((2, 2, 3))
    for query, image in enumerate((2, 0)):
        for column, i in enumerate(STEPS):
            gamma, sigma, weight = (values[i] for values in (schedule.gammas, schedule.sigmas, schedule.kl_weights))
            e = float(gaussian(3, f"q{query}", int(i), (1, 1, 1))[0, 0, 0])
            x_t = gamma * x[image] + sigma * e
            predicted = 0.5 * x_t + i / 1000
            by_pixels = np.exp(-((x_t - gamma * x) ** 2) / (2 * (sigma**2 + gamma**2 * 0.3)))
            by_features = np.exp(cosines[query + 1] / 0.5)
            for group, held in enumerate(groups):
                terms = []
                for weights in (by_pixels, by_features):
                    kept = np.delete(weights, held)
                    shift = (weights @ x) / weights.sum() - (kept @ np.delete(x, held)) / kept.sum()
                    shifted = predicted + gamma / sigma * shift
                    terms.append(weight * ((e - shifted) ** 2 - (e - predicted) ** 2))
                expected[query, group, column] = np.mean(terms)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-6)


def test_the_width_that_predicts_images_without_their_group_by_hand():
    """Without itself and the image 1, 0 is predicted by 3 alone; 3 by the mean of 0 and 1 with weights by the width."""
    found = errors(THREE, THREE, [0, 2], rows([0, 1], [2]), np.array([1.0, 4.0]), CPU)
    ones = [np.exp(-4 / (2 * h)) / (np.exp(-9 / (2 * h)) + np.exp(-4 / (2 * h))) for h in (1, 4)]
    np.testing.assert_allclose(found, [(3**2 + (3 - one) ** 2) / 2 for one in ones])


# --- against what it stands for -------------------------------------------------------------------------


@pytest.fixture
def few():
    """Twelve images of 1x2x2 in three clusters, in overlapping groups that leave two out; six queries near them."""
    generator = torch.Generator().manual_seed(2)
    centers = torch.tensor([[20, 20, 230, 230], [230, 20, 20, 230], [120, 120, 120, 20]])[torch.arange(12) % 3]
    pixels = (centers + torch.randint(-15, 16, (12, 4), generator=generator)).to(torch.uint8).reshape(12, 1, 2, 2)
    near = (centers[:6] + torch.randint(-15, 16, (6, 4), generator=generator)).to(torch.uint8).reshape(6, 1, 2, 2)
    training_set = TrainingSet(pixels, [f"i{row}" for row in range(12)])
    return training_set, TrainingSet(near, [f"q{row}" for row in range(6)]), rows([0, 3, 6, 9], [1, 4, 7], [3, 4, 5])


def test_shifting_the_ideal_denoiser_of_all_images_gives_that_of_the_retained_ones(schedule, few, monkeypatch):
    """Of images as they are, without a width: the score is then what retraining without the group would give.

    It is also where the first group alone has images near the query, beside which the weight of all others rounds to 0.
    """
    monkeypatch.setattr(test_exact_bayes, "SCALE", 0.0)
    training_set, queries, members = few
    pixels = means.vectors(training_set.images, CPU)

    def terms(kept):
        return kl_terms(IdealDenoiser(pixels[kept], schedule), queries.images, queries.ids, STEPS, 0, 100).double()

    every = torch.arange(12)
    kernels = [PixelKernel(training_set.images, 0.0)]
    ideal = IdealDenoiser(pixels, schedule)
    found = kernel_terms(ideal, queries, training_set, kernels, members, STEPS, 0, 100)
    expected = torch.stack([terms(every[~torch.isin(every, held)]) - terms(every) for held in members], dim=1)
    x_t = schedule.gammas[40] * means.vectors(queries.images[:1], CPU)
    logits = kernel_logits(x_t, pixels, floats(schedule.gammas[40]), floats(schedule.sigmas[40] ** 2))
    assert logits.softmax(1)[0, ~torch.isin(every, members[0])].sum() < 1e-100
    assert expected[0, 0, 0] > 10
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


def test_a_group_without_images_nearby_scores_nothing_and_one_that_has_them_all_much(schedule, few):
    training_set, queries, members = few
    kernels = [PixelKernel(training_set.images, 0.001)]
    found = kernel_terms(RecordingDenoiser(schedule, 0.1), queries, training_set, kernels, members, STEPS[:1], 0, 100)
    of_first = found[[0, 3], :, 0]  # queries of the first group's cluster
    assert of_first[:, 0].min() > 10
    torch.testing.assert_close(of_first[:, 1], torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-12)


def test_neither_batches_nor_blocks_change_a_score(denoiser, images, monkeypatch):
    training_set, queries = TrainingSet(images, IDS), TrainingSet(images.flip(3)[:5], IDS[:5])
    members = rows([0, 1, 2, 3], [3, 4], list(range(11)))
    features = [torch.cos(torch.arange(n * 6) * 1.3).reshape(n, 6) for n in (12, 5)]

    def scored(batch_size, among=slice(None)):
        kernels, widths = fitted_kernels(training_set, members, True, [features[0], features[1][among]], CPU)
        some = TrainingSet(queries.images[among], queries.ids[among])
        return kernel_terms(denoiser, some, training_set, kernels, members, STEPS, 1, batch_size), widths

    whole, widths = scored(64)
    assert whole.shape == (5, 3, 3)
    torch.testing.assert_close(scored(2)[0], whole, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(scored(64, slice(1, 3))[0], whole[1:3], rtol=1e-4, atol=1e-6)
    monkeypatch.setattr(means, "NUMBERS", 5 * 64)  # five images at a time
    monkeypatch.setattr(terms_module, "WEIGHTS", 24)  # two queries
    monkeypatch.setattr("guda.methods.kernel.width.WEIGHTS", 24)
    in_blocks, widths_in_blocks = scored(64)
    assert widths_in_blocks == pytest.approx(widths)
    torch.testing.assert_close(in_blocks, whole, rtol=1e-9, atol=1e-12)


def test_the_width_grows_with_the_distance_to_other_groups(few):
    """Two images of one cluster in different groups predict each other; in one group, another cluster has to."""
    training_set, _, _ = few
    images, ids = training_set.images, training_set.ids
    apart = fit_width(images, images, ids, rows([0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]), CPU)
    mixed = fit_width(images, images, ids, rows([0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]), CPU)
    assert mixed < 0.1 * apart
    with pytest.raises(ArtifactError, match="all grouped training images are identical; check the section data"):
        fit_width(images[:1].expand(12, 1, 2, 2), images, ids, rows([0, 3], [1]), CPU)


def test_latents_and_the_prompts_of_queries():
    """A text-to-image network is told each query's prompt; the kernel compares latents, as they are."""
    told = captions()
    training_set, queries = TrainingSet(LATENTS, IDS[:8], told), TrainingSet(LATENTS[:3] / 2, ["q0", "q1", "q2"])
    members, network = rows([0, 1, 2], [3, 4, 5]), text_denoiser()
    kernels, _ = fitted_kernels(training_set, members, True, [], CPU)

    def scored(prompted):
        return kernel_terms(network.conditioned_on(prompted), queries, training_set, kernels, members, STEPS, 1, 4)

    prompts = training_set.conditions([0, 1, 2])
    found, other = scored(prompts), scored(training_set.conditions([0, 4, 2]))
    torch.testing.assert_close(found[[0, 2]], other[[0, 2]], rtol=1e-4, atol=1e-6)
    assert not torch.allclose(found[1], other[1], rtol=1e-3)


# --- what it depends on, and the configuration ----------------------------------------------------------


def experiment(**kernel):
    return Experiment(load_config({"methods": ["kernel"], "attribution": {"kernel": kernel}}))


def test_steps_are_spaced_over_the_lower_half_of_the_window():
    """In logarithms: 330 = sqrt(110 * 990)."""
    found = get_method("kernel").terms_spec(experiment(steps=3), "bucket-0000").elbo
    assert (found.first, found.last, found.steps) == (110, 330, [110, 191, 330])
    found = get_method("kernel").terms_spec(experiment(steps=2, last=500), "bucket-0000").elbo
    assert (found.last, found.steps) == (500, [110, 500])


@pytest.mark.parametrize("last", [109, 991])
def test_a_last_step_outside_of_the_window_is_refused(last):
    with pytest.raises(ConfigError, match=rf"attribution\.kernel\.last is {last}, outside the window 110 \.\. 990"):
        experiment(last=last)


def test_features_are_those_of_embedding_and_only_read_when_compared():
    kernel, embedding = get_method("kernel"), get_method("embedding")
    for of in (experiment(), text_experiment(methods=["kernel"])):
        spec = kernel.spec(of)
        names = [TRAINING, *of.buckets]
        assert spec.features == {name: embedding.features_spec(of, name).digest() for name in names}
        needs = kernel.needs(spec, of.paths)
        assert list(needs.build_records) == [of.paths.features_record("embedding", TRAINING)]
        assert len(needs.query_records) == 2 * len(of.buckets)
    pixels = experiment(weights="pixels")
    assert kernel.spec(pixels).features == {}
    assert list(kernel.needs(kernel.spec(pixels), pixels.paths).query_records) == [
        pixels.paths.kernel_record("bucket-0000")
    ]
    without = {"unet": {"mid_block_type": None}, "methods": ["kernel"]}
    with pytest.raises(
        ConfigError, match=r"no middle block.*; or set attribution\.kernel\.weights, which is both, to pixels"
    ):
        Experiment(load_config(without))
    assert Experiment(load_config(without | {"attribution": {"kernel": {"weights": "pixels"}}})).groups
