"""Health of models: measured on what they retain, compared with the base model, refused or warned of when poor."""

import json

import numpy as np
import pytest
import torch
from golden_inputs import IDS, IMAGES, MEMBERS, SCHEDULE, UNET, run_stage, save_groups, save_images
from text_inputs import LATENTS, captions, text_denoiser

import train as train_stage
import unlearn as unlearn_stage
from guda import config, specs
from guda.core.paths import BASE, Paths, logo_model, unlearned_model
from guda.core.records import read_record, write_record
from guda.core.seeding import derive_seed, gaussian
from guda.data.labels import Memberships
from guda.data.pixels import to_network_range
from guda.data.training_set import TrainingSet
from guda.models.classifier import GroupClassifier
from guda.models.denoisers import add_adapters, new_denoiser, save_denoiser
from guda.models.health import MUCH_WORSE, PROBES, SHARED, Health, describe, healths, ratio, summary, worst_of
from guda.models.noise_schedule import NoiseSchedule
from guda.plan.config import load_config
from guda.plan.experiment import Experiment
from guda.scoring.losses import evenly_spaced
from guda.scoring.probe import measured, measured_classifier, probe_errors, probes
from guda.training.loop import optimize
from guda.training.state import Execution, TrainingState
from guda.unlearning.finetune.plan import ContinuedSettings, ContinuedTrainingSpec
from guda.unlearning.neggrad.plan import NegGrad, NegGradSpec

SPEC = ContinuedTrainingSpec(
    base="b", images="i", group="g", noise_schedule=SCHEDULE, settings=ContinuedSettings(seed=0)
)
MANY = [f"i{index:03d}" for index in range(400)]


@pytest.fixture
def training_set(images):
    return TrainingSet(images, IDS)


@pytest.fixture
def forgotten():
    return torch.tensor([name in MEMBERS["a"] for name in IDS])


def spoiled(denoiser, factor):
    """The network with weights that are so many times its own."""
    with torch.no_grad():
        for weight in denoiser.parameters():
            weight *= factor
    return denoiser


# --- what is measured --------------------------------------------------------------------------------


def test_all_models_are_measured_on_the_first_images_of_one_order():
    order = sorted(range(400), key=lambda row: derive_seed("health", MANY[row]))
    rows, steps = probes(MANY, 1000)
    assert rows == order[: SHARED * PROBES]
    assert steps[:PROBES].tolist() == evenly_spaced(PROBES, 1000).tolist()
    without = torch.zeros(400, dtype=torch.bool)
    without[order[:10]] = True
    retained, at = probes(MANY, 1000, without)
    assert retained == order[10 : 10 + PROBES]
    of_all = dict(zip(rows, steps.tolist(), strict=True))
    assert [of_all[row] for row in retained] == at.tolist()


def test_the_order_of_the_images_does_not_matter():
    rows, steps = probes(MANY, 1000)
    turned, at = probes(MANY[::-1], 1000)
    assert [(MANY[row], step) for row, step in zip(rows, steps.tolist(), strict=True)] == [
        (MANY[::-1][row], step) for row, step in zip(turned, at.tolist(), strict=True)
    ]


def test_a_group_of_nearly_all_images_leaves_some_that_the_base_model_is_measured_on():
    without = torch.ones(400, dtype=torch.bool)
    without[[MANY.index(name) for name in MANY[::20]]] = False
    rows, _ = probes(MANY, 1000, without)
    assert sorted(rows) == list(range(0, 400, 20))
    assert len(set(rows) & set(probes(MANY, 1000)[0])) >= 5


def test_the_loss_is_the_mean_squared_error_of_the_noise(denoiser, training_set):
    rows, steps = probes(IDS, 1000)
    x = to_network_range(training_set.images[rows])
    noise = torch.from_numpy(
        np.stack([gaussian(0, IDS[row], step, (1, 8, 8)) for row, step in zip(rows, steps.tolist(), strict=True)])
    )
    with torch.no_grad():
        predicted = denoiser.predict_noise(denoiser.add_noise(x, noise, steps), steps)
    expected = (noise - predicted).double().square().mean((1, 2, 3))
    errors, powers = probe_errors(denoiser, training_set, rows, steps)
    torch.testing.assert_close(errors, expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(powers, noise.double().square().mean((1, 2, 3)), rtol=1e-5, atol=0)
    found = measured(denoiser, SPEC, training_set)
    assert found["loss"] == pytest.approx((expected.sum() / powers.sum()).item(), rel=1e-5)
    assert found["errors"] == pytest.approx(
        dict(zip([IDS[row] for row in rows], expected.tolist(), strict=True)), rel=1e-4
    )


@pytest.mark.parametrize("batch_size", [1, 5, 12])
def test_the_batch_size_does_not_matter(denoiser, training_set, batch_size):
    whole = probe_errors(denoiser, training_set, *probes(IDS, 1000))[0]
    parts = probe_errors(denoiser, training_set, *probes(IDS, 1000), batch_size)[0]
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_a_model_that_predicts_zero_has_a_loss_of_one_whatever_it_is_to_predict(tiny_unet, training_set, kind):
    schedule = NoiseSchedule.from_config(config.NoiseSchedule(prediction_type=kind))
    denoiser = spoiled(new_denoiser(tiny_unet, schedule, (1, 8, 8)), 0)
    assert measured(denoiser, SPEC, training_set)["loss"] == 1


def test_measuring_does_not_draw_and_switches_dropout_off(schedule, training_set):
    settings = config.UNet(block_out_channels=[8, 8], layers_per_block=1, norm_num_groups=8, dropout=0.5)
    denoiser = new_denoiser(settings, schedule, (1, 8, 8)).train()
    before = torch.get_rng_state()
    assert measured(denoiser, SPEC, training_set) == measured(denoiser, SPEC, training_set)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_model_is_compared_with_its_base_on_what_it_retains(denoiser, training_set, forgotten, capsys):
    same = measured(denoiser, SPEC, training_set, forgotten, denoiser)
    assert same["ratio"] == 1
    assert same["loss"] == same["base_loss"]
    rows, steps = probes(IDS, 1000, forgotten)
    assert not forgotten[rows].any()
    base = spoiled(new_denoiser(UNET, denoiser.schedule, (1, 8, 8)), 0)  # its errors are the noise's own squares
    errors, powers = probe_errors(denoiser, training_set, rows, steps)
    found = measured(denoiser, SPEC, training_set, forgotten, base)
    assert found["ratio"] == pytest.approx((errors.sum() / powers.sum()).item())
    assert capsys.readouterr().err.count("warning") <= 1


def test_a_text_to_image_model_is_told_the_first_prompt_of_each_image():
    """With adapters, of which B is still zero, it is the very network that it was."""
    base, of_images = text_denoiser(), TrainingSet(LATENTS, captions().ids, captions())
    rows, steps = probes(of_images.ids, 1000)
    noise = torch.from_numpy(
        np.stack([gaussian(0, of_images.ids[row], at, (4, 8, 8)) for row, at in zip(rows, steps.tolist(), strict=True)])
    )
    told = captions().first(torch.tensor(rows))
    with torch.no_grad():
        predicted = base.predict_noise(base.add_noise(LATENTS[rows], noise, steps), steps, told)
    errors, _ = probe_errors(base, of_images, rows, steps)
    torch.testing.assert_close(errors, (noise - predicted).double().square().mean((1, 2, 3)), rtol=1e-4, atol=0)
    adapted = text_denoiser()
    add_adapters(adapted, rank=2, alpha=2, seed=0)
    forgotten = torch.tensor([True] + 7 * [False])
    assert measured(adapted, SPEC, of_images, forgotten, base)["ratio"] == pytest.approx(1, rel=1e-5)


def test_a_classifier_that_guesses_has_a_loss_of_one(schedule, training_set):
    memberships = Memberships.of(IDS, [set(members) for members in MEMBERS.values()])
    classifier = spoiled(GroupClassifier(UNET, schedule, (1, 8, 8), len(MEMBERS)), 0)
    assert measured_classifier(classifier, SPEC, training_set, memberships)["loss"] == pytest.approx(1)
    classifier.logits.bias.data.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="classifier's loss on training images is not finite"):
        measured_classifier(classifier, SPEC, training_set, memberships)


def test_a_loss_that_is_not_finite_is_refused(denoiser, training_set):
    with pytest.raises(FloatingPointError, match="loss on training images is not finite"):
        measured(spoiled(denoiser, 1e30), SPEC, training_set)


# --- what records say --------------------------------------------------------------------------------


def test_the_ratio_is_taken_over_the_images_that_both_were_measured_on():
    base = {"loss": 0.5, "errors": {"a": 0.1, "b": 0.3, "c": 5.0}}
    assert ratio({"errors": {"a": 0.2, "b": 1.0, "d": 7.0}}, base) == pytest.approx(1.2 / 0.4)
    assert ratio({"ratio": 2.5}, {}) == 2.5
    assert ratio({"errors": {"d": 7.0}}, base) is None
    assert ratio({"errors": {"a": 0.2}}, {}) is None


def record(stage="train", **health):
    return {"spec": json.dumps({"stage": stage}), "health": health}


def test_models_of_an_oracle_are_compared_with_its_own_base():
    known = {"base-2": record(loss=0.1, errors={"a": 0.1}), "logo-2/a": record(loss=0.2, errors={"a": 0.3})}
    assert healths(known) == {"logo-2/a": Health(0.2, pytest.approx(3), "train")}


def test_models_without_the_figure_are_left_out():
    known = {
        BASE: record(loss=0.1, errors={"a": 0.1}),
        "guda/a": {"spec": "{}"},
        "logo-1/a": record(loss=0.2, errors={"a": 0.3}),
    }
    assert healths(known) == {"logo-1/a": Health(0.2, pytest.approx(3), "train")}
    assert healths(known | {BASE: {"spec": "{}"}})["logo-1/a"].ratio is None


def test_median_and_worst_of_the_known_ratios():
    found = {"a": Health(0.1, 1.0, "train"), "b": Health(0.1, 4.0, "train"), "c": Health(0.1, None, "train")}
    assert summary(found) == {"health_median": 2.5, "health_worst": 4.0}
    assert summary({}) == {}
    assert worst_of([np.nan, 3.0, 2.0]) == worst_of([3.0, np.nan]) == 3.0
    assert np.isnan(worst_of([np.nan, np.nan]))


@pytest.mark.parametrize(
    ("health", "poor"),
    [
        (Health(0.5, 1.99, "unlearn"), False),
        (Health(0.5, 2.0, "unlearn"), True),
        (Health(0.89, None, "train"), False),
        (Health(0.9, None, "train"), True),
        (Health(0.95, 1.5, "unlearn"), True),  # the base model's 0.63 was of some use
        (Health(0.95, 1.0, "unlearn"), False),  # the base model's is said of the base model
    ],
)
def test_what_is_poor(health, poor):
    assert health.poor == poor
    assert bool(describe("guda", {"guda/a": health})) == poor


def test_a_sentence_names_the_worst_and_what_to_do():
    found = {f"guda/g{index}": Health(0.1, 10.0 + index, "unlearn") for index in range(7)} | {
        "guda/h": Health(0.1, 1, "unlearn")
    }
    (text,) = describe("guda", found)
    assert text.startswith("guda: 7 of 8 models not to be trusted: guda/g6 has 16 times the base model's loss")
    assert text.endswith("; and 2 more. Lower learning_rate, steps or forget_weight in `unlearn`.")
    assert "guda/g2" in text
    assert "guda/g1 " not in text


# --- stages ------------------------------------------------------------------------------------------


def trained(folder, learning_rate, steps=1, checkpoint_steps=1):
    """Run train.py on the fixed images, with weights that are not averaged."""
    images = specs.ImagesSpec(dataset="d", content="c")
    save_images(folder / "images.safetensors", images, IMAGES, IDS)
    settings = {"steps": steps, "batch_size": 4, "learning_rate": learning_rate, "warmup_steps": 0, "ema_decay": 0}
    spec = specs.TrainSpec(
        images=images.digest(), excluded=None, unet=UNET, noise_schedule=SCHEDULE, training=config.Training(**settings)
    )
    flags = {"spec": spec.canonical(), "samples": folder / "images.safetensors", "model": folder / "model"}
    run_stage(train_stage, **flags, execution=json.dumps({"checkpoint_steps": checkpoint_steps}))
    return read_record(folder / "model" / "record.json", spec.digest()), spec


def test_weights_that_the_last_step_spoils_are_refused_and_nothing_is_written(tmp_path):
    """The loss of the only step is computed before it: AdamW then decays weights by 1 - 1e38 * 1e-4 and more."""
    with pytest.raises(FloatingPointError, match=r"weights .* are not finite after step 0; lower the learning rate"):
        trained(tmp_path, 1e38 * 4)
    assert not (tmp_path / "model").exists()


def test_the_record_of_a_trained_model_tells_its_health_which_costs_nothing(tmp_path):
    found, spec = trained(tmp_path, 1e-3)
    assert found["health"]["errors"].keys() == set(IDS)
    assert 0 < found["health"]["loss"] < 5
    assert found["evaluations"] == 3 * spec.training.steps * spec.training.batch_size


def draw(step):
    """An image, its noise and steps, twice."""
    return [torch.ones(2, 1, 8, 8), torch.ones(2, 1, 8, 8), torch.tensor([5, 600])]


def test_the_averaged_weights_are_checked(denoiser):
    """One step of infinite learning; the average of before and after is no better."""
    settings = config.Optimization(steps=1, batch_size=2, learning_rate=4e38, warmup_steps=0)
    with pytest.raises(FloatingPointError, match="not finite after step 0"):
        optimize(denoiser, draw, denoiser.training_loss, settings, 0, Execution(progress=None), ema_decay=0.5)


def test_no_state_is_saved_of_weights_that_are_not_finite(denoiser, tmp_path):
    settings = config.Optimization(steps=3, batch_size=2, learning_rate=4e38, warmup_steps=0)
    state = TrainingState(tmp_path, SPEC, 1)
    with pytest.raises(FloatingPointError, match="not finite after step 0"):
        optimize(denoiser, draw, denoiser.training_loss, settings, 0, Execution(state, progress=None))
    assert not state.file.exists()


def unlearned(folder, **changes):
    """Run unlearn.py by gradient ascent on group a."""
    paths, base, images = (
        Paths(folder),
        specs.ImagesSpec(dataset="d", content="base"),
        specs.ImagesSpec(dataset="d", content="c"),
    )
    save_images(paths.images(), images, IMAGES, IDS)
    group = save_groups(paths)["a"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        denoiser = new_denoiser(UNET, NoiseSchedule.from_config(SCHEDULE), (1, 8, 8))
    save_denoiser(folder / "models" / BASE, denoiser, base)
    settings = NegGrad(**{"steps": 2, "batch_size": 4, "warmup_steps": 0} | changes)
    spec = NegGradSpec(
        base=base.digest(), images=images.digest(), group=group, noise_schedule=SCHEDULE, settings=settings
    )
    flags = {"base": folder / "models" / BASE, "samples": paths.images(), "group": paths.group("a")}
    run_stage(unlearn_stage, spec=spec.canonical(), **flags, model=folder / "models" / "neggrad" / "a")
    return read_record(paths.model_record("neggrad/a"), spec.digest())["health"]


def test_a_finite_divergence_of_unlearning_is_written_and_warned_of(tmp_path, capsys):
    found = unlearned(tmp_path, learning_rate=1.0)
    assert found["ratio"] >= MUCH_WORSE
    assert found["ratio"] == pytest.approx(found["loss"] / found["base_loss"])
    told = capsys.readouterr().err
    assert f"warning: this model has {found['ratio']:.3g} times the base model's loss on images that it retains" in told
    assert "Lower learning_rate or steps in `attribution.neggrad`." in told


def test_a_small_step_is_not_warned_of(tmp_path, capsys):
    assert unlearned(tmp_path, learning_rate=1e-6)["ratio"] == pytest.approx(1, abs=0.01)
    assert "warning" not in capsys.readouterr().err


# --- the plan ----------------------------------------------------------------------------------------


@pytest.fixture
def experiment(tmp_path):
    groups = {"data": {"groups": ["amber", "cedar"]}, "lds": {"subsets": 2, "seed": 0}}
    return Experiment(load_config({"results": str(tmp_path), **groups}))


def write(experiment, model, **health):
    write_record(
        experiment.paths.model_record(model),
        experiment.model_spec(model),
        [],
        seconds=1.0,
        **({"health": health} if health else {}),
    )


def test_a_plan_without_models_or_with_old_ones_says_nothing(experiment):
    assert experiment.notes() == []
    for model in (BASE, logo_model(1, "amber"), unlearned_model("guda", "amber")):
        write(experiment, model)
    assert experiment.notes() == []


def test_the_plan_tells_which_models_diverged(experiment):
    write(experiment, BASE, loss=0.1, errors={"x": 0.1, "y": 0.3})
    write(experiment, logo_model(1, "amber"), loss=0.1, errors={"x": 0.1, "y": 0.3})
    write(experiment, logo_model(2, "cedar"), loss=0.8, errors={"y": 2.4})
    write(experiment, unlearned_model("guda", "amber"), loss=0.3, base_loss=0.1, ratio=3.0)
    write(experiment, "subset-0/0", loss=0.9, errors={"x": 0.9})
    oracle, unlearned, subsets = experiment.notes()
    assert oracle.startswith("logo-2: 1 of 1 models not to be trusted: logo-2/cedar has 8 times the base model's")
    assert oracle.endswith("Lower learning_rate in `training`, or raise steps.")
    assert unlearned.startswith("guda, guda_uncalibrated, ensemble: 1 of 1 models not to be trusted: guda/amber has")
    assert subsets.startswith("lds: 1 of 1 models not to be trusted: subset-0/0 has 9 times the base model's loss")


def test_the_plan_tells_of_a_useless_base_model_once(experiment):
    write(experiment, BASE, loss=0.97, errors={"x": 0.9})
    write(experiment, logo_model(1, "amber"), loss=0.98, errors={"x": 0.91})
    (text,) = experiment.notes()
    assert text.startswith("base model: 1 of 1 models not to be trusted: base predicts no better than nothing")


def test_models_that_will_be_made_again_and_damaged_records_are_passed_over(experiment, tmp_path):
    model = unlearned_model("guda", "amber")
    other = experiment.model_spec(model).model_copy(update={"base": "another"})
    write_record(experiment.paths.model_record(model), other, [], seconds=1.0, health={"loss": 1.0, "ratio": 9.0})
    write(experiment, unlearned_model("guda", "cedar"), loss=1.0, base_loss=0.1, ratio=10.0)
    file = tmp_path / "models" / "guda" / "cedar" / "record.json"
    file.write_text(file.read_text().replace("10.0", "11.0"))
    assert experiment.notes() == []
