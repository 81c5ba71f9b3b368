"""Fine-tuning and gradient ascent, by hand; and the price at which they are compared with ReTrack."""

import copy
import json

import pytest
import torch
from torch.nn.functional import mse_loss

from guda.core.errors import ConfigError
from guda.core.seeding import derive_seed
from guda.data.pixels import to_network_range
from guda.methods import METHODS
from guda.models.denoisers import new_denoiser
from guda.plan.config import load_config
from guda.plan.experiment import Experiment
from guda.specs import ImagesSpec
from guda.training.loop import batch_rows, random_steps
from guda.training.state import Execution, TrainingState
from guda.unlearning import operator_of
from guda.unlearning.erasediff import compute as erasediff
from guda.unlearning.erasediff.plan import EraseDiff
from guda.unlearning.esd import compute as esd
from guda.unlearning.esd.plan import Esd
from guda.unlearning.finetune import compute as finetune
from guda.unlearning.finetune.plan import ContinuedSettings, Finetune
from guda.unlearning.finetune.plan import at_the_price_of_retrack as finetuning
from guda.unlearning.neggrad import compute as neggrad
from guda.unlearning.neggrad.plan import NegGrad
from guda.unlearning.retrack import compute as retrack
from guda.unlearning.retrack.neighbors import nearest_retained
from guda.unlearning.retrack.plan import Unlearn, Unlearning
from guda.unlearning.retrack.plan import evaluations_per_step as retrack_evaluations
from guda.unlearning.siss import compute as siss
from guda.unlearning.siss.plan import Siss

FORGET = torch.tensor([True] * 5 + [False] * 7)
RATE = 1e-3
# One epoch of the five forget images, or five of the retained ones; the rate does not fall within a step.
ONE_STEP = {"steps": 1, "batch_size": 5, "learning_rate": RATE, "warmup_steps": 0, "seed": 4, "weight_decay": 0.0}
SETTINGS = {
    retrack: Unlearning,
    esd: Esd,
    erasediff: EraseDiff,
    siss: Siss,
    finetune: ContinuedSettings,
    neggrad: NegGrad,
}
SPEC = ImagesSpec(dataset="d", content="c")  # any will do


def weights_of(denoiser):
    return torch.cat([parameter.detach().flatten() for parameter in denoiser.parameters()])


def gradient_by_hand(full, images, members, name):
    """Of the mean squared error of the noise, in the first step's batch."""
    model = copy.deepcopy(full).train()
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed("step", ONE_STEP["seed"], 0))
        chosen = torch.nonzero(members).flatten()[batch_rows(0, int(members.sum()), 5, name, ONE_STEP["seed"])]
        x = to_network_range(images[chosen])
        noise = torch.randn_like(x)
        t = random_steps(5, full.schedule)
    mse_loss(model.predict_noise(model.add_noise(x, noise, t), t), noise).backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def moved_against(before, after, gradient):
    """Adam's first step is the rate times the gradient's sign; where the gradient is rounding, it says nothing."""
    clear = gradient.abs() > 1e-3 * gradient.abs().max()
    assert clear.float().mean() > 0.5
    torch.testing.assert_close((after - before)[clear], -RATE * gradient[clear].sign(), rtol=1e-2, atol=1e-6)


def test_fine_tuning_goes_down_the_denoising_loss_of_retained_images(denoiser, images):
    tuned, evaluations = finetune.unlearn(denoiser, images, FORGET, ContinuedSettings(**ONE_STEP))
    moved_against(weights_of(denoiser), weights_of(tuned), gradient_by_hand(denoiser, images, ~FORGET, "retain"))
    assert evaluations == 1 * 5 * 3


def test_ascent_goes_up_the_denoising_loss_of_forget_images(denoiser, images):
    driven, evaluations = neggrad.unlearn(denoiser, images, FORGET, NegGrad(**ONE_STEP))
    moved_against(weights_of(denoiser), weights_of(driven), -gradient_by_hand(denoiser, images, FORGET, "forget"))
    assert evaluations == 1 * 5 * 3


def test_fine_tuning_never_sees_the_forget_images_and_ascent_alone_never_the_retained(denoiser, images):
    other_forget, other_retained = images.clone(), images.clone()
    other_forget[FORGET], other_retained[~FORGET] = 255 - images[FORGET], 255 - images[~FORGET]
    tuning, ascent = ContinuedSettings(**ONE_STEP), NegGrad(**ONE_STEP)
    tuned = [weights_of(finetune.unlearn(denoiser, each, FORGET, tuning)[0]) for each in (images, other_forget)]
    driven = [weights_of(neggrad.unlearn(denoiser, each, FORGET, ascent)[0]) for each in (images, other_retained)]
    assert torch.equal(*tuned)
    assert torch.equal(*driven)


def test_a_preserve_term_holds_the_retained_images_and_costs_as_much_again(denoiser, images):
    twenty = ONE_STEP | {"steps": 20}
    alone, _ = neggrad.unlearn(denoiser, images, FORGET, NegGrad(**twenty))
    held, evaluations = neggrad.unlearn(denoiser, images, FORGET, NegGrad(**twenty, preserve_weight=1e6))
    assert evaluations == 20 * 2 * 5 * 3
    # Nothing else counts beside a million times the retained images' loss.
    x = to_network_range(images[~FORGET]).repeat(20, 1, 1, 1)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    t = torch.arange(len(x)) * 1000 // len(x)

    @torch.no_grad()
    def error(model):
        return mse_loss(model.predict_noise(model.add_noise(x, noise, t), t), noise).item()

    assert error(held) < error(denoiser) < error(alone)


@pytest.mark.parametrize("operator", [erasediff, siss, finetune, neggrad])
def test_operators_leave_the_full_model_alone_and_repeat_bit_for_bit(operator, denoiser, images):
    before = weights_of(denoiser)
    settings = SETTINGS[operator](**ONE_STEP | {"steps": 3})
    students = [operator.unlearn(denoiser, images, FORGET, settings)[0] for _ in range(2)]
    assert torch.equal(weights_of(denoiser), before)
    assert not any(parameter.grad is not None for parameter in denoiser.parameters())
    assert torch.equal(*map(weights_of, students))
    assert not students[0].training


def asked(operator, denoiser, conditional, images, execution=Execution(), **changes):
    """The diffusion steps of each batch that the network is asked about as an operator takes a step."""
    steps, task = [], [denoiser, images, FORGET]
    hook = denoiser.unet.register_forward_pre_hook(lambda network, arguments: steps.append(arguments[1]))
    if operator is retrack:
        task.append(nearest_retained(images, FORGET, 2)[0])
    if operator is esd:
        task += [conditional, 1]
    operator.unlearn(*task, SETTINGS[operator](**ONE_STEP | changes), execution)
    hook.remove()
    return steps


def first_step(operator, denoiser, conditional, images, folder, micro_batch_size):
    """The gradient of an operator's first step, which Adam's first moment is a tenth of; and the largest part."""
    state = TrainingState(folder, SPEC, 1)
    steps = asked(operator, denoiser, conditional, images, Execution(state, micro_batch_size))
    tensors = state.load()[1]
    gradient = torch.cat([tensors[name].flatten() for name in sorted(tensors) if name.startswith("exp_avg.")])
    return gradient, max(map(len, steps))


@pytest.mark.parametrize("operator", SETTINGS, ids=lambda operator: operator.__name__)
def test_batches_are_worked_off_in_parts_of_either_kind(operator, denoiser, tiny_unet, images, tmp_path):
    """Where an operator has two kinds of images, the network sees them together, but where each has its gradient."""
    kinds = 2 if operator in (retrack, esd) else 1
    task = operator, denoiser, new_denoiser(tiny_unet, denoiser.schedule, (1, 8, 8), n_labels=3), images
    whole, size = first_step(*task, tmp_path / "whole", None)
    assert size == kinds * 5
    parts, size = first_step(*task, tmp_path / "parts", 2)
    assert size == kinds * 2
    assert whole.norm() > 1e-4
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("operator", SETTINGS, ids=lambda operator: operator.__name__)
def test_images_are_noised_at_the_steps_of_a_window_alone(operator, denoiser, tiny_unet, images):
    conditional = new_denoiser(tiny_unet, denoiser.schedule, (1, 8, 8), n_labels=3)
    for first, last, end in ((200, 203, 203), (990, None, 999)):
        seen = torch.cat(asked(operator, denoiser, conditional, images, first=first, last=last, steps=3)).unique()
        assert first <= seen.min() < seen.max() <= end


def test_a_window_of_all_steps_leaves_the_spec_as_it_was_before_there_were_windows():
    spec = Experiment(load_config({"methods": ["guda"]})).model_spec("guda/amber")
    assert not {"first", "last"} & json.loads(spec.canonical())["settings"].keys()
    assert operator_of(spec.canonical())[1] == spec
    later = Experiment(load_config({"methods": ["guda"], "unlearn": {"first": 100}})).model_spec("guda/amber")
    assert json.loads(later.canonical())["settings"].items() >= {"first": 100, "last": None}.items()
    assert operator_of(later.canonical())[1] == later


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"unlearn": {"last": 1000}}, r"unlearn.last is 1000, but the noise schedule's last step is 999"),
        ({"unlearn": {"overrides": {"amber": {"first": 1000}}}}, r"unlearn.overrides.amber.first is 1000"),
        ({"attribution": {"guda_siss": {"first": 1200}}}, r"attribution.guda_siss.first is 1200"),
        ({"attribution": {"neggrad": {"first": 9, "last": 3}}}, r"attribution.neggrad: first is 9, after last 3"),
        ({"sweep": {"unlearn": [{"first": [0, 1000]}]}}, r"sweep.unlearn.first is 1000"),
    ],
)
def test_a_window_outside_of_the_process_is_refused_by_its_key(values, message):
    with pytest.raises(ConfigError, match=message):
        load_config(values)


@pytest.mark.parametrize(("preserve", "batch_size"), [("denoising", 8), ("distillation", 9)])
def test_fine_tuning_spends_the_evaluations_of_retrack(preserve, batch_size, denoiser, images):
    # ReTrack: 4 pairs, 3 for each image, and 1 for each retained one with distillation: 24 or 28 a step. At 3 an image,
    # that is 8, or 9 1/3: to the nearest image.
    unlearn = Unlearning(steps=2, batch_size=4, warmup_steps=1, n_neighbors=2, preserve=preserve)
    settings = finetuning(unlearn, Finetune())
    assert (settings.steps, settings.batch_size) == (2, batch_size)
    neighbors, _ = nearest_retained(images, FORGET, 2)
    spent = retrack.unlearn(denoiser, images, FORGET, neighbors, unlearn)[1]
    assert spent == 2 * retrack_evaluations(unlearn)
    assert finetune.unlearn(denoiser, images, FORGET, settings)[1] == {"denoising": spent, "distillation": 54}[preserve]


def test_fine_tuning_takes_the_settings_of_unlearning_but_for_a_rate_of_its_own():
    unlearn = Unlearn(steps=7, batch_size=3, learning_rate=0.5, adam_beta2=0.9, weight_decay=0.1, seed=5)
    settings = finetuning(unlearn, Finetune(learning_rate=0.25))
    shared = {name: value for name, value in settings if name not in ("batch_size", "learning_rate")}
    assert shared == {name: getattr(unlearn, name) for name in shared}
    assert settings.learning_rate == 0.25
    assert finetuning(unlearn, Finetune()).learning_rate == 0.5


def test_overrides_and_imports_are_of_guda_alone(tmp_path):
    methods = {"methods": ["guda", "finetune", "neggrad"], "data": {"groups": ["amber", "cedar"]}}
    before = Experiment(load_config(methods))
    after = Experiment(load_config(methods | {"unlearn": {"overrides": {"amber": {"steps": 9}}}}))
    for operator in before.operators:
        assert after.unlearned(operator, "amber") == f"{operator}/amber"
        same = after.model_spec(f"{operator}/amber") == before.model_spec(f"{operator}/amber")
        assert same == (operator != "guda")
        assert (after.paths.neighbors("amber") in after.operator_files(operator, "amber")) == (operator == "guda")
    assert {"finetune", "neggrad"} <= METHODS.keys()
