"""Memory and time that jobs ask for: near the real network's numbers, growing with attempts and sizes."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from guda import config
from guda.models.denoisers import new_denoiser
from guda.models.network_size import Layer, activations, operations, parameters
from guda.models.noise_schedule import NoiseSchedule
from guda.plan.config import load_config
from guda.plan.experiment import Experiment
from guda.plan.resources import LONGEST, MB, Need, needs, unlearning_work

STAGES = {
    "table",
    "images",
    "train",
    "proxy",
    "unlearn",
    "neighbors",
    "queries",
    "features",
    "elbo",
    "encoded",
    "fisher",
    "influence",
}
STAGES |= {
    "gradients",
    "kernel",
    "scores",
    "conditional",
    "classifier",
    "mixture",
    "likelihood",
    "import",
    "quality",
    "tune",
}
NETWORKS = {
    "default": (config.UNet(), 8),
    "deep": (
        config.UNet(
            block_out_channels=[16, 32, 32],
            layers_per_block=2,
            down_block_types=["DownBlock2D", "AttnDownBlock2D", "DownBlock2D"],
            up_block_types=["UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
            add_attention=True,
        ),
        16,
    ),
    "no middle": (config.UNet(block_out_channels=[32, 32], mid_block_type=None), 8),
}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    """Settings, side of the images, and the real network of them."""
    settings, side = NETWORKS[request.param]
    return settings, side, new_denoiser(settings, NoiseSchedule.from_config(config.NoiseSchedule()), (3, side, side))


def test_parameters_are_those_of_the_network(network):
    settings, _, denoiser = network
    real = sum(parameter.numel() for parameter in denoiser.parameters())
    assert 0.8 * real < parameters(settings) < 1.3 * real


def test_operations_are_those_of_the_network(network):
    settings, side, denoiser = network
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        denoiser.predict_noise(torch.zeros(1, 3, side, side), torch.tensor([5]))
    assert 0.7 * counter.get_total_flops() < operations(settings, side * side) < 1.3 * counter.get_total_flops()


def test_activations_cover_what_torch_keeps(network):
    settings, side, denoiser = network
    kept = {}

    def note(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    n = 16
    weights = {parameter.untyped_storage().data_ptr() for parameter in denoiser.parameters()}
    x, t = torch.zeros(n, 3, side, side), torch.arange(n)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = denoiser.training_loss(x, torch.ones_like(x), t)
    real = sum(size for storage, size in kept.items() if storage not in weights) / n
    assert loss.requires_grad
    assert real < activations(settings, side * side) < 3 * real


def test_a_layer_by_hand():
    layer = Layer(pixels=4, inputs=2, outputs=3, attention=True)
    assert layer.weights == 9 * 2 * 3 + 9 * 3 * 3 + 2 * 3 + 4 * 3 * 3
    assert layer.activations == 4 * (6 + 18 + 24)


def test_memory_and_time_grow_with_attempts():
    need = Need(memory=1000 * MB, operations=60 * 10e9 * 4)  # four minutes of a processor
    assert [need.mem_mb(attempt) for attempt in (1, 2)] == [1500, 3000]
    assert [need.minutes(1, attempt) for attempt in (1, 2)] == [14, 28]
    assert need.minutes(4) == 11
    assert need.minutes(1, 1000) == LONGEST


def test_the_embedded_experiment_fits_everywhere():
    found = needs(Experiment(load_config({})))
    assert found.keys() == STAGES
    assert all(900 <= need.mem_mb() < 2000 for need in found.values())
    assert all(10 <= need.minutes(threads=1) < 30 for need in found.values())


def test_which_weights_abu_moves_does_not_matter():
    assert needs(Experiment(load_config({"attribution": {"abu": {"parameters": ["conv"]}}}))) == needs(
        Experiment(load_config({}))
    )


def test_larger_networks_and_batches_ask_for_more():
    small = needs(Experiment(load_config({})))
    large = needs(Experiment(load_config({"unet": {"block_out_channels": [32, 64]}})))
    for stage in ("train", "unlearn", "queries", "elbo"):
        assert large[stage].memory > small[stage].memory
        assert 3 < large[stage].operations / small[stage].operations < 5
    assert large["table"] == small["table"]
    unlearn = {"unlearn": {"batch_size": 10, "steps": 50}, "attribution": {"neggrad": {"batch_size": 30, "steps": 60}}}
    assert unlearning_work(Experiment(load_config(unlearn))) == (20, 50)
    assert unlearning_work(Experiment(load_config(unlearn | {"methods": ["neggrad"]}))) == (60, 60)
    guided = unlearn | {"attribution": {"guda_esd": {"batch_size": 40, "steps": 30}}, "methods": ["guda_esd"]}
    assert unlearning_work(Experiment(load_config(guided))) == (80, 50)
    distilled = unlearn | {"unlearn": unlearn["unlearn"] | {"preserve": "distillation"}, "methods": ["finetune"]}
    assert unlearning_work(Experiment(load_config(distilled))) == (23, 50)
    swept = Experiment(load_config({"sweep": {"unlearn": [{"steps": 400}], "elbo_steps": [{"count": 48}]}}))
    assert unlearning_work(swept) == (256, 400)
    assert needs(swept)["elbo"].operations == 2 * small["elbo"].operations
    # Six groups, a bucket of 1000 queries against 100: 40 bytes for each of 900 * 6 * 24 terms more; 10 times the work.
    few, many = (needs(Experiment(load_config({"queries": {"count": n}})))["scores"] for n in (100, 1000))
    assert many.memory - few.memory == 40 * 900 * 6 * 24
    assert many.operations == 10 * few.operations
    batches = needs(Experiment(load_config({"training": {"batch_size": 128}})))
    assert batches["train"].operations == 2 * small["train"].operations
    # 64 samples of a step, or 128 of either kind: what 4 at a time leave behind is 4, or 4 of either kind.
    parts = needs(Experiment(load_config({"execution": {"micro_batch_size": 4}})))
    kept = (batches["train"].memory - small["train"].memory) / 64
    assert small["train"].memory - parts["train"].memory == pytest.approx(60 * kept)
    assert small["unlearn"].memory - parts["unlearn"].memory == pytest.approx(248 * kept)
