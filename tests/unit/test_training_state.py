"""A training that was cut off goes on to the same weights, bit for bit, and says why when it does not."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

import train as train_stage
import unlearn as unlearn_stage
from guda import config, specs
from guda.core.artifacts import load_tensors, pack_ids, save_tensors, sha256_file
from guda.core.errors import ArtifactError
from guda.core.paths import MODEL_FILES, RECORD, STATE, WEIGHTS
from guda.core.records import read_record
from guda.data.groups import write_members
from guda.models.denoisers import load_denoiser, new_denoiser, save_denoiser
from guda.models.noise_schedule import NoiseSchedule
from guda.specs import digest_lines
from guda.training.loop import train
from guda.training.state import Execution, TrainingState
from guda.unlearning.retrack.compute import unlearn
from guda.unlearning.retrack.plan import Unlearning, UnlearnSpec

RULES = Path(__file__).resolve().parents[2] / "rules"
STEPS = 5
SCHEDULE = config.NoiseSchedule(num_train_timesteps=1000)
PROCESS = NoiseSchedule.from_config(SCHEDULE)
UNET = config.UNet(block_out_channels=[8, 8], norm_num_groups=8, dropout=0.3)
COMMON = {"steps": STEPS, "batch_size": 2, "learning_rate": 5e-3, "warmup_steps": 2, "seed": 3}
TRAINING = config.Training(**COMMON, weight_decay=0.1, ema_decay=0.5, flip=True)
UNLEARNING = Unlearning(**COMMON, n_neighbors=2, preserve="distillation", forget_weight=0.3)
IDS = [f"i{row:02d}" for row in range(12)]
FORGET = torch.arange(12) < 4
NEIGHBORS = torch.tensor([[4, 5], [6, 7], [8, 9], [10, 11]])
SPEC = specs.TrainSpec(images="i", excluded=None, unet=UNET, noise_schedule=SCHEDULE, training=TRAINING)
OTHER = SPEC.model_copy(update={"images": "others"})


class Killed(BaseException):
    """What stops a training from outside."""


@pytest.fixture
def full():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return new_denoiser(UNET, PROCESS, (1, 8, 8)).eval()


def trainings(full, images):
    """Both users of the loop, by name: a function of the state to the denoiser."""
    return {
        "training": lambda state: train(images, UNET, PROCESS, TRAINING, Execution(state))[0],
        "unlearning": lambda state: unlearn(full, images, FORGET, NEIGHBORS, UNLEARNING, Execution(state))[0],
    }


def weights(denoiser):
    return torch.cat([parameter.detach().flatten() for parameter in denoiser.parameters()])


def die():
    raise Killed


def forward_killed_at(call, patch, kill=die):
    """Let every network die in its `call`-th forward pass in training mode, counted from here, from 1."""
    from diffusers import UNet2DModel

    forward, calls = UNet2DModel.forward, []

    def counting(self, *arguments, **options):
        calls.extend([1] if self.training else [])
        if len(calls) == call:
            calls.append(kill())
        return forward(self, *arguments, **options)

    patch.setattr(UNet2DModel, "forward", counting)


def cut_off(run, state, step):
    """Run until `step` steps are done and the next one has begun."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        forward_killed_at(step + 1, patch)
        run(state)


# --- the same weights --------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", [1, 3])
@pytest.mark.parametrize("name", ["training", "unlearning"])
def test_cut_off_at_any_step_and_continued_gives_the_same_weights(full, images, tmp_path, name, interval, capsys):
    run = trainings(full, images)[name]
    straight = weights(run(None))
    for step in range(STEPS):
        folder = tmp_path / str(step)
        cut_off(run, TrainingState(folder, SPEC, interval), step)
        saved = step // interval * interval  # the last multiple of the interval that was reached
        assert (folder / STATE).exists() == (saved > 0)
        capsys.readouterr()
        assert torch.equal(weights(run(TrainingState(folder, SPEC, interval))), straight), step
        assert (f"resuming from step {saved}" in capsys.readouterr().err) == (saved > 0)


@pytest.mark.parametrize("name", ["training", "unlearning"])
def test_cut_off_again_and_again_gives_the_same_weights(full, images, tmp_path, name):
    run = trainings(full, images)[name]
    straight = weights(run(None))
    for _ in range(STEPS - 1):
        cut_off(run, TrainingState(tmp_path, SPEC, 1), 1)  # each run gets one step further
    assert TrainingState(tmp_path, SPEC, 1).load()[0] == STEPS - 1
    assert torch.equal(weights(run(TrainingState(tmp_path, SPEC, 1))), straight)


@pytest.mark.parametrize("name", ["training", "unlearning"])
def test_killed_after_the_last_step_nothing_is_trained_again(full, images, tmp_path, name):
    run = trainings(full, images)[name]
    straight = weights(run(TrainingState(tmp_path, SPEC, 1)))
    with pytest.MonkeyPatch.context() as patch:
        forward_killed_at(1, patch)
        assert torch.equal(weights(run(TrainingState(tmp_path, SPEC, 1))), straight)


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", ["training", "unlearning"])
def test_a_signal_is_heeded_after_the_step_and_costs_nothing(full, images, tmp_path, name, asked):
    """Sent within the third step: three are done and saved, and the handlers from before are back."""
    run, handlers = trainings(full, images)[name], [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    straight = weights(run(None))
    with pytest.MonkeyPatch.context() as patch:
        forward_killed_at(3, patch, lambda: os.kill(os.getpid(), asked))
        with pytest.raises(KeyboardInterrupt, match="stopped after step 3 of 5 and saved; the next run goes on from"):
            run(TrainingState(tmp_path, SPEC))
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert TrainingState(tmp_path, SPEC).load()[0] == 3
    assert torch.equal(weights(run(TrainingState(tmp_path, SPEC))), straight)


def test_a_state_is_saved_by_steps_by_the_clock_or_by_neither(tmp_path):
    by_steps, by_clock, by_both = (TrainingState(tmp_path, SPEC, n, minutes=m) for n, m in ((3, 60), (None, 0), (3, 0)))
    assert [TrainingState(tmp_path, SPEC).due(step) for step in (1, 2, 3)] == [False, False, False]
    assert [by_steps.due(step) for step in (1, 2, 3)] == [False, False, True]
    assert [by_clock.due(step) for step in (1, 2, 3)] == [True, True, True]
    assert [by_both.due(step) for step in (1, 2, 3)] == [True, True, True]


def test_saving_the_state_changes_no_weight(full, images, tmp_path):
    for name, run in trainings(full, images).items():
        assert torch.equal(weights(run(TrainingState(tmp_path / name, SPEC, 2))), weights(run(None)))


def test_the_state_is_needed(full, images, tmp_path):
    """Weights alone, without Adam's moments and the average, end elsewhere: the tests above see what is lost."""
    run = trainings(full, images)["training"]
    straight = weights(run(None))
    cut_off(run, TrainingState(tmp_path, SPEC, 1), 3)
    state = TrainingState(tmp_path, SPEC, 1)
    step, tensors = state.load()
    for kind in ("exp_avg", "exp_avg_sq", "average"):
        state.save(step, {name: 0 * x if name.startswith(f"{kind}.") else x for name, x in tensors.items()})
        assert not torch.equal(weights(run(TrainingState(tmp_path, SPEC, 9))), straight)


# --- whose state it is -------------------------------------------------------------------------------


def test_the_state_of_another_spec_is_ignored_and_said_to_be(full, images, tmp_path, capsys):
    run = trainings(full, images)["training"]
    cut_off(run, TrainingState(tmp_path, OTHER, 1), 3)
    state = TrainingState(tmp_path, SPEC, 1)
    assert state.load() == (0, {})
    message = f"{tmp_path / STATE}: from another configuration; starting from step 0"
    assert message in capsys.readouterr().err
    with pytest.raises(Killed), pytest.MonkeyPatch.context() as patch:
        forward_killed_at(STEPS, patch)  # all five steps are trained, so the fifth is reached
        run(state)


def test_the_state_of_another_parent_is_ignored_and_said_to_be(full, images, tmp_path, capsys):
    """A base model made again on another processor has the same spec, but not the same bits."""
    TrainingState(tmp_path, SPEC, 1, "ab").save(3, {"x": torch.zeros(1)})
    assert TrainingState(tmp_path, SPEC, 1, "ab").load()[0] == 3
    assert TrainingState(tmp_path, SPEC, 1, "cd").load() == (0, {})
    assert f"{tmp_path / STATE}: started from another model; starting from step 0" in capsys.readouterr().err


def test_a_damaged_state_is_refused_by_name(full, images, tmp_path):
    run = trainings(full, images)["training"]
    cut_off(run, TrainingState(tmp_path, SPEC, 1), 2)
    file = tmp_path / STATE
    content = file.read_bytes()
    for damaged in (b"", content[:100], content[:-1], content[:-1] + bytes([content[-1] ^ 1])):
        file.write_bytes(damaged)
        with pytest.raises(ArtifactError, match=str(file)):
            run(TrainingState(tmp_path, SPEC, 1))
        assert file.read_bytes() == damaged


def test_without_a_state_there_is_nothing_to_load_or_remove(tmp_path):
    state = TrainingState(tmp_path / "absent", SPEC, 1)
    assert state.load() == (0, {})
    state.remove()


def test_seconds_add_up_over_the_runs(tmp_path):
    """Three runs of at least 20 ms each, of which the second is cut off after its last saved state."""
    seconds = []
    for _ in range(3):
        state = TrainingState(tmp_path, SPEC, 1)
        step, _ = state.load()
        time.sleep(0.02)
        before = state.elapsed()["seconds"]
        state.save(step + 1, {"x": torch.zeros(1)})
        _, metadata = load_tensors(tmp_path / STATE)
        seconds.append(float(metadata["seconds"]))
        assert before <= seconds[-1] <= state.elapsed()["seconds"]
    assert seconds[0] >= 0.02
    assert seconds[1] >= seconds[0] + 0.02
    assert seconds[2] >= seconds[1] + 0.02
    assert seconds[2] < 60  # a sum of these runs, not of clock readings


def test_processor_seconds_add_up_where_all_runs_tell_them(tmp_path):
    """The first run is given five seconds of two processors; then an older version, which told none of them."""
    for told, known in (({"cpu_seconds": "10.0"}, True), ({}, False)):
        save_tensors(tmp_path / STATE, {"x": torch.zeros(1)}, SPEC, step="3", seconds="5.0", **told)
        state = TrainingState(tmp_path, SPEC, 1)
        state.load()
        elapsed = state.elapsed()
        assert 5 <= elapsed["seconds"] < 60
        assert ("cpu_seconds" in elapsed) == known
        assert elapsed.get("cpu_seconds", 10) >= 10


# --- the stages --------------------------------------------------------------------------------------


OFTEN = '{"checkpoint_steps": 2}'


def run_stage(stage, **flags):
    """Call a stage program's main function, in this process."""
    arguments = [text for flag, value in flags.items() for text in (f"--{flag}", str(value))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [stage.__name__, *arguments])
        stage.main()


@pytest.fixture
def stages(full, images, tmp_path):
    """By name: the stage, its spec, and the files that it reads."""
    of_images = specs.ImagesSpec(dataset="d", content="c")
    of_group = specs.GroupSpec(dataset="d", group="a", members=digest_lines(IDS[:4]))
    of_neighbors = specs.NeighborsSpec(images=of_images.digest(), group=of_group.digest(), n_neighbors=2)
    inputs = {name: tmp_path / name for name in ("samples", "group", "files", "base")}
    save_tensors(inputs["samples"], {"images": images, "ids": pack_ids(IDS)}, of_images)
    write_members(inputs["group"], of_group, IDS[:4])
    save_tensors(inputs["files"], {"rows": NEIGHBORS}, of_neighbors)
    save_denoiser(inputs["base"], full, SPEC)
    of_training = SPEC.model_copy(update={"images": of_images.digest(), "excluded": of_group.digest()})
    of_unlearning = UnlearnSpec(
        method="guda",
        base=SPEC.digest(),
        images=of_images.digest(),
        group=of_group.digest(),
        neighbors=of_neighbors.digest(),
        noise_schedule=SCHEDULE,
        settings=UNLEARNING,
    )
    return {
        "train": (train_stage, of_training, {"samples": inputs["samples"], "exclude": inputs["group"]}),
        "unlearn": (unlearn_stage, of_unlearning, inputs),
    }


@pytest.mark.parametrize("name", ["train", "unlearn"])
def test_a_killed_stage_goes_on_and_leaves_the_very_model_and_no_state(stages, tmp_path, name):
    stage, spec, inputs = stages[name]
    call = {"spec": spec.canonical(), **inputs}
    run_stage(stage, **call, model=tmp_path / "straight")

    killed = tmp_path / "killed"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        forward_killed_at(4, patch)
        run_stage(stage, **call, model=killed, execution=OFTEN)
    assert [file.name for file in killed.iterdir()] == [STATE]
    seconds = float(load_tensors(killed / STATE)[1]["seconds"])
    with pytest.MonkeyPatch.context() as patch:
        forward_killed_at(4, patch)  # three steps of five are left, so a fourth is never begun
        run_stage(stage, **call, model=killed, execution=OFTEN)

    assert sorted(file.name for file in killed.iterdir()) == sorted([*MODEL_FILES, RECORD])
    assert sha256_file(killed / WEIGHTS) == sha256_file(tmp_path / "straight" / WEIGHTS)
    assert read_record(killed / RECORD, spec.digest())["seconds"] > seconds
    load_denoiser(killed, PROCESS, spec.digest())


@pytest.mark.parametrize("name", ["train", "unlearn"])
def test_a_model_from_the_cache_leaves_no_state_behind_either(stages, tmp_path, name):
    stage, spec, inputs = stages[name]
    call = {
        "spec": spec.canonical(),
        **inputs,
        "execution": json.dumps({"checkpoint_steps": 2, "cache": str(tmp_path / "cache")}),
    }
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        forward_killed_at(4, patch)
        run_stage(stage, **call, model=tmp_path / "killed")
    run_stage(stage, **call, model=tmp_path / "another")
    with pytest.MonkeyPatch.context() as patch:
        forward_killed_at(1, patch)
        run_stage(stage, **call, model=tmp_path / "killed")
    assert sorted(file.name for file in (tmp_path / "killed").iterdir()) == sorted([*MODEL_FILES, RECORD])
    assert sha256_file(tmp_path / "killed" / WEIGHTS) == sha256_file(tmp_path / "another" / WEIGHTS)


def test_unlearning_does_not_go_on_from_another_base_model(stages, full, tmp_path):
    stage, spec, inputs = stages["unlearn"]
    call = {"spec": spec.canonical(), **inputs, "execution": OFTEN}
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        forward_killed_at(4, patch)
        run_stage(stage, **call, model=tmp_path / "killed")
    with torch.no_grad():
        next(full.parameters()).add_(0.1)  # the same spec from another machine, so to speak
    save_denoiser(inputs["base"], full, SPEC)
    run_stage(stage, **call, model=tmp_path / "killed")
    run_stage(stage, **call, model=tmp_path / "straight")
    assert sha256_file(tmp_path / "killed" / WEIGHTS) == sha256_file(tmp_path / "straight" / WEIGHTS)


def test_no_rule_declares_the_state():
    """Snakemake deletes the declared outputs of a job that died, and the state with them."""
    assert STATE not in (*MODEL_FILES, RECORD)
    for rule in RULES.glob("*.smk"):
        assert "training_state" not in rule.read_text(encoding="utf-8"), rule
    assert "directory(" not in (RULES / "models.smk").read_text(encoding="utf-8")
