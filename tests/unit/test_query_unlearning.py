"""AbU and MUCS where the answer is known: quadratic losses, duplicates, bounds; and what must not matter."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from golden_inputs import together
from text_experiments import text_experiment
from text_inputs import LATENTS, captions

from guda import config
from guda.core.artifacts import pack_ids, save_tensors
from guda.core.device import Batches
from guda.core.errors import ConfigError
from guda.core.paths import TRAINING, Paths
from guda.core.seeding import chosen, gaussian, uniform
from guda.data.groups import write_members
from guda.data.pixels import to_network_range
from guda.data.training_set import TrainingSet, read_training_set
from guda.methods import get_method
from guda.methods.instance import Aggregation
from guda.methods.parameters import matching
from guda.methods.query_unlearning import abu, mucs
from guda.methods.query_unlearning.fisher import diagonal_fisher
from guda.methods.query_unlearning.influence import (
    abu_influence,
    mean_increase,
    mucs_influence,
    relative_increase,
)
from guda.methods.query_unlearning.plan import (
    PARAMETERS,
    AbuInfluence,
    Fisher,
    FisherSpec,
    InfluenceScoresSpec,
    MucsInfluence,
)
from guda.models.denoisers import UNetDenoiser
from guda.plan.config import load_config
from guda.plan.experiment import Experiment
from guda.scoring.losses import draw_noise, evenly_spaced
from guda.specs import EncodedSpec, GroupSpec, digest_lines

IDS = [f"i{row:02d}" for row in range(12)]
ABU = AbuInfluence(
    seed=3, train_sample=None, loss_steps=5, steps=1, step_size=1.0, damping=0.1, query_steps=7, parameters=None
)
MUCS = MucsInfluence(
    seed=3, train_sample=None, loss_steps=5, steps=4, batch_size=32, learning_rate=1.0e-2, forget_weight=0.9
)


class Pixelwise(torch.nn.Module):
    """e_theta(x_t) = w * x_t, pixel by pixel: a loss that is quadratic in w, with a diagonal Hessian."""

    def __init__(self, weight):
        super().__init__()
        self.weight = torch.nn.Parameter(weight)

    def forward(self, x_t, t):
        return SimpleNamespace(sample=x_t * self.weight)


class Matrix(Pixelwise):
    """e_theta(x_t) = W x_t."""

    def forward(self, x_t, t):
        return SimpleNamespace(sample=(x_t.flatten(1) @ self.weight.T).reshape(x_t.shape))


@pytest.fixture
def pixelwise(schedule):
    return UNetDenoiser(Pixelwise(torch.linspace(-0.5, 0.9, 64).reshape(1, 8, 8)), schedule)


@pytest.fixture
def black_and_white():
    """Twelve images of -1 and 1, which are nearly orthogonal; the last is the fifth again."""
    images = torch.randint(0, 2, (12, 1, 8, 8), generator=torch.Generator().manual_seed(1)) * 255
    images[11] = images[4]
    return TrainingSet(images.to(torch.uint8), IDS)


@pytest.fixture
def training_set(images):
    return TrainingSet(images, IDS)


def queries_of(images, *rows):
    return TrainingSet(images[list(rows)], [f"query-{row}" for row in rows])


def x_and_noise(denoiser, x, image_id, count, seed=ABU.seed):
    """x_t and e of an image at evenly spaced steps, float64 [steps, 64]."""
    steps = evenly_spaced(count, 1000)
    noise = draw_noise([image_id], steps, tuple(x.shape), seed)[0]
    x_t = denoiser.add_noise(x.expand(len(steps), *x.shape), noise, torch.from_numpy(steps))
    return x_t.flatten(1).double(), noise.flatten(1).double()


def quadratic(denoiser, x, image_id, count):
    """Curvature a and slope b of an image's loss, per pixel: L(w) = sum_j (a_j w_j^2 / 2 - b_j w_j) + constant."""
    x_t, noise = x_and_noise(denoiser, x, image_id, count)
    return 2 / 64 * x_t.square().mean(0), 2 / 64 * (x_t * noise).mean(0)


def weight_of(denoiser):
    return denoiser.unet.weight.detach().flatten().double()


# --- draws and losses --------------------------------------------------------------------------------


def test_steps_stand_in_the_midst_of_their_shares():
    assert evenly_spaced(4, 1000).tolist() == [125, 375, 625, 875]
    assert evenly_spaced(3, 10).tolist() == [1, 5, 8]


def test_increases_by_hand():
    after, before = torch.tensor([[3.0, 2.0]]), torch.tensor([[1.0, 4.0]])
    assert mean_increase(after, before).item() == 0
    assert relative_increase(after, before).item() == pytest.approx((2 / 4.001 - 2 / 6.001) / 2, rel=1e-6)


# --- Fisher information ------------------------------------------------------------------------------


def test_fisher_is_the_mean_of_squared_gradients_of_single_samples(denoiser, training_set):
    settings = Fisher(images=3, steps=2, seed=5)
    fisher, evaluations = diagonal_fisher(denoiser, training_set, settings, batch_size=4)
    assert evaluations == 3 * 2 * 3
    names, weights = zip(*denoiser.unet.named_parameters(), strict=True)
    expected = dict.fromkeys(names, 0)
    for row in chosen(IDS, 3, "fisher", 5):
        offset = uniform("fisher", 5, "step", IDS[row])
        for step in (int(offset * 500), int((1 + offset) * 500)):
            x, t = to_network_range(training_set.images[[row]]), torch.tensor([step])
            noise = torch.from_numpy(gaussian(5, IDS[row], step, (1, 8, 8)))[None]
            loss = (noise - denoiser.predict_noise(denoiser.add_noise(x, noise, t), t)).square().mean()
            for name, slope in zip(names, torch.autograd.grad(loss, weights), strict=True):
                expected[name] = expected[name] + slope.double().square() / 6
    assert fisher.keys() == expected.keys()
    for name, values in expected.items():
        torch.testing.assert_close(fisher[name].double(), values, rtol=1e-3, atol=1e-10)


def test_damping_is_relative_to_the_mean_of_what_moves():
    fisher = {"a": torch.tensor([1.0, 3.0]), "b": torch.tensor([5.0]), "c": torch.tensor([1000.0])}
    settings = ABU.model_copy(update={"damping": 0.5, "parameters": ["^a$", "b"]})
    found = abu.damped(fisher, settings)
    assert {name: values.tolist() for name, values in found.items()} == {"a": [2.5, 4.5], "b": [6.5]}


# --- AbU ---------------------------------------------------------------------------------------------


def test_a_step_and_its_influence_in_closed_form(pixelwise, training_set):
    """With d = eta (a_q w - b_q) / (N F), query q's gradient in it, L_i grows by (a_i w - b_i) d + a_i d^2 / 2."""
    queries = queries_of(training_set.images, 2)
    fisher = {"weight": torch.linspace(0.01, 0.2, 64).reshape(1, 8, 8)}
    found, evaluations = together(abu_influence(pixelwise, queries, training_set, fisher, False, ABU, batch_size=8))
    assert evaluations == 7 * 3 + 2 * 12 * 5
    w, x = weight_of(pixelwise), to_network_range(training_set.images)
    a, b = quadratic(pixelwise, x[2], "query-2", ABU.query_steps)
    curvature = fisher["weight"].flatten().double()
    moved = (a * w - b) / (12 * (curvature + 0.1 * curvature.mean()))
    expected = []
    for image, image_id in zip(x, IDS, strict=True):
        a, b = quadratic(pixelwise, image, image_id, ABU.loss_steps)
        expected.append(((a * w - b) * moved + a * moved**2 / 2).sum())
    torch.testing.assert_close(found[0].double(), torch.stack(expected), rtol=1e-4, atol=1e-6)


def test_with_the_true_hessian_the_step_is_retraining_without_the_image(schedule, training_set):
    """At the optimum of N quadratic losses, the optimum of the others is H_rest^-1 grad L_i / N away; eta is 1."""
    x, count = to_network_range(training_set.images), 7
    model = UNetDenoiser(Pixelwise(torch.zeros(1, 8, 8)), schedule)
    a, b = (
        torch.stack([quadratic(model, image, name, count)[part] for image, name in zip(x, IDS, strict=True)])
        for part in (0, 1)
    )
    optimum, without = b.sum(0) / a.sum(0), (b.sum(0) - b[3]) / (a.sum(0) - a[3])
    model = UNetDenoiser(Pixelwise(optimum.float().reshape(1, 8, 8)), schedule)
    curvature = {"weight": ((a.sum(0) - a[3]) / 12).float().reshape(1, 8, 8)}
    found, _ = abu.unlearn_image(model, training_set.query(3), curvature, 12, ABU, Batches(4))
    torch.testing.assert_close(weight_of(found), without, rtol=1e-4, atol=1e-5)
    # With the Hessian of all N it is the influence function, the same to first order in 1 / N.
    curvature = {"weight": (a.sum(0) / 12).float().reshape(1, 8, 8)}
    found, _ = abu.unlearn_image(model, training_set.query(3), curvature, 12, ABU, Batches(4))
    gradient = a[3] * optimum - b[3]
    torch.testing.assert_close(weight_of(found), optimum + gradient / a.sum(0), rtol=1e-4, atol=1e-5)


def test_two_steps_are_a_step_from_where_the_first_led(pixelwise, training_set):
    query, curvature = training_set.query(0), {"weight": torch.ones(1, 8, 8)}
    twice, spent = abu.unlearn_image(pixelwise, query, curvature, 12, ABU.model_copy(update={"steps": 2}), Batches(8))
    once, _ = abu.unlearn_image(pixelwise, query, curvature, 12, ABU, Batches(8))
    again, _ = abu.unlearn_image(once, query, curvature, 12, ABU, Batches(8))
    assert torch.equal(weight_of(twice), weight_of(again))
    assert spent == 2 * 7 * 3


def test_a_mirrored_image_counts_by_the_larger_of_both_views(denoiser, training_set):
    queries = queries_of(training_set.images, 1)
    fisher = {name: torch.ones_like(weight) for name, weight in denoiser.unet.named_parameters()}
    mirrored = TrainingSet(training_set.images.flip(3), IDS)
    (both, _), (plain, _), (other, _) = (
        together(abu_influence(denoiser, queries, of, fisher, mirror, ABU, batch_size=16))
        for of, mirror in ((training_set, True), (training_set, False), (mirrored, False))
    )
    assert (plain > other).any()
    assert (plain < other).any()
    assert torch.equal(both, torch.maximum(plain, other))


def test_only_the_named_weights_move(denoiser, training_set):
    settings = ABU.model_copy(update={"step_size": 1000.0, "parameters": [r"^conv_in\.", r"time_embedding.*bias"]})
    fisher = {name: torch.ones_like(weight) for name, weight in denoiser.unet.named_parameters()}
    found, _ = abu.unlearn_image(
        denoiser, training_set.query(0), abu.damped(fisher, settings), 12, settings, Batches(8)
    )
    before = dict(denoiser.unet.named_parameters())
    moved = {name for name, weight in found.unet.named_parameters() if not torch.equal(weight, before[name])}
    biases = {"time_embedding.linear_1.bias", "time_embedding.linear_2.bias"}
    assert moved == {"conv_in.weight", "conv_in.bias"} | biases


def test_weights_that_are_in_no_name_are_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"attribution.abu.parameters: 'conv_im' .* 3 weights; the nearest: conv_in"):
        matching(["conv_in.weight", "conv_out.weight", "mid.bias"], ["bias", "conv_im"], PARAMETERS)


def test_what_is_no_regular_expression_is_refused():
    with pytest.raises(ConfigError, match=r"attribution.abu.parameters: '\(' is not a regular expression"):
        load_config({"attribution": {"abu": {"parameters": ["("]}}})


# --- MUCS --------------------------------------------------------------------------------------------


def test_a_loss_beyond_that_of_predicting_nothing_is_not_pushed():
    retained = torch.tensor([0.3, 0.5], requires_grad=True)
    forgotten = torch.tensor([0.5, 0.9, 1.5, 4.0], requires_grad=True)
    loss = mucs.bounded_loss(retained, forgotten, 0.2)
    assert loss.item() == pytest.approx(0.4 - 0.2 * (0.5 + 0.9 + 1 + 1) / 4)
    loss.backward()
    torch.testing.assert_close(forgotten.grad, torch.tensor([-0.05, -0.05, 0.0, 0.0]))
    torch.testing.assert_close(retained.grad, torch.tensor([0.5, 0.5]))


@pytest.mark.parametrize(("scale", "alike"), [(-5.0, True), (0.2, False)])
def test_a_query_that_is_unlearned_already_moves_nothing(schedule, black_and_white, scale, alike):
    """At W = -5 every loss is far above l_null: how much the query's weighs does not matter."""
    model = UNetDenoiser(Matrix(scale * torch.eye(64)), schedule)
    query = black_and_white.query(0)
    weak, strong = (
        mucs.unlearn_image(model, query, black_and_white, MUCS.model_copy(update={"forget_weight": weight}))
        for weight in (0.01, 0.9)
    )
    assert torch.equal(weight_of(weak[0]), weight_of(strong[0])) == alike
    assert weak[1] == 4 * 2 * 32 * 3


# --- both --------------------------------------------------------------------------------------------


def influence(method, model, queries, training_set, batch_size=16):
    fisher = {name: torch.ones_like(weight) for name, weight in model.unet.named_parameters()}
    if method == "abu":
        return together(abu_influence(model, queries, training_set, fisher, False, ABU, batch_size))[0]
    return together(mucs_influence(model, queries, training_set, MUCS, batch_size))[0]


both = pytest.mark.parametrize("method", ["abu", "mucs"])


@both
def test_an_image_that_is_the_query_comes_first_with_its_duplicate(method, schedule, black_and_white):
    model = UNetDenoiser(Matrix(0.3 * torch.eye(64)), schedule)
    found = influence(method, model, queries_of(black_and_white.images, 4), black_and_white)[0]
    assert set(found.argsort(descending=True)[:2].tolist()) == {4, 11}


@both
def test_batches_change_nothing_beyond_rounding(method, denoiser, training_set):
    queries = queries_of(training_set.images, 1, 6)
    found = [influence(method, denoiser, queries, training_set, size) for size in (1, 7, 60)]
    assert found[0].abs().mean() > 1e-4
    for other in found[1:]:
        torch.testing.assert_close(found[0], other, rtol=1e-3, atol=3e-6)


@both
def test_queries_of_a_job_do_not_touch_each_other_nor_the_model(method, denoiser, training_set):
    before = {name: weight.clone() for name, weight in denoiser.state_dict().items()}
    together = influence(method, denoiser, queries_of(training_set.images, 1, 6), training_set)
    alone = [influence(method, denoiser, queries_of(training_set.images, row), training_set) for row in (1, 6)]
    assert torch.equal(together, torch.cat(alone))
    assert all(torch.equal(weight, before[name]) for name, weight in denoiser.state_dict().items())


def test_steps_that_are_far_too_long_are_refused(denoiser, training_set):
    fisher = {name: torch.ones_like(weight) for name, weight in denoiser.unet.named_parameters()}
    settings = ABU.model_copy(update={"step_size": 1.0e30, "steps": 2})
    with pytest.raises(
        FloatingPointError, match="losses are not finite after unlearning a query; reduce the step size"
    ):
        together(abu_influence(denoiser, queries_of(training_set.images, 1), training_set, fisher, False, settings, 16))


@both
def test_a_sample_scores_its_images_as_the_whole_does(method, denoiser, training_set):
    queries, settings = queries_of(training_set.images, 1), {"abu": ABU, "mucs": MUCS}[method]
    few = settings.model_copy(update={"train_sample": 4})
    rows = few.sampled_rows(IDS)
    assert len(rows) == 4
    whole = influence(method, denoiser, queries, training_set)
    if method == "abu":
        fisher = {name: torch.ones_like(weight) for name, weight in denoiser.unet.named_parameters()}
        found = together(abu_influence(denoiser, queries, training_set, fisher, False, few, 16))[0]
    else:
        found = together(mucs_influence(denoiser, queries, training_set, few, 16))[0]
    torch.testing.assert_close(found, whole[:, rows], rtol=1e-3, atol=3e-6)


# --- groups ------------------------------------------------------------------------------------------


@both
def test_groups_are_scored_by_those_of_their_images_that_were_asked(method, tmp_path):
    paths, members = Paths(tmp_path), {}
    for group, ids in {"a": IDS[:4], "b": IDS[3:6]}.items():
        spec = GroupSpec(dataset="d", group=group, members=digest_lines(ids))
        write_members(paths.group(group), spec, ids)
        members[group] = spec.digest()
    job = FisherSpec(base="b", images="i", noise_schedule=config.NoiseSchedule(), settings=Fisher())
    scores = torch.tensor([[1.0, 2.0, 6.0], [3.0, -5.0, 1.0]])
    train_ids = [IDS[1], IDS[3], IDS[9]]  # of group a, of both, of none
    path = paths.influence(method, "bucket-0000")
    save_tensors(path, {"scores": scores, "ids": pack_ids(["p", "q"]), "train_ids": pack_ids(train_ids)}, job)
    spec = InfluenceScoresSpec(
        members=members,
        influence={"bucket-0000": job.digest()},
        fisher=None,
        settings=Aggregation(aggregate="mean"),
    )
    found = get_method(method).scores(spec, paths)
    assert found.queries == ["p", "q"]
    np.testing.assert_allclose(found.score, [[1.5, 2], [-1, -5]])


@both
def test_a_sample_without_an_image_of_a_group_is_refused_when_planning(method):
    with pytest.raises(ConfigError, match=rf"attribution.{method}.train_sample is 3, but none of the \d+ images of"):
        Experiment(load_config({"methods": [method], "attribution": {method: {"train_sample": 3}}}))


def test_other_groups_and_another_aggregation_leave_the_influence_as_it_is():
    here = Experiment(load_config({"methods": ["abu"]}))
    other = {"data": {"group_by": "label"}, "attribution": {"abu": {"aggregate": "top_k"}}}
    there = Experiment(load_config({"methods": ["abu"]} | other))
    assert get_method("abu").influence_spec(here, "bucket-0000") == get_method("abu").influence_spec(
        there, "bucket-0000"
    )
    assert here.method_spec("abu") != there.method_spec("abu")


# --- text-to-image -----------------------------------------------------------------------------------


@both
def test_with_texts_queries_and_training_images_are_encoded(method):
    of = text_experiment(methods=[method])
    spec = get_method(method).influence_spec(of, "bucket-0000")
    assert spec.images == of.family.encoded_spec(TRAINING).digest()
    assert spec.samples == of.family.encoded_spec("bucket-0000").digest()


@pytest.mark.parametrize(("given", "moved"), [(None, [r"attn2\.to_[kv]"]), (["attn2"], ["attn2"])])
def test_with_texts_keys_and_values_move_unless_others_are_named(given, moved):
    of, abu_method = text_experiment(methods=["abu"], attribution={"abu": {"parameters": given}}), get_method("abu")
    fisher, spec = abu_method.fisher_spec(of), abu_method.influence_spec(of, "bucket-0000")
    assert (fisher.parameters, fisher.images) == (moved, of.family.encoded_spec(TRAINING).digest())
    assert (spec.settings.parameters, spec.fisher, spec.mirror) == (moved, fisher.digest(), False)
    assert of.method_spec("abu").fisher == fisher.digest()


def test_without_texts_the_fisher_information_does_not_depend_on_what_moves():
    here, there = (
        Experiment(load_config({"methods": ["abu"], "attribution": {"abu": {"parameters": patterns}}}))
        for patterns in (None, ["conv"])
    )
    assert get_method("abu").fisher_spec(here) == get_method("abu").fisher_spec(there)
    assert get_method("abu").influence_spec(here, "bucket-0000").settings.parameters is None


def test_latents_are_never_mirrored():
    with pytest.raises(ConfigError, match=r"training\.flip: images are encoded once"):
        text_experiment(methods=["abu"], training={"flip": True})


def test_encoded_samples_come_back_with_their_prompts(tmp_path):
    job = EncodedSpec(pipeline="p", images="i", prompts="t", seed=None, prompted=True)
    written = captions()
    tensors = {name: getattr(written, name) for name in ("embeddings", "pooled", "prompts", "starts", "empty")}
    path = tmp_path / "encoded.safetensors"
    save_tensors(path, {"latents": LATENTS, "ids": pack_ids(written.ids)} | tensors, job)
    found = read_training_set(str(path), job.digest())
    assert found.ids == written.ids
    assert torch.equal(found.images, LATENTS)
    assert torch.equal(found.conditions([5, 0]), written.first(torch.tensor([5, 0])))
