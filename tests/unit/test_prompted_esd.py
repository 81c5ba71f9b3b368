"""ESD with a text-to-image model's own guidance: target and loss by hand, what moves and what does not."""

import pytest
import torch
from text_experiments import text_experiment
from text_inputs import IDS, LATENTS, PROCESS, captions, text_denoiser, weights_of

from guda.core.paths import BASE, TRAINING
from guda.data.training_set import TrainingSet
from guda.methods import get_method
from guda.methods.counterfactual.plan import CounterfactualSpec
from guda.training.state import Execution
from guda.unlearning.esd.plan import Esd
from guda.unlearning.operator import Job
from guda.unlearning.prompted_esd.compute import erased_noise, erasing_loss, run
from guda.unlearning.prompted_esd.plan import PromptedEsdSpec

FORGET = torch.arange(8) < 3
SHORT = Esd(steps=2, batch_size=3, learning_rate=1e-3, warmup_steps=0, seed=4, guidance=2.0, preserve="distillation")


class Told:
    """Predicts the first number of the prompt that it is told, plus `more`."""

    def __init__(self, more=0.0):
        self.more = more

    def add_noise(self, x, noise, t):
        return x

    def predict_noise(self, x_t, t, condition):
        return (condition[:, 0, 0] + self.more)[:, None, None, None].expand_as(x_t)


def prompts(*values):
    embeddings = torch.zeros(len(values), 5, 8)
    embeddings[:, 0, 0] = torch.tensor(values)
    return embeddings


@pytest.mark.parametrize(("guidance", "targets"), [(0.0, [1, 1]), (1.0, [-1, 2]), (2.0, [-3, 3])])
def test_target_by_hand(guidance, targets):
    # Told nothing the network says 1; told the two prompts it says 3 and 0: directions 2 and -1.
    x_t, t = torch.zeros(2, 4, 2, 2), torch.tensor([5, 900])
    found = erased_noise(Told(), x_t, t, prompts(3.0, 0.0), prompts(1.0)[0], guidance)
    torch.testing.assert_close(found, torch.tensor(targets).float()[:, None, None, None].expand_as(x_t))


@pytest.mark.parametrize(("preserve", "retained"), [("distillation", 0.5**2), ("denoising", (4 - 2.5) ** 2)])
def test_loss_by_hand(preserve, retained):
    """The student says half more than the prompt. Forgotten: 3.5 where 1 - 2 (3 - 1) = -3 is asked; retained: 2.5."""
    batch = [torch.zeros(1, 4, 2, 2), torch.full((1, 4, 2, 2), 4.0), torch.tensor([7])]
    settings = SHORT.model_copy(update={"preserve": preserve, "forget_weight": 0.1})
    forgotten, held = [*batch, prompts(3.0)], [*batch, prompts(2.0)]
    loss = erasing_loss(Told(0.5), Told(), forgotten, held, prompts(1.0)[0], settings)
    assert loss.item() == pytest.approx(0.1 * 6.5**2 + retained)


def unlearned(settings=SHORT, told=None, trainable="full", adapters=(None, None), full=None):
    values = {"base": "b", "samples": "s", "group": "g", "noise_schedule": PROCESS, "settings": settings}
    rank, alpha = adapters
    spec = PromptedEsdSpec(**values, trainable=trainable, lora_rank=rank, lora_alpha=alpha)
    samples = TrainingSet(LATENTS, IDS, told or captions())
    return run(Job(spec, full or text_denoiser(), samples, FORGET, [], Execution()))


def test_empty_prompts_teach_nothing():
    """Between a prompt and itself there is no direction: both targets are what the full model says, up to rounding."""
    full, of = text_denoiser(), captions()
    drawn = [LATENTS[:3], torch.randn(LATENTS[:3].shape, generator=torch.manual_seed(0)), torch.tensor([5, 400, 900])]

    def loss(prompt):
        batch = [*drawn, prompt.expand(3, -1, -1)]
        return erasing_loss(full, full, batch, batch, of.empty, SHORT).item()

    assert loss(of.empty) < 1e-10 < 1e-6 < loss(of.embeddings[0])


def test_it_repeats_and_leaves_the_full_model_alone():
    full = text_denoiser()
    before = weights_of(full)
    one, other = (unlearned(full=full)[0] for _ in range(2))
    assert torch.equal(weights_of(one), weights_of(other))
    assert torch.equal(weights_of(full), before)
    assert not torch.equal(weights_of(one), before)
    assert not torch.equal(weights_of(unlearned(SHORT.model_copy(update={"seed": 5}))[0]), weights_of(one))


@pytest.mark.parametrize(
    ("options", "part"),
    [({"trainable": "cross_attention"}, ".attn2."), ({"trainable": "lora", "adapters": (2, 2)}, ".lora_")],
)
def test_only_the_chosen_weights_move(options, part):
    student, _ = unlearned(**options)
    before = dict(text_denoiser().unet.named_parameters())
    for name, weight in student.unet.named_parameters():
        plain = name.replace(".base_layer", "")
        if plain in before:
            assert torch.equal(weight, before[plain]) == (part not in name)
    assert any(part in name for name, _ in student.unet.named_parameters())


@pytest.mark.parametrize(("preserve", "teachers"), [("denoising", 2), ("distillation", 3)])
def test_evaluations_by_hand(preserve, teachers):
    # A step on 3 + 3 images counts 18. On each forget image the full model is asked twice.
    assert unlearned(SHORT.model_copy(update={"preserve": preserve}))[1] == 2 * (18 + 3 * teachers)


def test_the_model_unlearns_by_itself_with_the_weights_that_anchors_move():
    of = text_experiment({"anchors": {"trainable": "lora", "lora_rank": 3}}, methods=["guda_esd"])
    group = next(iter(of.groups))
    spec = of.model_spec(f"guda_esd/{group}")
    assert (spec.trainable, spec.adapters) == ("lora", (3, 8))
    assert (spec.base, spec.samples) == (of.model_digest(BASE), of.scored_digest(TRAINING))
    method, scores = get_method("guda_esd"), of.method_spec("guda_esd")
    assert type(method.parse(scores.canonical())) is CounterfactualSpec
    built = method.needs(scores, of.paths).build_records
    assert of.paths.model_record(f"guda_esd/{group}") in built
    assert not any("conditional" in path for path in built)
