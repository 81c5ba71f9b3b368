"""A denoiser that is told an image's group, or that none is known."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from guda import config
from guda.core.artifacts import pack_ids, save_tensors
from guda.core.errors import ArtifactError
from guda.core.paths import CONDITIONAL, Paths, conditioned_model
from guda.data.labels import DrawnLabels, Memberships
from guda.methods import get_method
from guda.methods.conditional.compute import label_shares, log_posterior
from guda.methods.conditional.plan import LikelihoodRatioSpec
from guda.methods.resampling import summarize
from guda.models.denoisers import load_denoiser, new_denoiser, save_denoiser
from guda.scoring.elbo import kl_terms
from guda.specs import ConditionalElboSpec, ConditionalSpec, ElboSettings, ElboSpec
from guda.training.loop import train

PROPERTY = settings(max_examples=30, deadline=None, derandomize=True)
IDS = [f"i{index:02d}" for index in range(12)]
HALVES = Memberships.of(IDS, [set(IDS[:6]), set(IDS[6:])])
OTHERS = Memberships.of(IDS, [set(IDS[:1]), set(IDS[3:])])
SHORT = config.Training(steps=6, batch_size=4, learning_rate=2e-3, warmup_steps=2, seed=3, ema_decay=0)
T = torch.tensor([5, 300, 998])


@pytest.fixture(scope="module")
def network():
    """Two channels share a normalization: what is added to single channels, as labels are, would be taken out again."""
    return config.UNet(block_out_channels=[8, 8], layers_per_block=1, norm_num_groups=4, dropout=0.0)


@pytest.fixture
def conditional(network, schedule):
    """Fresh weights for images of 1x8x8 in two groups, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return new_denoiser(network, schedule, (1, 8, 8), n_labels=3).eval()


@pytest.fixture
def x_t():
    return torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_no_condition_is_the_last_label(conditional, x_t):
    unconditional = conditional.predict_noise(x_t, T)
    assert torch.equal(unconditional, conditional.predict_noise(x_t, T, torch.tensor([2, 2, 2])))
    told = conditional.predict_noise(x_t, T, torch.tensor([0, 1, 2]))
    assert (told != unconditional).flatten(1).any(1).tolist() == [True, True, False]


def test_a_network_without_labels_takes_no_condition(denoiser, x_t):
    with pytest.raises(ValueError, match="takes no condition"):
        denoiser.predict_noise(x_t, T, torch.tensor([0, 0, 0]))


@torch.no_grad()
def test_diffusers_opens_it_and_takes_the_same_labels(conditional, x_t, tmp_path):
    from diffusers import UNet2DModel

    spec = ConditionalSpec(
        images="i",
        members={},
        unet=config.UNet(),
        noise_schedule=config.NoiseSchedule(),
        training=SHORT,
        label_dropout=0,
    )
    save_denoiser(tmp_path, conditional, spec)
    labels = torch.tensor([1, 0, 2])
    expected = conditional.predict_noise(x_t, T, labels)
    assert torch.equal(UNet2DModel.from_pretrained(tmp_path)(x_t, T, class_labels=labels).sample, expected)
    read, _ = load_denoiser(tmp_path, conditional.schedule, spec.digest())
    assert torch.equal(read.predict_noise(x_t, T, labels), expected)
    assert torch.equal(read.predict_noise(x_t, T), conditional.predict_noise(x_t, T))


def weights_of(denoiser):
    return torch.cat([parameter.detach().flatten() for parameter in denoiser.parameters()])


def trained(images, unet, schedule, memberships, dropout):
    return train(images, unet, schedule, SHORT, labels=DrawnLabels(memberships, IDS, 0, dropout))[0]


def test_with_all_labels_dropped_the_groups_do_not_matter(images, network, schedule):
    one, other = (trained(images, network, schedule, groups, 1.0) for groups in (HALVES, OTHERS))
    assert torch.equal(weights_of(one), weights_of(other))
    one, other = (trained(images, network, schedule, groups, 0.0) for groups in (HALVES, OTHERS))
    assert not torch.equal(weights_of(one), weights_of(other))


def test_a_label_that_no_image_has_learns_nothing(images, network, schedule):
    no_decay = SHORT.model_copy(update={"weight_decay": 0})
    alone = Memberships.of(IDS, [set(IDS), set()])
    labels = DrawnLabels(alone, IDS, 0, 0.0)
    before = train(images, network, schedule, no_decay.model_copy(update={"learning_rate": 1e-30}), labels=labels)[0]
    after = train(images, network, schedule, no_decay, labels=labels)[0]
    changed = (after.unet.class_embedding.weight != before.unet.class_embedding.weight).any(1)
    assert changed.tolist() == [True, False, False]


def test_batch_size_does_not_change_conditional_terms(conditional, images):
    steps = T.numpy()
    labels = torch.ones(len(IDS), dtype=torch.int64)
    whole = kl_terms(conditional.conditioned_on(labels), images, IDS, steps, 0, 64)
    parts = kl_terms(conditional.conditioned_on(labels), images, IDS, steps, 0, 5)
    torch.testing.assert_close(whole, parts, rtol=1e-5, atol=0)
    assert not torch.equal(whole, kl_terms(conditional.conditioned_on(0 * labels), images, IDS, steps, 0, 64))


def test_terms_of_two_checkpoints_are_not_compared(tmp_path):
    settings = ElboSettings(noise_schedule=config.NoiseSchedule(), seed=0, steps=[5, 9], first=5, last=9)
    spec = LikelihoodRatioSpec(elbo=settings, model="m", groups=["a"], buckets={"bucket": "q"})
    paths, values = Paths(tmp_path), {"model": "m", "samples": "q", "elbo": settings}
    jobs = {CONDITIONAL: ElboSpec(**values), conditioned_model("a"): ConditionalElboSpec(**values, label=0)}
    for model, job in jobs.items():
        tensors = {"kl": torch.ones(1, 2), "ids": pack_ids(["q0"])}
        save_tensors(paths.elbo(model, "bucket"), tensors, job, model_sha256=model)
    with pytest.raises(ArtifactError, match="its samples or model differ"):
        get_method("conditional_elbo").scores(spec, paths)


def test_the_prior_is_the_share_of_each_label_in_training():
    # i1 counts as half an image in either group, i0 as one in a, i2 and i3 as one in b; no other image has a label.
    groups = [{"i0", "i1"}, {"i1", "i2", "i3"}]
    np.testing.assert_allclose(label_shares(groups), [1.5 / 4, 2.5 / 4])
    memberships = Memberships.of(["i0", "i1", "i2", "i3", "i4"], groups)
    np.testing.assert_allclose(memberships.shares(memberships.grouped).mean(0), label_shares(groups))


def test_posteriors_by_hand():
    # Likelihoods 1 and 3: posteriors 1/4 and 3/4 where groups are of one size; 1/2 each where the first is three times
    # the second. What all groups share drops out.
    likelihoods = np.log([[1.0, 1.0], [3.0, 3.0]]) + np.array([0.0, -2000.0])
    equal, unequal = (log_posterior(likelihoods, np.log(prior)) for prior in ([0.5, 0.5], [0.75, 0.25]))
    np.testing.assert_allclose(np.exp(equal), [[0.25, 0.25], [0.75, 0.75]])
    np.testing.assert_allclose(np.exp(unequal), 0.5)


@PROPERTY
@given(arrays(np.float64, (4, 6), elements=st.floats(-300, 300)))
def test_posteriors_add_up_to_one_and_order_groups_by_likelihood_times_size(likelihoods):
    prior = np.log([0.1, 0.2, 0.3, 0.4])
    posterior, joint = log_posterior(likelihoods, prior), likelihoods + prior[:, None]
    np.testing.assert_allclose(np.exp(posterior).sum(0), 1)
    for one in range(4):
        for other in range(4):
            ahead = joint[one] - joint[other] > 1e-6
            assert (posterior[one] > posterior[other])[ahead].all()


def test_of_two_certain_images_the_surer_one_is_ahead():
    """Its posterior rounds to 1 in either case: log p would be 0 twice."""
    fifty, sixty = log_posterior(np.array([[50.0, 60.0], [0.0, 0.0]]), np.log([0.5, 0.5]))[0]
    assert fifty < sixty < 0


def test_posterior_scores_have_the_errors_of_resampled_bounds():
    # Sums 3 and 0: the log odds are 3.
    terms = np.array([[[0.0, 3.0], [0.0, 0.0]]])
    score, se, p_top1 = summarize(terms, lambda sums: log_posterior(sums, np.log([0.5, 0.5])))
    deviation = 3 / np.sqrt(2)  # of each of the two terms, with a sign of its own: none, or twice that up or down
    odds = 3 + np.array([-2 * deviation, 0, 0, 2 * deviation])
    expected = np.sqrt(np.mean((np.log1p(np.exp(-odds)) - np.log1p(np.exp(-3))) ** 2))
    np.testing.assert_allclose(score, [[-np.log1p(np.exp(-3)), -3 - np.log1p(np.exp(-3))]])
    np.testing.assert_allclose(se[0, 0], expected, rtol=0.1)
    np.testing.assert_allclose(p_top1[0], [0.75, 0.25], atol=4 * 0.016)
