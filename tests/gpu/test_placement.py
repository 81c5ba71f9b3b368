"""Every stage that runs a network, on another device than the CPU: a GPU where there is one, and a pretended one."""

import contextlib

import golden_inputs
import golden_models
import golden_scoring
import golden_text
import numpy as np
import pytest
import torch
from golden_inputs import IMAGES, QUERIES, SCHEDULE, UNET, fixed_denoiser
from pretended import PRETENDED, pretended_device
from test_golden import GOLDEN

from guda import config, specs
from guda.methods.prompt.plan import PromptOverlapSpec
from guda.models.noise_schedule import NoiseSchedule
from guda.scoring.elbo import AT_ONCE, kl_terms
from guda.training.loop import CHECKED_TOGETHER, train
from guda.training.state import Execution

OF_THE_CPU = {specs.ImportedModelSpec, specs.ImportedUNetSpec, specs.PromptsSpec, PromptOverlapSpec}
STAGES = golden_models.STAGES | golden_scoring.STAGES | golden_text.STAGES
NEEDS_GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]


@pytest.fixture(params=["pretended", pytest.param("cuda", marks=NEEDS_GPU)])
def device(request, monkeypatch):
    """A device on which the golden stages compute, in full precision."""
    place = PRETENDED if request.param == "pretended" else torch.device("cuda", 0)
    monkeypatch.setattr(golden_inputs, "DEVICE", place)
    monkeypatch.setattr("guda.core.device.use_device", lambda *arguments: place)
    monkeypatch.setattr("guda.training.loop.training_precision", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    if place == PRETENDED:
        monkeypatch.setattr(torch.cuda, "get_device_name", str)
        monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 0)
    with pretended_device() if place == PRETENDED else contextlib.nullcontext():
        yield place


@pytest.mark.parametrize("spec", [spec for spec in STAGES if spec not in OF_THE_CPU], ids=lambda spec: spec.stage)
def test_numbers_are_those_of_the_cpu(spec, device, tmp_path):
    numbers = GOLDEN[spec][1]
    expected = [pytest.approx(x, rel=1e-3, abs=1e-9) if isinstance(x, float) else x for x in numbers]
    assert STAGES[spec](tmp_path) == expected


def test_the_pretended_device_refuses_what_a_gpu_refuses():
    with pretended_device() as waits:
        here, there = torch.ones(3), torch.ones(3, device=PRETENDED)
        with pytest.raises(RuntimeError, match="on one device"):
            here + there
        assert (there + torch.tensor(1.0)).device == PRETENDED  # numbers may come from the CPU
        assert there[torch.tensor([0, 2])].shape == (2,)  # and indices
        assert not waits
        assert (there.sum().item(), there.cpu().device) == (3, here.device)
        assert waits == {"aten::_local_scalar_dense": 1, "aten::_to_copy": 1}


def test_training_waits_for_the_device_once_in_several_steps():
    settings = config.Training(steps=3 * CHECKED_TOGETHER + 1, batch_size=2, warmup_steps=1, ema_decay=0.5)
    with pretended_device() as waits:
        execution = Execution(device=PRETENDED, micro_batch_size=1, progress=None)
        train(torch.from_numpy(IMAGES), UNET, NoiseSchedule.from_config(SCHEDULE), settings, execution)
    assert waits.total() == 4 + 1  # the losses, and in the end the weights


def test_scoring_waits_for_the_device_once_in_several_batches():
    steps = np.arange(1, 3 * AT_ONCE + 2)
    with pretended_device() as waits:
        denoiser = fixed_denoiser().to(PRETENDED)
        kl_terms(denoiser, torch.from_numpy(QUERIES[:1]), ["q0"], steps, seed=5, batch_size=1)
    assert waits.total() == 4
