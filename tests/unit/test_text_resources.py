"""Memory and time that jobs of text-to-image models ask for."""

import pytest
import torch
from diffusers import UNet2DConditionModel
from pipelines import PROCESS, write_pipeline
from text_experiments import text_experiment

from guda.core.paths import WEIGHTS
from guda.methods.parameters import matching
from guda.methods.query_unlearning.plan import KEYS_AND_VALUES as PATTERNS
from guda.methods.query_unlearning.plan import PARAMETERS
from guda.plan.families import FLOAT
from guda.plan.families.fine_tuned import KEYS_AND_VALUES, WEIGHTS_OF_SD
from guda.plan.resources import needs

STABLE_DIFFUSION = {"pipeline": f"someone/model@{'0' * 40}"}


def test_stable_diffusion_has_so_many_weights_and_so_few_that_abu_moves():
    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    sizes = {name: weight.numel() for name, weight in unet.named_parameters()}
    moved = sum(sizes[name] for name in matching(list(sizes), PATTERNS, PARAMETERS))
    assert sum(sizes.values()) * FLOAT == pytest.approx(WEIGHTS_OF_SD, rel=0.01)
    assert moved / sum(sizes.values()) == pytest.approx(KEYS_AND_VALUES, rel=0.01)


def test_stable_diffusions_middle_block_gives_1280_channels_of_8x8():
    data = {"dataset": "styled_digits", "group_by": "style", "size": [512, 512], "subset": {"count": 20, "seed": 0}}
    assert text_experiment(text=STABLE_DIFFUSION, data=data).family.network().features == 1280 * 8 * 8


def test_a_pipelines_weights_are_counted_in_float32_however_they_lie_there(tmp_path):
    sizes = []
    for arguments in ({}, {"variant": "fp16", "max_shard_size": "5KB"}):
        folder = write_pipeline(tmp_path / str(len(sizes)))
        if arguments:
            unet = UNet2DConditionModel.from_pretrained(folder / "unet").half()
            (folder / "unet" / WEIGHTS).unlink()
            unet.save_pretrained(folder / "unet", **arguments)
        experiment = text_experiment(text={"pipeline": str(folder)}, noise_schedule=PROCESS.model_dump())
        sizes.append(experiment.family.network().weights)
    assert sizes[0] == sizes[1] == FLOAT * sum(weight.numel() for weight in unet.parameters())


def test_features_and_moving_all_weights_are_asked_for():
    plain, features = needs(text_experiment(methods=["guda"])), needs(text_experiment(methods=["embedding"]))
    assert features["features"] == plain["features"]  # generated images are compared whatever the methods are
    assert features["scores"].memory > plain["scores"].memory
    few, all_weights = (
        needs(text_experiment(text=STABLE_DIFFUSION, attribution={"abu": {"parameters": patterns}}))["fisher"]
        for patterns in (None, [""])
    )
    # Of one sample at a time: three copies of what moves, and its gradient three times.
    assert all_weights.memory - few.memory == pytest.approx(6 * (1 - KEYS_AND_VALUES) * WEIGHTS_OF_SD)
    longer = needs(text_experiment(attribution={"abu": {"train_sample": None, "loss_steps": 1000}}))
    assert longer["influence"].operations > 10 * plain["influence"].operations
