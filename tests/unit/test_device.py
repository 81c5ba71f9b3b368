"""Which GPU a job gets, and what happens when its memory runs out, as far as that needs no GPU."""

import os
import signal
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
import torch

from guda.core import device
from guda.core.device import Batches, claim, costs, training_precision, use_device, visible_gpus

HOLD = """
import sys, time
from guda.core.device import claim
print(claim(sys.argv[1:]), flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def own_locks(tmp_path, monkeypatch):
    """Locks in a folder of the test's, given up after it."""
    monkeypatch.setattr(device, "LOCKS", tmp_path)
    monkeypatch.setattr(device, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(device, "_held", [])
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("GUDA_LOCKS", raising=False)


def holder(*names):
    """A process that holds one of these GPUs, and the position of the one it got."""
    process = hold(*names)
    return process, int(process.stdout.readline())


def hold(*names):
    command = [sys.executable, "-c", HOLD, *names]
    environment = os.environ | {"PYTHONPATH": str(Path(device.__file__).parents[2])}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_no_two_processes_get_the_same_gpu():
    first, first_index = holder("0", "1")
    try:
        assert (first_index, claim(["0", "1"])) == (0, 1)
    finally:
        first.kill()
        first.wait()


def test_a_gpu_is_known_by_its_name_not_by_its_place():
    first, _ = holder("GPU-b")
    try:
        assert claim(["GPU-b", "GPU-a"]) == 1
    finally:
        first.kill()
        first.wait()


def test_a_killed_job_gives_its_gpu_up_and_the_next_one_waits_for_it(capsys):
    first, _ = holder("0")
    waiting = hold("0")
    try:
        assert waiting.stderr.readline() == "waiting for one of 1 GPU(s)\n"
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        assert waiting.stdout.readline() == "0\n"
    finally:
        for process in (first, waiting):
            process.kill()
            process.wait()


def test_a_job_that_asks_for_no_gpu_sees_none(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert use_device(0) == torch.device("cpu")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_a_job_that_asks_for_one_says_that_it_runs_on_the_cpu(capsys):
    assert use_device(1) == torch.device("cpu")
    assert capsys.readouterr().err == "no GPU found, running on the CPU\n"


def test_the_names_of_gpus_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-x,GPU-y")
    assert visible_gpus() == ["GPU-x", "GPU-y"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1, 0")
    assert visible_gpus() == ["1", "0"]


def test_no_tf32_is_left_on_where_scores_are_computed(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    use_device(0)
    assert not (torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32)


def test_training_on_the_cpu_is_in_full_precision():
    with training_precision(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def too_large(limit):
    """Work that runs out of memory above so many items."""

    def work(items):
        if len(items) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return list(items)

    return work


@pytest.mark.parametrize(("limit", "left"), [(8, 8), (7, 4), (3, 2), (1, 1)])
def test_batches_are_halved_until_they_fit_and_stay_so(limit, left, capsys):
    batches = Batches(8)
    parts = batches.run(too_large(limit), range(19))
    assert list(chain(*parts)) == list(range(19))
    assert batches.size == left
    assert len(capsys.readouterr().err.splitlines()) == {8: 0, 4: 1, 2: 2, 1: 3}[left]
    assert max(map(len, batches.run(too_large(limit), range(8)))) == left
    assert capsys.readouterr().err == ""


def test_one_item_that_does_not_fit_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        Batches(4).run(too_large(0), range(4))


def test_what_a_record_says_of_work_on_the_cpu():
    assert costs(torch.device("cpu"), 300, {"seconds": 2.0, "cpu_seconds": 3.0}) == {
        "seconds": 2.0,
        "cpu_seconds": 3.0,
        "evaluations": 300,
        "evaluations_per_second": 150.0,
        "device": "cpu",
    }
