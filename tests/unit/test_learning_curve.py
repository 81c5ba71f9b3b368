"""The learning curve of a training: the means that it holds, what a restart makes of it, and what it is read as."""

import pytest
import torch
from golden_inputs import save_images
from test_training_state import COMMON, PROCESS, SPEC, STEPS, UNET, cut_off, run_stage, weights

import train as train_stage
from guda import config
from guda.core.artifacts import load_tensors, save_tensors, sha256_file
from guda.core.errors import DataError
from guda.core.paths import RECORD, WEIGHTS
from guda.core.progress import track
from guda.core.records import read_record
from guda.data.datasets import load_dataset
from guda.models.learning import describe, fall
from guda.training.curve import POINTS, LearningCurve
from guda.training.loop import optimize, train
from guda.training.state import Execution, TrainingState

TRAINING = config.Training(**COMMON, ema_decay=0.5)


def counted(steps, check=None):
    """The curve of a training whose loss at step i is i, as a record has it."""
    model, curve = torch.nn.Linear(1, 1, bias=False), LearningCurve(check)
    settings = config.Optimization(steps=steps, batch_size=1, warmup_steps=0)
    loss = lambda target: target.sum() + 0 * model.weight.sum()  # noqa: E731
    optimize(model, lambda step: [torch.full((1,), float(step))], loss, settings, 0, Execution(curve=curve))
    return curve.record()["learning_curve"]


def test_a_point_is_the_mean_loss_over_its_stretch():
    # 64 stretches of 130 steps: of 3, 2, 2, .. steps, the 33rd of 3 again. Means of 0, 1, 2 and of 3, 4, and so on.
    found = counted(130)
    assert found["steps"][:3] == [3, 5, 7]
    assert found["loss"][:3] == [1.0, 3.5, 5.5]
    assert found["steps"][31:33] == [65, 68]
    assert found["loss"][32] == 66.0
    assert (found["steps"][-1], len(found["loss"])) == (130, POINTS)
    assert "checked" not in found


def test_a_short_training_has_a_point_a_step():
    assert counted(3) == {"steps": [1, 2, 3], "loss": [0.0, 1.0, 2.0]}


def test_losses_on_given_images_are_measured_sixteen_times_evenly():
    losses = iter(range(100, 0, -1))
    checked = counted(640, lambda network: (next(losses), 7.0))["checked"]
    assert checked["steps"] == list(range(40, 641, 40))
    assert checked["training"] == list(range(100, 84, -1))
    assert checked["held_out"] == [7.0] * 16


def test_how_far_a_loss_fell_in_the_second_half():
    # Half of 300 steps are 150: from .20 there to .17.
    assert fall([50, 100, 150, 300], [0.5, 0.3, 0.2, 0.17]) == pytest.approx(0.15)
    checked = {"steps": [100, 150, 300], "training": [0.3, 0.2, 0.17]}
    assert "it still falls" in describe(checked)
    assert "in the second half of training it fell by 5 %: more steps would change little" in describe(
        checked | {"training": [0.3, 0.2, 0.19]}
    )
    rising = describe(checked | {"held_out": [0.3, 0.25, 0.27]})
    assert "0.27 on images kept aside; there it was lowest after 150 steps and has risen since" in rising


def trained(images, state=None, check=None):
    curve = LearningCurve(check)
    denoiser, _ = train(images, UNET, PROCESS, TRAINING, Execution(state, curve=curve))
    return denoiser, curve.record()


def size(denoiser):
    """Stands for a loss: what tells the weights that it is asked of, which have to be the averaged ones."""
    return weights(denoiser).abs().sum().item(), None


def test_measuring_changes_no_weight_and_sees_those_that_are_returned(images):
    denoiser, record = trained(images, check=size)
    assert torch.equal(weights(denoiser), weights(trained(images)[0]))
    assert record["learning_curve"]["checked"]["training"][-1] == pytest.approx(size(denoiser)[0], rel=1e-5)


@pytest.mark.parametrize("interval", [1, 3])
def test_a_training_that_is_cut_off_gives_the_same_curve_to_the_bit(images, tmp_path, interval):
    straight = trained(images, check=size)[1]
    for step in range(STEPS):
        cut_off(lambda state: trained(images, state, size), TrainingState(tmp_path / str(step), SPEC, interval), step)
        resumed = trained(images, TrainingState(tmp_path / str(step), SPEC, interval), size)[1]
        assert resumed == straight, step


def test_a_state_of_before_there_were_curves_goes_on_without_one(images, tmp_path):
    cut_off(lambda state: trained(images, state), TrainingState(tmp_path, SPEC, 1), 3)
    state = TrainingState(tmp_path, SPEC, 1)
    tensors, metadata = load_tensors(state.file)
    old = {name: tensor.clone() for name, tensor in tensors.items() if not name.startswith("curve.")}
    save_tensors(state.file, old, SPEC, step="3", seconds=metadata["seconds"])
    denoiser, record = trained(images, state)
    assert record == {}
    assert torch.equal(weights(denoiser), weights(trained(images)[0]))


def test_images_kept_aside_are_in_no_training_set_and_change_no_other_spec():
    whole, some = load_dataset(config.Data()), load_dataset(config.Data(kept_aside=100))
    aside, left = set(some.kept_aside.table["id"]), set(some.table["id"])
    assert (len(aside), aside & left, aside | left) == (100, set(), set(whole.table["id"]))
    assert load_dataset(config.Data(kept_aside=0)).images_spec() == whole.images_spec() != some.images_spec()
    both = load_dataset(config.Data(kept_aside=100, held_out=config.Subset(count=50)))
    assert (len(both.kept_aside.table), len(both.held_out.table), len(both.table)) == (100, 50, 1647)


def test_the_record_tells_the_loss_on_images_kept_aside_which_costs_nothing(tmp_path):
    data = config.Data(kept_aside=70)
    dataset = load_dataset(data)
    spec = SPEC.model_copy(update={"images": dataset.images_spec().digest()})
    save_images(tmp_path / "images", dataset.images_spec(), dataset.images, list(dataset.table["id"]))
    call = {"spec": spec.canonical(), "samples": tmp_path / "images"}
    run_stage(train_stage, **call, data=data.model_dump_json(), model=tmp_path / "aside")
    run_stage(train_stage, **call, model=tmp_path / "none")
    aside, none = (read_record(tmp_path / name / RECORD, spec.digest()) for name in ("aside", "none"))
    found = aside["learning_curve"]["checked"]
    assert len(found["held_out"]) == len(found["training"]) == STEPS
    assert all(0 < loss < 2 for loss in found["held_out"])
    assert "held_out" not in none["learning_curve"]["checked"]
    assert found["training"] == none["learning_curve"]["checked"]["training"]
    assert aside["evaluations"] == 3 * STEPS * COMMON["batch_size"]
    assert sha256_file(tmp_path / "aside" / WEIGHTS) == sha256_file(tmp_path / "none" / WEIGHTS)
    other = config.Data(kept_aside=71).model_dump_json()
    with pytest.raises(DataError, match="changed since the workflow was planned; run snakemake again"):
        run_stage(train_stage, **call, data=other, model=tmp_path / "other")


def test_log_lines_count_the_steps_of_earlier_runs_and_say_more(capsys):
    assert list(track([7, 8], "training", 10, 8, lambda index: f"place {index}")) == [7, 8]
    assert capsys.readouterr().err.startswith("training: 10/10 in 0 s, place 1")
