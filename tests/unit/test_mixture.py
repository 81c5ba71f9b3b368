"""The mixture of groups without each of them, from a conditional network and a classifier."""

import re

import numpy as np
import pytest
import torch

from guda.config import Data
from guda.core.errors import ConfigError
from guda.data.datasets import load_dataset
from guda.methods.mixture.terms import mixture_terms, without_each
from guda.models.classifier import GroupClassifier
from guda.models.denoisers import new_denoiser
from guda.plan.config import load_config
from guda.plan.experiment import Experiment
from guda.scoring.elbo import kl_terms

IDS = [f"i{index:02d}" for index in range(12)]
STEPS = np.array([5, 300, 900])


def differences(residuals, shares):
    log_shares = torch.tensor([shares], dtype=torch.float64).log()
    return without_each(torch.tensor([residuals], dtype=torch.float64), log_shares)[0].tolist()


def networks(tiny_unet, schedule, n_groups):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        # Two channels share a normalization, which would otherwise take out again what labels add.
        unet = tiny_unet.model_copy(update={"norm_num_groups": 4})
        conditional = new_denoiser(unet, schedule, (1, 8, 8), n_groups + 1).eval()
        return conditional, GroupClassifier(unet, schedule, (1, 8, 8), n_groups).eval()


def test_residuals_by_hand():
    # r = .5 * 2 + .3 * 1 - .2 * 1 = 1.1; without each group (.3 - .2) / .5, (1 - .2) / .7 and 1.3 / .8.
    expected = [0.2**2 - 1.1**2, (0.8 / 0.7) ** 2 - 1.1**2, 1.625**2 - 1.1**2]
    np.testing.assert_allclose(differences([[2.0], [1.0], [-1.0]], [0.5, 0.3, 0.2]), expected)
    # Over pixels: r = (.25, 1.5), and without the one of two groups the other is left: 4 - 2.3125, 1 - 2.3125.
    np.testing.assert_allclose(differences([[1.0, 0.0], [0.0, 2.0]], [0.25, 0.75]), [1.6875, -1.3125])


def test_a_group_without_a_share_scores_exactly_nothing():
    assert differences([[2.0, 1.0], [7.0, -3.0], [0.1, 0.3]], [0.3, 0.0, 0.7])[1] == 0


def test_others_keep_their_proportions_where_a_share_rounds_to_one():
    # 1 - pi_1 is 4e-40: the others, 1 to 3, are left with (4 + 3 * 0) / 4 = 1.
    log_shares = torch.tensor([[0.0, np.log(1e-40), np.log(3e-40)]], dtype=torch.float64)
    found = without_each(torch.tensor([[[3.0], [4.0], [0.0]]], dtype=torch.float64), log_shares)
    np.testing.assert_allclose(found[0, 0], 1 - 9)


def test_it_is_the_ideal_counterfactual_of_a_mixture():
    """Of single images as training set the ideal denoiser is a softmax over them, with and without a group."""
    generator = torch.Generator().manual_seed(0)
    training = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    groups, gamma, sigma = [[0, 1, 2, 3], [4, 5], [6, 7, 8]], 0.6, 0.8
    noise = torch.randn(4, generator=generator, dtype=torch.float64)
    x_t = gamma * training[1] + sigma * noise
    log_weights = -(x_t - gamma * training).square().sum(1) / (2 * sigma**2)

    def residual(rows):
        return noise - (x_t - gamma * log_weights[rows].softmax(0) @ training[rows]) / sigma

    log_shares = torch.stack([log_weights[rows].logsumexp(0) for rows in groups]).log_softmax(0)
    found = without_each(torch.stack([residual(rows) for rows in groups])[None], log_shares[None])[0]
    left = [[row for row in range(9) if row not in rows] for rows in groups]
    expected = [residual(rows).square().sum() - residual(list(range(9))).square().sum() for rows in left]
    torch.testing.assert_close(found, torch.stack(expected))


def test_without_one_of_two_groups_the_other_is_left(tiny_unet, schedule, images):
    conditional, classifier = networks(tiny_unet, schedule, 2)
    task = images, IDS, STEPS, 3, 64
    terms = mixture_terms(conditional, classifier, *task)
    alone = [kl_terms(conditional.conditioned_on(torch.full((12,), label)), *task) for label in (0, 1)]
    # KL of the whole mixture, in two ways.
    torch.testing.assert_close(alone[1] - terms[:, :, 0], alone[0] - terms[:, :, 1], rtol=1e-5, atol=1e-5)
    assert (terms != 0).all()


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_terms_do_not_depend_on_the_batch_size(tiny_unet, schedule, images, batch_size):
    task = *networks(tiny_unet, schedule, 3), images, IDS, STEPS, 3
    torch.testing.assert_close(mixture_terms(*task, batch_size), mixture_terms(*task, 64), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"groups": ["amber", "birch"]}, "1077 of 1797 images are in no group; group them all"),
        (
            {"conditions": {"low": "label < 6", "high": "label > 4"}},
            r"some are in several groups \(1979 memberships of 1797 images\)",
        ),
    ],
)
def test_groups_that_are_no_mixture_are_refused(data, message):
    with pytest.raises(ConfigError, match=re.escape("methods: mixture models") + ".*" + message):
        Experiment(load_config({"data": data, "methods": ["mixture"]}), load_dataset(Data()))
