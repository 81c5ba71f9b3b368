"""What notebooks get from `guda` is what the workflow's programs write, and what is wrong with an argument is said."""

import math
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, FlowMatchEulerDiscreteScheduler, UNet2DModel
from golden_inputs import (
    IDS,
    IMAGES,
    MEMBERS,
    OPTIMIZATION,
    QUERIES,
    SCHEDULE,
    UNET,
    run_stage,
    save_groups,
    save_images,
)
from PIL import Image

import attribute
import compute_elbo
import find_neighbors
import guda
import train
import unlearn
from guda import config, specs
from guda.api.arguments import as_images
from guda.core.artifacts import read_csv
from guda.core.paths import BASE, CALIBRATION, Paths
from guda.core.records import read_record, record_of
from guda.evaluation.metrics_table import COSTS, HEALTH, metrics_table
from guda.evaluation.scores import Scores, scores_frame
from guda.methods.counterfactual.plan import CounterfactualSpec
from guda.models.denoisers import load_denoiser
from guda.models.noise_schedule import NoiseSchedule, elbo_steps
from guda.unlearning.retrack.plan import Unlearning, UnlearnSpec

SCRIPTS = Path(guda.__file__).parents[1]
BUCKET = "bucket-0000"
STEPS = {"kind": "geometric", "first": 10, "last": 80, "count": 5}
SCHEDULER = DDPMScheduler(num_train_timesteps=100, beta_schedule="squaredcos_cap_v2")
UNLEARN = OPTIMIZATION | {"forget_weight": 0.3, "n_neighbors": 2}
NUMBERS = ["score", "se", "p_top1_scoring", "p_top1", "p_none"]


@pytest.fixture(scope="module")
def workflow(tmp_path_factory):
    """A results folder of the stage programs: base model, what unlearned groups a and b, and two methods' scores."""
    paths = Paths(tmp_path_factory.mktemp("results"))
    groups = save_groups(paths)
    models = make_models(paths, groups)
    samples = {}
    for bucket, pixels, ids in ((BUCKET, QUERIES, ["q0", "q1"]), (CALIBRATION, IMAGES, IDS)):
        made = {"base": "b", "noise_schedule": SCHEDULE, "seed": 0, "sampler": "ddim", "sampling_steps": 1}
        spec = specs.QueriesSpec(**made, ids=ids)
        save_images(paths.queries(bucket), spec, pixels, ids)
        samples[bucket] = spec.digest()
    steps = elbo_steps(config.StepSchedule(**STEPS)).tolist()
    elbo = specs.ElboSettings(noise_schedule=SCHEDULE, seed=5, steps=steps, first=10, last=80)
    for name, model in models.items():
        for bucket, digest in samples.items():
            spec = specs.ElboSpec(model=model, samples=digest, elbo=elbo)
            files = {"output": paths.elbo(name, bucket), "record": paths.elbo_record(name, bucket)}
            inputs = {"model": folder_of(paths, name), "samples": paths.queries(bucket)}
            run_stage(compute_elbo, spec=spec.canonical(), **inputs, **files)
    scored = {"elbo": elbo, "base": models[BASE], "buckets": {BUCKET: samples[BUCKET]}, "neighbors": {}}
    scored["model_names"] = {group: f"guda/{group}" for group in groups}
    scored["models"] = {group: models[f"guda/{group}"] for group in groups}
    for method, calibrated in (("guda", True), ("guda_uncalibrated", False)):
        calibration = samples[CALIBRATION] if calibrated else None
        spec = CounterfactualSpec(**scored, calibration=calibration, members=groups if calibrated else {})
        files = {"output": paths.scores(method), "record": record_of(paths.scores(method))}
        run_stage(attribute, spec=spec.canonical(), method=method, results=paths.results, **files)
    return paths


def make_models(paths, groups):
    """The base model and what unlearned each group; returns the digests of their specs by name."""
    images = specs.ImagesSpec(dataset="d", content="c")
    save_images(paths.images(), images, IMAGES, IDS)
    how = {"images": images.digest(), "noise_schedule": SCHEDULE}
    settings = config.Training(**OPTIMIZATION, ema_decay=0.5)
    full = specs.TrainSpec(**how, excluded=None, unet=UNET, training=settings)
    run_stage(train, spec=full.canonical(), samples=paths.images(), model=folder_of(paths, BASE))
    made = {BASE: full.digest()}
    for group, members in groups.items():
        near = specs.NeighborsSpec(images=images.digest(), group=members, n_neighbors=2)
        files = {"group": paths.group(group), "output": paths.neighbors(group)}
        files["record"] = paths.neighbors_record(group)
        run_stage(find_neighbors, spec=near.canonical(), images=paths.images(), **files)
        of = {"method": "guda", "base": full.digest(), "group": members, "neighbors": near.digest()}
        spec = UnlearnSpec(**how, **of, settings=Unlearning(**UNLEARN))
        files = {"samples": paths.images(), "group": paths.group(group), "files": paths.neighbors(group)}
        places = {"base": folder_of(paths, BASE), "model": folder_of(paths, f"guda/{group}")}
        run_stage(unlearn, spec=spec.canonical(), **files, **places)
        made[f"guda/{group}"] = spec.digest()
    return made


def folder_of(paths, name):
    return Path(paths.model_weights(name)).parent


def opened(paths, name):
    return UNet2DModel.from_pretrained(folder_of(paths, name))


def masks():
    return {group: np.isin(IDS, members) for group, members in MEMBERS.items()}


@pytest.fixture
def models(workflow):
    return SimpleNamespace(
        base=opened(workflow, BASE), without={group: opened(workflow, f"guda/{group}") for group in MEMBERS}
    )


def unet(**changes):
    """A network with fresh weights for images of 1x8x8."""
    shape = {"sample_size": 8, "in_channels": 1, "out_channels": 1}
    return UNet2DModel(**shape | UNET.model_dump(exclude={"learned_variance"}) | changes).eval()


# --- the same numbers as the workflow's --------------------------------------------------------------


@pytest.mark.parametrize("method", ["guda", "guda_uncalibrated"])
def test_scores_are_those_of_the_workflows_file(workflow, models, method):
    calibration = {"calibration": IMAGES, "calibration_ids": IDS, "members": masks()} if method == "guda" else {}
    how = {"ids": ["q0", "q1"], "scheduler": SCHEDULER, "seed": 5, "steps": STEPS}
    found = guda.attribute(models.base, models.without, QUERIES, **how, **calibration)
    expected = read_csv(workflow.scores(method), numbers=NUMBERS)
    pd.testing.assert_frame_equal(found, expected, check_exact=True, check_dtype=False)


def test_whether_groups_were_forgotten_is_told_by_the_record_and_a_warning(workflow, models):
    """Group a has four of the twelve calibration images, b three, which are too few to tell."""
    how = {"scheduler": SCHEDULER, "seed": 5, "steps": STEPS}
    images = guda.attribute(models.base, models.without, IMAGES, ids=IDS, **how)
    scores = images.pivot(index="query", columns="group", values="score")["a"]
    own, retained = scores[IDS[:4]], scores[IDS[4:]]
    expected = pytest.approx((own.mean() - retained.mean()) / retained.std(), rel=1e-5)
    record = read_record(record_of(workflow.scores("guda")))
    assert record["forgetting"] == {"a": expected, "b": None}
    assert record["forgetting_median"] == record["forgetting_worst"] == record["forgetting"]["a"]
    assert "forgetting" not in read_record(record_of(workflow.scores("guda_uncalibrated")))

    calibration = {"calibration": IMAGES, "calibration_ids": IDS, "members": masks()}
    with pytest.warns(UserWarning, match=r"^counterfactuals: 1 of 2 groups barely forgotten: a \(") as caught:
        guda.attribute(models.base, models.without, QUERIES, **how, **calibration)
    assert caught[0].filename == __file__


def test_terms_add_up_to_the_scores(models):
    how = {"scheduler": SCHEDULER, "seed": 5, "steps": STEPS}
    full, without = (guda.elbo(model, QUERIES, **how) for model in (models.base, models.without["a"]))
    assert full.index.tolist() == ["0", "1"]
    assert full.columns.tolist() == elbo_steps(config.StepSchedule(**STEPS)).tolist()
    scores = guda.attribute(models.base, models.without, QUERIES, **how)
    difference = full.sum(axis=1) - without.sum(axis=1)
    np.testing.assert_allclose(scores.loc[scores["group"] == "a", "score"], difference, rtol=1e-9)


@pytest.mark.parametrize("group", MEMBERS)
def test_unlearning_gives_the_weights_of_the_program(workflow, models, group):
    before = {name: weight.clone() for name, weight in models.base.state_dict().items()}
    student = guda.unlearn(models.base, IMAGES, masks()[group], scheduler=SCHEDULER, **UNLEARN)
    expected = models.without[group].state_dict()
    assert type(student) is UNet2DModel
    assert not student.training
    assert all(torch.equal(weight, expected[name]) for name, weight in student.state_dict().items())
    assert all(torch.equal(weight, before[name]) for name, weight in models.base.state_dict().items())


ORACLE = np.array([[5.0, 1, 0], [0, 4, 3], [1, 2, 6], [3, 2, 1]])
SECOND = np.array([[4.0, 1, 0], [0, 2, 5], [3, 1, 5], [4, 1, 2]])
METHOD = np.array([[1.0, 0, 0], [0, 1, 0], [1, 0, 0], [2, 1, 3]])


def frame(matrix):
    return scores_frame(Scores(["q3", "q1", "q2", "q0"], ["c", "a", "b"], matrix))


def test_agreement_is_that_of_the_table():
    settings = {"bootstrap_samples": 50, "seed": 3, "decisive_ratio": 1.5}
    matrices = {"logo": ORACLE, "logo-2": SECOND, "m": METHOD}
    by_name = {name: matrix[[3, 1, 2, 0]][:, [1, 2, 0]] for name, matrix in matrices.items()}  # as the table has them
    costs = {name: dict.fromkeys([*COSTS, *HEALTH], 1.0) for name in matrices}
    table = metrics_table(by_name, ["logo", "logo-2"], ["m"], costs, config.Metrics(**settings)).set_index("method")
    shuffled = frame(METHOD).sample(frac=1, random_state=0)
    found = guda.metrics.agreement(shuffled, [frame(ORACLE), frame(SECOND)], **settings)
    assert found.to_dict() == table.loc["m", found.index].to_dict()
    alone = guda.metrics.agreement(frame(ORACLE), frame(ORACLE))
    assert (alone["top1"], alone["n_queries"]) == (1, 4)


# --- what may be given -------------------------------------------------------------------------------


def test_pipelines_pictures_and_other_samplers_give_the_same_numbers(models):
    expected = guda.elbo(models.base, QUERIES, scheduler=SCHEDULER, steps=STEPS)
    pictures = [Image.fromarray(image[0]) for image in QUERIES]
    pipeline = DDPMPipeline(models.base, SCHEDULER)
    sampler = DDIMScheduler.from_config(SCHEDULER.config)
    betas = DDPMScheduler(100, trained_betas=SCHEDULER.betas.double().numpy())
    pd.testing.assert_frame_equal(guda.elbo(pipeline, pictures, steps=STEPS), expected)
    pd.testing.assert_frame_equal(guda.elbo(models.base, QUERIES, scheduler=sampler, steps=STEPS), expected)
    pd.testing.assert_frame_equal(
        guda.elbo(models.base, QUERIES, scheduler=betas, steps=STEPS), expected, check_exact=False, rtol=1e-4
    )


def test_the_librarys_own_denoiser_is_taken(workflow, models):
    denoiser, _ = load_denoiser(folder_of(workflow, BASE), NoiseSchedule.from_config(SCHEDULE))
    expected = guda.elbo(models.base, QUERIES, scheduler=SCHEDULER, steps=STEPS)
    pd.testing.assert_frame_equal(guda.elbo(denoiser, QUERIES, steps=STEPS), expected)


def test_color_pictures_have_their_channels_first():
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    assert torch.equal(as_images([Image.fromarray(picture)]), torch.from_numpy(picture.transpose(2, 0, 1))[None])


def test_a_network_in_training_is_scored_without_dropout_and_left_in_training():
    network = unet(dropout=0.5)
    expected = guda.elbo(network, QUERIES, scheduler=SCHEDULER, steps=STEPS)
    pd.testing.assert_frame_equal(guda.elbo(network.train(), QUERIES, scheduler=SCHEDULER, steps=STEPS), expected)
    assert network.training


# --- what is refused ---------------------------------------------------------------------------------

A, B = masks().values()
HALF = np.full((2, 1, 8, 8), 0.5)
ALL = {"a": np.ones(12, bool), "b": B}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": HALF}, "images: expected uint8 [n, C, H, W] with levels 0 to 255 and n at least 1, found float64"),
        ({"images": QUERIES[0]}, "found uint8 [1, 8, 8]"),
        ({"images": QUERIES[:0]}, "found uint8 [0, 1, 8, 8]"),
        ({"images": "folder"}, "images: expected an array or a list of PIL images, found str"),
        ({"images": [Image.new("RGBA", (8, 8))]}, "images: expected images of one size, all of mode L or all of mode"),
        ({"images": np.zeros((2, 3, 8, 8), np.uint8)}, "images: have 3 channels, but the network takes 1; convert"),
        ({"images": np.zeros((2, 1, 7, 8), np.uint8)}, "images: have [7, 8] pixels"),
        ({"ids": ["x"]}, "ids: 1 names for 2 images; give one name per image"),
        ({"ids": ["x", "x"]}, "ids: 'x' occurs twice"),
        ({"seed": -1}, "seed: must be greater than or equal to 0 (found -1)"),
        ({"steps": {"kint": "all"}}, "steps.kint: unknown key; did you mean 'kind'?"),
        ({"steps": {"first": 110}}, "steps.last is 990, but the scheduler's last step is 99; choose an earlier one"),
        ({"batch_size": 0}, "batch_size: must be greater than 0 (found 0)"),
        ({"scheduler": None}, "scheduler: must be given for a bare network"),
        ({"scheduler": "ddpm"}, "scheduler: expected a diffusers scheduler defined by betas"),
        *(
            (
                {"scheduler": DDPMScheduler(100, trained_betas=[*[0.1] * 99, beta])},
                "scheduler: its trained_betas are not",
            )
            for beta in (math.nan, 1.0, 0.0, -0.1)
        ),
        ({"scheduler": FlowMatchEulerDiscreteScheduler()}, "found FlowMatchEulerDiscreteScheduler"),
        ({"scheduler": DDPMScheduler(100, rescale_betas_zero_snr=True)}, "has rescale_betas_zero_snr True, but only"),
        (
            {"scheduler": DDPMScheduler(100, beta_schedule="laplace")},
            "scheduler.beta_schedule: must be 'squaredcos_cap_v2'",
        ),
        ({"base": torch.nn.Linear(1, 1)}, "base: expected diffusers' UNet2DModel, or a pipeline of one, found Linear"),
        ({"base": unet(num_class_embeds=3)}, "base: its network is class-conditional"),
        ({"base": unet().half()}, "base: its weights are torch.float16"),
        ({"base": DDPMPipeline(unet(), DDPMScheduler())}, "base: its own scheduler has another noise schedule"),
        (
            {"counterfactuals": {}},
            "counterfactuals: expected a mapping from at least one group to the model without it",
        ),
        ({"counterfactuals": {"a": None}}, "counterfactuals['a']: expected diffusers' UNet2DModel"),
        ({"calibration": IMAGES}, "calibration and members: one is missing; give both, or neither"),
        ({"calibration": IMAGES, "members": {"a": A}}, "members: has the groups ['a'], but counterfactuals has"),
        ({"calibration": IMAGES, "members": {"a": A, "b": MEMBERS["b"]}}, "members['b']: expected one boolean for"),
        ({"calibration": IMAGES, "members": ALL}, "members['a']: marks every calibration image, so none is retained"),
    ],
)
def test_what_is_wrong_with_an_argument_of_attribute_is_said(changes, message):
    given = {"base": unet(), "counterfactuals": {"a": unet(), "b": unet()}, "images": QUERIES, "scheduler": SCHEDULER}
    with pytest.raises(guda.GudaError, match=re.escape(message)):
        guda.attribute(**given | {"steps": STEPS} | changes)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
def test_a_model_that_has_diverged_has_no_bound_and_gives_no_scores(value):
    diverged = unet()
    torch.nn.init.constant_(diverged.conv_out.weight, value)
    with pytest.raises(FloatingPointError, match=r"values of 'terms' are not finite\. The model .* has diverged"):
        guda.elbo(diverged, QUERIES, scheduler=SCHEDULER, steps=STEPS)
    for base, others in [(diverged, {"a": unet()}), (unet(), {"a": unet(), "b": diverged})]:
        with pytest.raises(FloatingPointError, match="has diverged"):
            guda.attribute(base, others, QUERIES, scheduler=SCHEDULER, steps=STEPS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"forget": ~np.isin(IDS, IDS)}, "forget: marks no image; mark the images to unlearn"),
        ({"forget": np.isin(IDS, IDS)}, "unlearn.n_neighbors is 2, but only 0 images are retained"),
        ({"forget": [0, 1, 2]}, "forget: expected one boolean for each of 12 images, found int64 [3]"),
        ({"steps": 0}, "steps: must be greater than 0 (found 0)"),
        ({"last": 100}, "last is 100, but the scheduler's last step is 99; choose an earlier one"),
        ({"learning_rte": 1.0}, "learning_rte: unknown key; did you mean 'learning_rate'?"),
        ({"model": unet().requires_grad_(False)}, "model: all its weights are frozen"),
    ],
)
def test_what_is_wrong_with_an_argument_of_unlearn_is_said(changes, message):
    given = {"model": unet(), "images": IMAGES, "forget": A, "scheduler": SCHEDULER}
    with pytest.raises(guda.GudaError, match=re.escape(message)):
        guda.unlearn(**given | UNLEARN | changes)


@pytest.mark.parametrize(
    ("scores", "oracle", "settings", "message"),
    [
        (METHOD, frame(ORACLE), {}, "scores: expected a frame with the columns query, group, score, found ndarray"),
        (
            frame(METHOD).drop(columns="group"),
            frame(ORACLE),
            {},
            "found ['query', 'score', 'se', 'p_top1_scoring', 'p_top1', 'p_none']",
        ),
        (pd.concat([frame(METHOD)] * 2), frame(ORACLE), {}, "scores: query 'q3' has group 'c' twice"),
        (frame(METHOD)[1:], frame(ORACLE), {}, "scores: has 11 rows for 4 queries and 3 groups"),
        (frame(METHOD)[:0], frame(ORACLE), {}, "scores: has 0 rows"),
        (frame(METHOD).assign(score=np.nan), frame(ORACLE), {}, "scores: 12 of 12 scores are not finite"),
        (frame(METHOD).assign(score="high"), frame(ORACLE), {}, "scores: 12 of 12 scores are not finite"),
        (frame(METHOD), None, {}, "oracle: expected a frame with the columns query, group, score, found NoneType"),
        (frame(METHOD), [], {}, "oracle: an empty list"),
        (frame(METHOD), [frame(ORACLE), frame(ORACLE).replace("a", "z")], {}, "oracle[1]: its column 'group' differs"),
        (frame(METHOD), frame(ORACLE), {"content": None}, "content: unknown key"),
        (frame(METHOD), frame(ORACLE), {"bootstrap_samples": 1}, "bootstrap_samples: must be greater than or equal"),
    ],
)
def test_what_is_wrong_with_an_argument_of_agreement_is_said(scores, oracle, settings, message):
    with pytest.raises(guda.GudaError, match=re.escape(message)):
        guda.metrics.agreement(scores, oracle, **settings)


# --- what is exported --------------------------------------------------------------------------------


def test_what_is_listed_is_there_and_described():
    assert guda.__all__ == ["GudaError", "attribute", "elbo", "metrics", "unlearn"]
    assert all(getattr(guda, name).__doc__ for name in guda.__all__)
    assert {*guda.__all__} <= {*dir(guda)}
    assert issubclass(guda.GudaError, Exception)
    with pytest.raises(AttributeError, match="module 'guda' has no attribute 'atribute'"):
        guda.atribute  # noqa: B018


@pytest.mark.parametrize("code", ["import guda", "import guda.metrics; guda.metrics.agreement", "guda.GudaError"])
def test_torch_is_loaded_only_for_what_needs_it(code):
    code = f"import sys, guda; {code}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
