"""Text-to-image models: a small pipeline that is made, and the preset unlearncanvas with such a one as its own."""

import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from harness import ROOT, Workflow, finished, job_of, logged_call, matcher, merged, with_flags
from PIL import Image

from guda.config.file import read_yaml
from guda.core.artifacts import load_tensors, read_json, unpack_ids
from guda.core.errors import ArtifactError
from guda.core.paths import (
    ADAPTER,
    BASE,
    CALIBRATION,
    CONDITIONAL,
    WEIGHTS,
    conditioned_model,
    logo_model,
    unlearned_model,
)
from guda.plan.config import load_config
from guda.plan.experiment import Experiment

SHORT = {"steps": 6, "batch_size": 4, "warmup_steps": 2}
PROCESS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
STYLES = {
    "results": "results/styles",
    "data": {
        "dataset": "styled_digits",
        "group_by": "style",
        "groups": ["neon", "pop", "stamp"],
        "subset": {"count": 60, "seed": 0},
    },
    "text_to_image": {
        "prompts": {"template": "a {label}, {descriptors}", "content_template": "a {label}", "content": "label"},
        "small_pipeline": {
            "styles": ["dunes", "postcard"],
            "vae_channels": [8, 8, 8],
            "unet_channels": [8, 16],
            "prompt_length": 77,
            "embedding_dim": 16,
            "text_layers": 1,
            "autoencoder": SHORT,
            "text_encoder": SHORT,
            "pretraining": SHORT,
        },
        "queries": {"guidance_scale": 2.0},
    },
    "noise_schedule": PROCESS,
    "training": SHORT,
    "queries": {"count": 4, "sampling_steps": 2},
    "metrics": {"content": None},
}
TARGETS, OTHERS, OBJECTS = ["Artist_Sketch", "Cubism"], ["Bricks", "Winter"], ["Cats", "Dogs"]
DESCRIPTORS = {style: [f"{style} {kind}" for kind in ("lines", "colors", "light")] for style in TARGETS + OTHERS}
CANVAS = {
    "data": {"groups": TARGETS, "size": [32, 32]},
    "text_to_image": {"prompts": {"descriptors": "descriptors.json"}, "anchors": SHORT},
    "training": SHORT,
    "queries": {"count": 4, "sampling_steps": 2},
    "elbo": {"steps": {"stride": 300}},
    "attribution": {"calibration": {"count": 6}},
    "methods": ["guda", "prompt"],
    "metrics": {"bootstrap_samples": 50},
    "execution": {"gpus": 0},
}


@pytest.fixture(scope="module")
def styles(tmp_path_factory) -> Workflow:
    """Styled digits: a pipeline was made, fine-tuned, and asked for queries."""
    directory = tmp_path_factory.mktemp("styles")
    (directory / "tiny.yaml").write_text(yaml.dump(STYLES), encoding="utf-8")
    return finished(directory, "queries/queries.csv")


@pytest.fixture(scope="module")
def canvas(styles, tmp_path_factory) -> Workflow:
    """The preset on a small tree of UnlearnCanvas's kind, with the pipeline that was made before, to its metrics."""
    directory = tmp_path_factory.mktemp("canvas")
    generator = np.random.default_rng(0)
    for number, style in enumerate(DESCRIPTORS):
        for each in OBJECTS:
            folder = directory / "data" / "UnlearnCanvas" / style / each
            folder.mkdir(parents=True)
            for index in (1, 2, 3):
                pixels = generator.integers(0, 60, (40, 36, 3), dtype=np.uint8) + np.uint8(50 * number)
                Image.fromarray(pixels).save(folder / f"{index}.jpg")
    (directory / "descriptors.json").write_text(json.dumps(DESCRIPTORS), encoding="utf-8")
    shutil.copytree(styles.results / "pipeline", directory / "sd")
    overlay = merged(CANVAS, {"text_to_image": {"pipeline": "sd"}})
    values = merged(read_yaml(ROOT / "presets" / "unlearncanvas.yaml"), overlay)
    (directory / "tiny.yaml").write_text(yaml.dump(values), encoding="utf-8")
    return finished(directory, "metrics.csv")


def kl_sums(run, model, samples):
    """Each sample's bound from a file of terms, and the ids."""
    tensors, _ = load_tensors(run.directory / run.experiment.paths.elbo(model, samples), framework="np")
    return tensors["kl"].astype(np.float64) @ tensors["step_weights"], unpack_ids(tensors["ids"])


# --- a pipeline that is made --------------------------------------------------------------------------


def test_diffusers_generates_with_the_pipeline_that_was_made(styles):
    # In a process of its own: here diffusers may have been imported without transformers.
    folder = str(styles.results / "pipeline")
    code = (
        "import numpy as np\n"
        "from diffusers import StableDiffusionPipeline\n"
        f"pipeline = StableDiffusionPipeline.from_pretrained({folder!r}, safety_checker=None)\n"
        "(image,) = pipeline('a 3, thick lines', num_inference_steps=2, output_type='np').images\n"
        "assert image.shape == (32, 32, 3)\n"
        "assert np.isfinite(image).all()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_queries_have_their_prompts(styles):
    table = pd.read_csv(styles.results / "queries" / "queries.csv", dtype=str)
    assert list(table.columns) == ["query", "bucket", "file", "sha256", "prompt", "style", "second_style", "label"]
    assert list(table["style"]) == ["neon", "pop", "stamp", "neon"]
    for prompt, label in zip(table["prompt"], table["label"], strict=True):
        assert prompt.startswith(f"a {label}, ")
    for file in table["file"]:
        assert Image.open(styles.results / "queries" / file).size == (32, 32)


@pytest.mark.parametrize(("part", "log"), [("vae", ("encoded", "training")), ("unet", ("models", BASE))])
def test_a_damaged_part_of_the_pipeline_is_refused_by_name(styles, tmp_path, part, log):
    shutil.copytree(styles.results / "pipeline", tmp_path / "pipeline")
    file = tmp_path / "pipeline" / part / WEIGHTS
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    output = {"model": tmp_path / "out"} if log[0] == "models" else {"output": tmp_path / "out"}
    command = with_flags(logged_call(styles, *log), pipeline=tmp_path / "pipeline", **output)
    done = subprocess.run(command, cwd=styles.directory, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    _, error = done.stderr.splitlines()
    assert error.startswith(f"error: {file}: its content does not match its checksum; the file was damaged. Delete it")
    assert not (tmp_path / "out").exists()


# --- the preset unlearncanvas, to its metrics ----------------------------------------------------------


def test_all_methods_have_their_rows(canvas):
    metrics = pd.read_csv(canvas.results / "metrics.csv").set_index("method")
    assert list(metrics.index) == ["logo", "guda", "prompt", "constant"]
    assert (metrics["n_queries"] == 4).all()
    assert (metrics["n_groups"] == 2).all()
    rankings = pd.read_csv(canvas.results / "rankings.csv")
    assert rankings.groupby("method").size().to_dict() == {"guda": 8, "logo": 8, "prompt": 8}


def test_the_models_open_in_plain_diffusers(canvas):
    from diffusers import UNet2DConditionModel

    names = [BASE, *(logo_model(1, group) for group in TARGETS), *(unlearned_model("guda", group) for group in TARGETS)]
    weights = []
    for name in names:
        unet = UNet2DConditionModel.from_pretrained(canvas.results / "models" / name)
        weights.append(unet.conv_in.weight.detach().numpy())
    pretrained = UNet2DConditionModel.from_pretrained(canvas.directory / "sd" / "unet").conv_in.weight.detach().numpy()
    assert len({each.tobytes() for each in [pretrained, *weights]}) == len(names) + 1


def test_scores_follow_from_the_terms(canvas):
    """What an image's bound loses without the group, less what retained images lose to unlearning."""
    experiment, (bucket,) = canvas.experiment, canvas.experiment.buckets
    base, queries = kl_sums(canvas, BASE, bucket)
    base_of_retained, ids = kl_sums(canvas, BASE, CALIBRATION)
    for method, family in (("logo-1", "logo-1"), ("guda", "guda")):
        frame = pd.read_csv(canvas.directory / experiment.paths.scores(method))
        scores = frame.pivot(index="query", columns="group", values="score").loc[queries]
        for group in TARGETS:
            expected = kl_sums(canvas, f"{family}/{group}", bucket)[0] - base
            if method == "guda":
                damage = kl_sums(canvas, f"guda/{group}", CALIBRATION)[0] - base_of_retained
                retained = [sample_id.split("/")[0] != group for sample_id in ids]
                expected = expected - damage[retained].mean()
            np.testing.assert_allclose(scores[group], expected, rtol=1e-6, atol=1e-9)


def test_a_region_is_of_latent_cells_and_adds_up_to_the_score(canvas):
    scores = pd.read_csv(canvas.results / "scores" / "logo-1.csv")
    query = scores["query"][0]
    program = [sys.executable, ROOT / "workflow_scripts" / "region.py", "--results", canvas.results, "--query", query]
    tables = []
    for box in ("0,0,8,3", "0,3,8,8"):
        command = [*program, "--box", box, "--method", "logo-1"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "of 64 latent cells" in done.stderr
        tables.append(pd.read_csv(io.StringIO(done.stdout), index_col="group"))
    expected = scores[scores["query"] == query].set_index("group")["score"]
    both = tables[0]["score"] + tables[1]["score"]
    assert both[expected.index].tolist() == pytest.approx(expected.tolist(), abs=1e-3)


def test_prompts_are_counted_by_their_descriptors(canvas):
    table = pd.read_csv(canvas.results / "queries" / "queries.csv", dtype=str).set_index("query")
    assert list(zip(table["style"], table["object"], strict=True)) == [
        ("Artist_Sketch", "Cats"),
        ("Cubism", "Dogs"),
        ("Artist_Sketch", "Dogs"),
        ("Cubism", "Cats"),
    ]
    scores = pd.read_csv(canvas.results / "scores" / "prompt.csv")
    for row in scores.itertuples():
        assert row.score == sum(phrase in table.loc[row.query, "prompt"] for phrase in DESCRIPTORS[row.group])


def test_encoded_samples_are_as_promised(canvas):
    tensors, _ = load_tensors(canvas.results / "encoded" / "training.safetensors", framework="np")
    assert tensors["latents"].shape == (24, 4, 8, 8)
    assert len(tensors["starts"]) == 25
    assert tensors["starts"][-1] == len(tensors["prompts"]) == 24 * 2
    assert tensors["embeddings"].shape == (len(tensors["pooled"]), 77, 16)
    np.testing.assert_array_equal(tensors["empty"], tensors["embeddings"][0])


# --- what else evaluates methods, and models of others ----------------------------------------------------

EVALUATED = {
    "results": "results/styles",
    "data": {"groups": ["neon", "pop"]},
    "text_to_image": {"anchors": {**SHORT, "trainable": "lora", "lora_rank": 2}},
    "elbo": {"steps": {"stride": 300}},
    "attribution": {"calibration": {"count": 6}},
    "methods": ["guda_uncalibrated", "nearest"],
    "metrics": {"bootstrap_samples": 50},
    "lds": {"subsets": 2},
    "removal": {"queries": 1, "groups": [1], "images": [2]},
    "likelihood": {"queries": 2, "first": 300, "steps": 2, "probes": 1},
    "sweep": {"unlearn": [{"steps": 3}]},
}
BASE_FOLDER = "brought/base"


@pytest.fixture(scope="module")
def evaluated(styles, tmp_path_factory) -> Workflow:
    """The styled digits with unlearning by adapters and everything else that evaluates methods."""
    run = styles.copied(tmp_path_factory.mktemp("evaluated") / "run")
    (run.directory / "tiny.yaml").write_text(yaml.dump(merged(STYLES, EVALUATED)), encoding="utf-8")
    return finished(run.directory)


def test_subsets_removals_likelihoods_and_variants_are_measured(evaluated):
    tables = {
        name: pd.read_csv(evaluated.results / f"{name}.csv") for name in ("lds", "removal", "likelihood", "sweep")
    }
    methods = ["logo", *EVALUATED["methods"]]
    assert list(tables["lds"]["method"]) == methods
    assert list(tables["likelihood"]["method"]) == ["logo", "guda_uncalibrated"]
    assert set(tables["sweep"]["variant"]) == {"guda", "guda@steps=3", "ceiling"}
    removal = tables["removal"].set_index(["unit", "method"])
    assert set(removal.index) == {
        *(("groups", name) for name in (*methods, "random_removal")),
        *(("images", name) for name in ("nearest", "random_removal")),
    }
    assert np.isfinite(removal[["loss_rise", "mse", "ssim"]]).all(axis=None)


def test_removing_one_group_costs_the_query_what_the_oracle_says(evaluated):
    sets = pd.read_csv(evaluated.results / "removal" / "sets.csv").set_index(["unit", "method"])
    query, model = sets.loc[("groups", "logo"), ["query", "model"]]
    (bounds, ids), (without, _) = (kl_sums(evaluated, name, "bucket-0000") for name in (BASE, model))
    rise = (without - bounds)[ids.index(query)]
    removal = pd.read_csv(evaluated.results / "removal.csv").set_index(["unit", "method"])
    assert removal.loc[("groups", "logo"), "loss_rise"] == pytest.approx(rise, rel=1e-6)


def test_models_that_are_brought_along_give_the_scores_that_they_gave(evaluated, tmp_path):
    """The base model and one that was retrained without a group, as if that had unlearned it."""
    run, paths = evaluated.copied(tmp_path / "run"), evaluated.experiment.paths
    shutil.copytree(run.results / "models" / BASE, run.directory / BASE_FOLDER)
    shutil.copytree(run.results / "models" / logo_model(1, "pop"), run.directory / "brought" / "pop")
    brought = f"model: {{pretrained: {BASE_FOLDER}}}\nunlearn: {{import: {{pop: brought/pop}}}}"
    shutil.copytree(run.results / "pipeline", run.directory / "results" / "brought" / "pipeline")
    alone = "lds: {subsets: 0}\nremoval: {queries: 0}\nlikelihood: {queries: 0}\nsweep: {unlearn: []}"
    scores = "results/brought/scores/guda_uncalibrated.csv"
    done = run.snakemake("--cores", "2", scores, overlays=(f"results: results/brought\n{brought}\n{alone}",))
    assert done.returncode == 0, done.stderr
    oracle = pd.read_csv(run.directory / paths.scores("logo-1")).set_index(["query", "group"])["score"]
    found = pd.read_csv(run.directory / scores).set_index(["query", "group"])["score"]
    pd.testing.assert_series_equal(found.xs("pop", level="group"), oracle.xs("pop", level="group"), check_names=False)


def test_a_network_of_another_shape_is_refused_when_planning(canvas, tmp_path, monkeypatch):
    shutil.copytree(canvas.directory / "sd" / "unet", tmp_path / "unet")
    file = tmp_path / "unet" / "config.json"
    file.write_text(json.dumps(read_json(file) | {"layers_per_block": 3}), encoding="utf-8")
    values = canvas.experiment.config.model_dump(by_alias=True) | {"model": {"pretrained": str(tmp_path / "unet")}}
    monkeypatch.chdir(canvas.directory)
    with pytest.raises(ArtifactError, match=r"^model\.pretrained: its network has layers_per_block 3, but that of the"):
        Experiment(load_config(values))


# --- methods that compare gradients, are told prompts of the groups, or turn guidance round ----------------

COMPARED = ["trak", "dtrak", "das", "conditional_elbo", "conditional_posterior", "classifier", "guda_esd", "kernel"]
SMALL = {"steps": 2, "projection_dim": 16}
METHODS = {
    "methods": COMPARED,
    "attribution": {
        "trak": SMALL,
        "dtrak": SMALL | {"parameters": [r"attn2\.to_[kv]"]},
        "das": SMALL | {"parameters": "lora"},
        "classifier": {"training": SHORT},
        "guda_esd": SHORT,
    },
    "oracle": {"seeds": [1]},
    "lds": {"subsets": 0},
    "removal": {"queries": 0},
    "likelihood": {"queries": 0},
    "sweep": {"unlearn": []},
}


@pytest.fixture(scope="module")
def compared(evaluated, tmp_path_factory) -> Workflow:
    """The same run, whose configuration then names these methods."""
    run = evaluated.copied(tmp_path_factory.mktemp("compared") / "run")
    values = merged(merged(STYLES, EVALUATED), METHODS)
    (run.directory / "tiny.yaml").write_text(yaml.dump(values), encoding="utf-8")
    return finished(run.directory, "metrics.csv")


def test_they_come_to_the_tables_and_only_what_is_new_was_made(evaluated, compared):
    assert list(pd.read_csv(compared.results / "metrics.csv")["method"]) == ["logo", *COMPARED, "constant"]
    for path in (compared.experiment.paths.model_weights(BASE), compared.experiment.paths.encoded("bucket-0000")):
        old, new = (run.directory / path for run in (evaluated, compared))
        assert old.stat().st_mtime_ns == new.stat().st_mtime_ns
    made = {path.name for path in (compared.results / "models").iterdir()}
    assert {"classifier", "guda_esd"} <= made
    assert "conditional" not in made
    assert [path.name for path in (compared.results / "models" / "guda_esd" / "pop").glob("*.safetensors")] == [ADAPTER]


def test_scores_of_prompted_groups_follow_from_the_base_models_terms(compared):
    none, queries = kl_sums(compared, CONDITIONAL, "bucket-0000")
    frame = pd.read_csv(compared.directory / compared.experiment.paths.scores("conditional_elbo"))
    scores = frame.pivot(index="query", columns="group", values="score").loc[queries]
    for group in EVALUATED["data"]["groups"]:
        told, _ = kl_sums(compared, conditioned_model(group), "bucket-0000")
        np.testing.assert_allclose(scores[group], none - told, rtol=1e-6, atol=1e-9)
    prompts = pd.read_csv(compared.results / "prompts" / "conditional" / "bucket-0000.csv", keep_default_na=False)
    assert list(prompts["prompt"][::3]) == [""] * 4


def test_gradients_are_of_latents_and_of_the_weights_that_each_method_names(compared):
    for method, parameters in (("trak", None), ("dtrak", [r"attn2\.to_[kv]"]), ("das", [r"\.lora_B\."])):
        for samples, n in (("training", 60), ("bucket-0000", 4)):
            file = compared.directory / compared.experiment.paths.features(method, samples)
            tensors, metadata = load_tensors(file, framework="np")
            assert tensors["features"].shape == (n, 16)
            assert np.isfinite(tensors["features"]).all()
            assert json.loads(metadata["spec"]).get("parameters") == parameters


# --- what changes make again ----------------------------------------------------------------------------

QUALITY = {"quality", "curves", "figures/curves", "figures/samples"}
# These hang on the files that the run was asked for.
UNMADE = {"data/groups", "significance", "figures/cost", "figures/queries", "report*", *QUALITY}
TABLES = {*UNMADE, "rankings", "metrics"}
QUERIES = {"queries/bucket-0000", "queries/queries"}
OF_QUERIES = {*QUERIES, "encoded/bucket-0000", "elbo/*/bucket-0000", "scores/*", *TABLES}
CHANGES = {
    "nothing": ("", UNMADE),
    "a query more": ("queries: {count: 5}", {"prompts/bucket-0000", *OF_QUERIES}),
    "guidance of the queries": ("text_to_image: {queries: {guidance_scale: 2}}", OF_QUERIES),
    "descriptors in a prompt": (
        "text_to_image: {prompts: {per_prompt: 2}}",
        {"prompts/*", "encoded/*", "models/*", "elbo/*", "scores/*", *QUERIES, *TABLES},
    ),
    "strategy of the anchors": (
        "text_to_image: {anchors: {strategy: uniform}}",
        {"models/guda/*", "elbo/guda/*", "scores/guda", *TABLES},
    ),
    "a group is added": (
        "data: {groups: [Artist_Sketch, Bricks, Cubism]}",
        {"groups/Bricks", "models/*/Bricks", "elbo/*/Bricks/*", "prompts/bucket-0000", *OF_QUERIES},
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_makes_again_what_depends_on_it(canvas, change):
    overlay, patterns = CHANGES[change]
    plan = canvas.plan(overlay)
    planned = {job_of(file) for file, stale in plan.items() if stale}
    assert planned == {job_of(file) for file in plan if any(map(matcher(job_of(file)), patterns))}
    assert all(any(matcher(job)(pattern) for job in planned) for pattern in patterns)


def test_a_pipeline_of_another_process_is_answered_with_its_settings(canvas, tmp_path, monkeypatch):
    shutil.copytree(canvas.directory / "sd", tmp_path / "sd")
    file = tmp_path / "sd" / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(read_json(file) | {"beta_end": 0.02}), encoding="utf-8")
    values = canvas.experiment.config.model_dump(by_alias=True)
    values["text_to_image"]["pipeline"] = str(tmp_path / "sd")
    monkeypatch.chdir(canvas.directory)
    with pytest.raises(ArtifactError) as caught:
        Experiment(load_config(values))
    assert str(caught.value).splitlines() == [
        f"text_to_image.pipeline: {tmp_path / 'sd'} has other settings than the configuration; to use it, write",
        "noise_schedule: {beta_end: 0.02}",
    ]
