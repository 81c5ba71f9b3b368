"""ESD's target by hand, and what its steps read and leave alone."""

import pytest
import torch

from guda import config
from guda.core.paths import CONDITIONAL
from guda.methods import get_method
from guda.models.denoisers import new_denoiser
from guda.plan.config import load_config
from guda.plan.experiment import Experiment
from guda.unlearning.esd.compute import erased_noise, unlearn
from guda.unlearning.esd.plan import Esd

FORGET = torch.tensor([True] * 5 + [False] * 7)
SHORT = Esd(steps=2, batch_size=5, learning_rate=1e-3, warmup_steps=0, seed=4)


class Constant:
    """Predicts the value of the label that it is told, or the last one."""

    def __init__(self, *values):
        self.values = torch.tensor(values)

    def predict_noise(self, x_t, t, condition=None):
        labels = torch.full_like(t, len(self.values) - 1) if condition is None else condition
        return self.values[labels][:, None, None, None].expand_as(x_t)


@pytest.fixture
def conditional(schedule):
    """Three labels for images of 1x8x8; channels share their normalization, or labels would not matter."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return new_denoiser(config.UNet(block_out_channels=[8, 8], norm_num_groups=4), schedule, (1, 8, 8), 3).eval()


@pytest.mark.parametrize(
    ("label", "guidance", "target"),
    # The full model says 1. Told group 0 the network says 4, told 1 it says 0, told none 2: directions 2 and -2.
    [(0, 0.0, 1.0), (0, 1.0, -1.0), (0, 2.0, -3.0), (1, 1.0, 3.0)],
)
def test_target_by_hand(label, guidance, target):
    x_t, t = torch.zeros(3, 1, 2, 2), torch.tensor([5, 300, 998])
    found = erased_noise(Constant(1.0), Constant(4.0, 0.0, 2.0), x_t, t, label, guidance)
    torch.testing.assert_close(found, torch.full_like(x_t, target))


def weights_of(denoiser):
    return torch.cat([parameter.detach().flatten() for parameter in denoiser.parameters()])


def test_it_repeats_and_leaves_both_networks_alone(denoiser, conditional, images):
    before = weights_of(denoiser), weights_of(conditional)
    students = [unlearn(denoiser, images, FORGET, conditional, 0, SHORT)[0] for _ in range(2)]
    assert torch.equal(*map(weights_of, students))
    assert torch.equal(weights_of(denoiser), before[0])
    assert torch.equal(weights_of(conditional), before[1])
    assert not torch.equal(weights_of(students[0]), before[0])
    other = unlearn(denoiser, images, FORGET, conditional, 1, SHORT)[0]
    assert not torch.equal(weights_of(other), weights_of(students[0]))


@pytest.mark.parametrize(("preserve", "teachers"), [("denoising", 3), ("distillation", 4)])
def test_evaluations_by_hand(preserve, teachers, denoiser, conditional, images):
    # A step on 5 + 5 images counts 30. On each forget image the full model is asked once and the other network twice.
    settings = SHORT.model_copy(update={"preserve": preserve})
    assert unlearn(denoiser, images, FORGET, conditional, 0, settings)[1] == 2 * (30 + 5 * teachers)


def test_the_conditional_network_counts_as_built():
    of = Experiment(load_config({"methods": ["guda_esd"], "data": {"groups": ["amber", "cedar"]}}))
    method, spec = get_method("guda_esd"), of.method_spec("guda_esd")
    built = method.needs(method.parse(spec.canonical()), of.paths).build_records
    assert built[of.paths.model_record(CONDITIONAL)] == of.model_spec(CONDITIONAL).digest()
    assert {of.paths.model_record(f"guda_esd/{group}") for group in of.groups} <= built.keys()
