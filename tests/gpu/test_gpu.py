"""What needs a GPU: scores as on the CPU, training in bfloat16, taking turns, and memory that runs out for real."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from harness import ROOT, Workflow, merged
from safetensors import safe_open

from guda import config
from guda.config.file import read_yaml
from guda.core import device
from guda.core.device import ahead, costs, training_precision, use_device, visible_gpus
from guda.core.paths import BASE, CALIBRATION, WEIGHTS, unlearned_model
from guda.core.records import read_record
from guda.models.denoisers import new_denoiser, save_denoiser
from guda.models.noise_schedule import NoiseSchedule
from guda.plan.config import load_config
from guda.plan.experiment import Experiment
from guda.scoring.elbo import kl_terms
from guda.specs import TrainSpec
from guda.training.loop import train
from guda.training.state import Execution

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]

CUDA = torch.device("cuda", 0)
MB = 2**20
SECONDS = 300  # that anything may take
UNET = config.UNet(block_out_channels=[32, 32], layers_per_block=1, norm_num_groups=8)
PROCESS = config.NoiseSchedule(num_train_timesteps=1000)
SCHEDULE = NoiseSchedule.from_config(PROCESS)
HOLD = """
import sys
from guda.core.device import use_device
print(use_device(1).index, flush=True)
sys.stdin.read()
"""


def test_batches_that_are_prepared_ahead_come_in_order():
    made = [*ahead(lambda number: (number, torch.full((4,), number)), range(5), CUDA)]
    assert [number for number, _ in made] == [0, 1, 2, 3, 4]
    assert all(tensor.is_pinned() and (tensor == number).all() for number, tensor in made)


@pytest.fixture
def images():
    return torch.randint(0, 256, (16, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def denoiser():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return new_denoiser(UNET, SCHEDULE, (3, 32, 32)).eval()


@pytest.fixture
def little_memory():
    """torch may reserve 512 MiB of the GPU's memory, and has reserved none."""
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(512 * MB / torch.cuda.get_device_properties(CUDA).total_memory, CUDA)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0, CUDA)


def scores(denoiser, images, where, steps, batch_size):
    ids = [f"image-{row}" for row in range(len(images))]
    return kl_terms(denoiser.to(where), images, ids, steps, seed=0, batch_size=batch_size)


def test_scores_are_those_of_the_cpu(denoiser, images, tmp_path, monkeypatch):
    monkeypatch.setattr(device, "LOCKS", tmp_path)
    monkeypatch.setattr(device, "_held", [])
    steps = np.array([1, 10, 100, 500, 999])
    expected = scores(denoiser, images, "cpu", steps, 256)
    torch.testing.assert_close(scores(denoiser, images, use_device(1), steps, 256), expected, rtol=1e-3, atol=0)


def test_training_is_in_bfloat16_and_leaves_float32(images, tmp_path):
    with training_precision(CUDA):
        computed = (torch.ones(8, 8, device=CUDA) @ torch.ones(8, 8, device=CUDA)).dtype
    assert computed == (torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32)

    settings = config.Training(steps=20, batch_size=8, warmup_steps=2, learning_rate=1e-3)
    trained, _ = train(images, UNET, SCHEDULE, settings, Execution(device=CUDA))
    save_denoiser(
        tmp_path, trained, TrainSpec(images="i", excluded=None, unet=UNET, noise_schedule=PROCESS, training=settings)
    )
    with safe_open(tmp_path / WEIGHTS, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118
            assert file.get_tensor(name).dtype == torch.float32
            assert torch.isfinite(file.get_tensor(name)).all()


def test_a_record_names_the_gpu_its_memory_and_the_rate():
    torch.zeros(MB, device=CUDA)
    found = costs(CUDA, evaluations=300, elapsed={"seconds": 2.0})
    assert found["device"] == torch.cuda.get_device_name(CUDA)
    assert found["peak_gpu_memory_bytes"] >= 4 * MB
    assert found["evaluations_per_second"] == 150


def test_two_jobs_take_turns_on_one_gpu(tmp_path):
    environment = os.environ | {
        "PYTHONPATH": str(Path(device.__file__).parents[2]),
        "CUDA_VISIBLE_DEVICES": visible_gpus()[0],
        "TMPDIR": str(tmp_path),  # where the locks lie
    }
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    jobs = []
    try:
        for _ in range(2):
            jobs.append(subprocess.Popen([sys.executable, "-c", HOLD], env=environment, text=True, **pipes))
            if len(jobs) == 1:
                assert jobs[0].stdout.readline() == "0\n"
        assert jobs[1].stderr.readline() == "waiting for one of 1 GPU(s)\n"
        jobs[0].communicate(timeout=SECONDS)  # closes its input, at which it ends
        assert jobs[1].stdout.readline() == "0\n"
    finally:
        for job in jobs:
            job.kill()
            job.communicate()


def test_scoring_goes_on_in_smaller_batches_when_memory_runs_out(denoiser, images, little_memory, capsys):
    # About 1 MB for each of 4096 noised images at a time.
    steps = np.arange(1, 257)
    found = scores(denoiser, images, CUDA, steps, 4096)
    assert "out of GPU memory, continuing with" in capsys.readouterr().err
    torch.testing.assert_close(found, scores(denoiser, images, CUDA, steps, 16), rtol=1e-3, atol=0)


def test_training_goes_on_in_parts_when_memory_runs_out(images, little_memory, capsys):
    # About 5 MB for each of 512 noised images at a time.
    settings = config.Training(steps=3, batch_size=512, warmup_steps=1, learning_rate=1e-3)
    trained, evaluations = train(images, UNET, SCHEDULE, settings, Execution(device=CUDA))
    assert "out of GPU memory, continuing with" in capsys.readouterr().err
    assert evaluations == 3 * 512 * 3
    assert all(torch.isfinite(parameter).all() for parameter in trained.parameters())


def test_the_workflow_runs_on_the_gpu_and_says_so(tmp_path):
    values = merged(read_yaml(str(ROOT / "tests" / "workflow" / "tiny.yaml")), {"execution": {"gpus": 1}})
    shutil.copy(ROOT / "config.yaml", tmp_path)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    experiment = Experiment(load_config(merged(read_yaml(str(ROOT / "config.yaml")), values)))
    run, paths = Workflow(tmp_path, experiment, cold=True), experiment.paths
    unlearned = unlearned_model("guda", "amber")
    records = [paths.model_record(BASE), paths.model_record(unlearned), paths.elbo_record(unlearned, CALIBRATION)]
    done = run.snakemake("--cores", "2", *records)
    assert done.returncode == 0, done.stderr
    for path in records:
        record = read_record(tmp_path / path)
        assert record["device"] == torch.cuda.get_device_name(CUDA)
        assert record["peak_gpu_memory_bytes"] > 0
