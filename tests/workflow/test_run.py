"""What a run of the workflow leaves behind, and what a second one does: everything through the real snakemake."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from harness import ROOT, logged_call, with_flags
from PIL import Image
from safetensors import safe_open

from guda.core.artifacts import load_tensors, sha256_file
from guda.core.paths import BASE, CALIBRATION, logo_model, record_of, unlearned_model
from guda.core.spec import digest
from guda.models.denoisers import load_denoiser
from guda.models.noise_schedule import NoiseSchedule
from guda.models.sampling import generate

COLUMNS = [
    "method", "n_queries", "n_groups", "top1", "top1_low", "top1_high", "top3", "ndcg_exp@3", "ndcg_lin@3", "mrr",
    "rbo", "rbo_raw", "wpra@3", "spearman", "kendall", "top1_balanced", "kappa",
    "effect_spearman", "contrast_spearman", "margin_spearman", "decisive_auroc", "decisive_auroc_margin",
    "lrap", "average_precision", "size_ratio",
    "build_seconds", "query_seconds", "build_cpu_seconds", "query_cpu_seconds",
    "build_evaluations", "query_evaluations", "speedup",
    "health_median", "health_worst", "forgetting_median", "forgetting_worst",
]  # fmt: skip
GROUPS = ["amber", "cedar"]
METHODS = ["logo", "guda", "guda_uncalibrated", "nearest", "random"]
STEPS_OF_RESULTS = ("data", "groups", "neighbors", "models", "queries", "elbo")
WAIT_SECONDS = 300


@pytest.fixture(scope="module")
def at(workflow):
    """Path builder of the run's files, from the working directory's root."""
    return lambda path: workflow.directory / path


@pytest.fixture(scope="module")
def paths(workflow):
    return workflow.experiment.paths


@pytest.fixture(scope="module")
def models(workflow):
    """Names of all models: the base, one a group for each oracle, and the unlearned ones."""
    families = [*workflow.experiment.oracles, "guda"]
    return [BASE, *(f"{family}/{group}" for family in families for group in GROUPS)]


@pytest.fixture(scope="module")
def first_seed(workflow):
    """Seed of the oracle that is reported against."""
    return workflow.experiment.config.oracle.seeds[0]


def opened(path):
    """Tensors and metadata of a safetensors file, read as any other program would."""
    with safe_open(path, framework="np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def record(path):
    return json.loads(path.read_text())


def ids_of(tensors):
    return bytes(tensors["ids"]).decode().split("\n")


def test_a_spec_that_may_be_long_lies_beside_the_log(workflow, at, paths):
    # A command line takes 128 KiB an argument, which the digests of a thousand groups exceed.
    calls = {("scores", "guda"): workflow.experiment.method_spec("guda")}
    calls |= {("queries", bucket): workflow.experiment.bucket_spec(bucket) for bucket in workflow.experiment.buckets}
    calls |= {("group_sizes",): workflow.experiment.group_sizes_spec()}
    for log, spec in calls.items():
        command = logged_call(workflow, *log)
        file = command[command.index("--spec") + 1]
        assert file == paths.spec_file(*log)
        assert at(file).read_text() == spec.canonical()


# --- tables ------------------------------------------------------------------------------------------


def test_rankings_hold_every_group_once_for_every_method_and_query(workflow, at, paths):
    frame = pd.read_csv(at(paths.rankings()))
    numbers = ["score", "se", "p_top1_scoring", "p_top1", "p_none"]
    assert list(frame.columns) == ["method", "query", "rank", "group", *numbers]
    queries = [f"query-{index:06d}" for index in range(workflow.experiment.config.queries.count)]
    expected = {(method, query) for method in [*METHODS, *workflow.experiment.oracles[1:]] for query in queries}
    ranked = dict(iter(frame.groupby(["method", "query"])))
    assert ranked.keys() == expected
    for rows in ranked.values():
        assert sorted(rows["group"]) == GROUPS
        assert list(rows["rank"]) == [1, 2]
        assert rows["score"].is_monotonic_decreasing
    sampled = frame[~frame["method"].isin(["nearest", "random"])]
    assert sampled["se"].gt(0).all()
    assert np.allclose(sampled.groupby(["method", "query"])["p_top1_scoring"].sum(), 1)


def test_metrics_have_the_promised_columns_and_rows(at, paths):
    frame = pd.read_csv(at(paths.metrics())).set_index("method", drop=False)
    assert list(frame.columns) == COLUMNS
    assert list(frame.index) == [*METHODS, "constant", "ceiling"]
    assert (frame.loc["logo", ["top1", "mrr", "spearman", "size_ratio", "speedup"]] == 1).all()
    assert frame["top1"].between(0, 1).all()
    # Any rank correlation of two groups is 1 when their order is the oracle's and -1 when not: 2 top1 - 1.
    assert np.allclose(frame["kendall"], 2 * frame["top1"] - 1)
    assert np.allclose(frame["spearman"], 2 * frame["top1"] - 1)


def test_agreement_is_drawn_against_cost(workflow, at, paths):
    with Image.open(at(paths.cost_figure())) as picture:
        assert picture.size == (1200, 1440)
        assert picture.convert("L").getextrema()[1] == 255
    metrics = record(at(record_of(paths.metrics())))["spec"]
    assert json.loads(record(at(record_of(paths.cost_figure())))["spec"])["metrics"] == digest(metrics)


def test_queries_are_split_by_source_without_loss(workflow, at, paths):
    frame = pd.read_csv(at(paths.metrics_by_source()))
    assert list(frame.columns) == ["source", *COLUMNS]
    counts = frame.groupby("method")["n_queries"].sum()
    assert (counts == workflow.experiment.config.queries.count).all()


def test_pngs_are_the_images_of_the_buckets(workflow, at, paths):
    table = pd.read_csv(at(paths.query_table()))
    assert list(table["query"]) == workflow.experiment.queries
    folder = at(paths.query_table()).parent
    for bucket, ids in workflow.experiment.buckets.items():
        tensors, _ = opened(at(paths.queries(bucket)))
        assert ids_of(tensors) == ids
        rows = table.set_index("query").loc[ids]
        assert (rows["bucket"] == bucket).all()
        for image, file, sha256 in zip(tensors["images"], rows["file"], rows["sha256"], strict=True):
            assert np.array_equal(np.asarray(Image.open(folder / file)), image[0])
            assert sha256_file(folder / file) == sha256


# --- models and likelihood terms ---------------------------------------------------------------------


def test_models_open_in_diffusers_without_code_of_ours(at, paths, models):
    from diffusers import UNet2DModel

    for model in models:
        folder = at(paths.model_config(model)).parent
        unet = UNet2DModel.from_pretrained(folder)
        tensors, _ = opened(at(paths.model_weights(model)))
        found = {name: tensor.numpy() for name, tensor in unet.state_dict().items()}
        assert found.keys() == tensors.keys()
        assert all(np.array_equal(found[name], tensors[name]) for name in tensors)


def test_models_differ_from_each_other(at, paths, models):
    weights = {opened(at(paths.model_weights(model)))[0]["conv_in.weight"].tobytes() for model in models}
    assert len(weights) == len(models)


def test_unlearned_models_name_the_base_model_that_they_come_from(workflow, at, paths):
    base = sha256_file(at(paths.model_weights(BASE)))
    for group in GROUPS:
        model = unlearned_model("guda", group)
        _, metadata = opened(at(paths.model_weights(model)))
        assert metadata["parent_sha256"] == base
        assert metadata["spec"] == workflow.experiment.model_spec(model).canonical()


def test_elbo_files_are_as_promised(workflow, at, paths, models):
    experiment = workflow.experiment
    window = experiment.config.elbo.steps
    for model in models:
        for bucket in [*experiment.buckets, *([] if model.startswith("logo") else [CALIBRATION])]:
            tensors, metadata = opened(at(paths.elbo(model, bucket)))
            ids, steps = json.loads(metadata["query_ids"]), experiment.elbo_settings.steps
            assert (tensors["kl"].dtype, tensors["kl"].shape) == (np.float32, (len(ids), len(steps)))
            assert (tensors["steps"].dtype, tensors["steps"].tolist()) == (np.int64, steps)
            assert (tensors["step_weights"].dtype, tensors["step_weights"].shape) == (np.float64, (len(steps),))
            assert tensors["step_weights"].sum() == pytest.approx(window.last - window.first + 1)
            assert (tensors["kl"] > 0).all()
            assert ids == ids_of(tensors) == ids_of(opened(at(paths.queries(bucket)))[0])
            assert metadata["model_sha256"] == sha256_file(at(paths.model_weights(model)))
            assert metadata["spec"] == experiment.elbo_spec(model, bucket).canonical()


# --- cost --------------------------------------------------------------------------------------------


def test_evaluations_are_what_one_counts_by_hand(workflow, at, paths, first_seed):
    """A training step on one sample counts 3; unlearning takes a forget and a retain sample for each of its batch."""
    config, experiment = workflow.experiment.config, workflow.experiment
    n_steps = len(experiment.elbo_settings.steps)
    train = config.training.steps * config.training.batch_size * 3
    teacher = 1 if config.unlearn.preserve == "distillation" else 0
    unlearn = config.unlearn.steps * config.unlearn.batch_size * (2 * 3 + teacher)
    calibrate = 3 * config.attribution.calibration.count * n_steps  # base and two unlearned models
    query = 3 * config.queries.count * n_steps

    def evaluations(path):
        assert record(at(path))["seconds"] >= 0
        return record(at(path))["evaluations"]

    assert evaluations(paths.model_record(BASE)) == train
    assert evaluations(paths.model_record(logo_model(first_seed, "amber"))) == train
    assert evaluations(paths.model_record(unlearned_model("guda", "cedar"))) == unlearn
    assert evaluations(paths.neighbors_record("amber")) == 0
    for bucket, ids in experiment.buckets.items():
        assert evaluations(paths.elbo_record(BASE, bucket)) == len(ids) * n_steps

    frame = pd.read_csv(at(paths.metrics())).set_index("method")
    assert frame["build_evaluations"].to_dict() == {
        "logo": 2 * train,
        "guda": 2 * unlearn + calibrate,
        "guda_uncalibrated": 2 * unlearn,
        "nearest": 0,
        "random": 0,
        "constant": 0,
        "ceiling": 2 * train,
    }
    counterfactual = dict.fromkeys(["logo", "guda", "guda_uncalibrated", "ceiling"], query)
    assert frame["query_evaluations"].to_dict() == counterfactual | {"nearest": 0, "random": 0, "constant": 0}


def test_costs_add_up_over_the_records(at, paths, first_seed):
    frame = pd.read_csv(at(paths.metrics())).set_index("method").drop("constant")
    built = [record(at(paths.model_record(logo_model(first_seed, group))))["seconds"] for group in GROUPS]
    assert frame.loc["logo", "build_seconds"] == pytest.approx(sum(built))
    assert frame["build_cpu_seconds"].gt(0).to_dict() == frame["build_evaluations"].gt(0).to_dict()
    evaluations = frame["build_evaluations"] + frame["query_evaluations"]
    assert np.allclose(frame["speedup"], evaluations["logo"] / evaluations.replace(0, np.nan), equal_nan=True)


def test_records_name_the_files_they_describe(at, paths):
    for path in [paths.model_weights(BASE), paths.elbo(BASE, CALIBRATION), paths.scores("guda")]:
        described = at(path).parent / "record.json"
        if not described.exists():
            described = at(path).with_suffix(".record.json")
        assert record(described)["outputs"][Path(path).name] == sha256_file(at(path))


# --- only stale files are made again -----------------------------------------------------------------


def test_a_second_run_plans_nothing(workflow):
    assert workflow.planned() == set()
    assert "Nothing to be done" in workflow.snakemake("--dry-run").stdout


# --- what goes wrong is said in a few words ----------------------------------------------------------


def test_trainings_do_not_wait_for_their_groups_until_all_else_is_done(workflow, paths, tmp_path):
    """With the base model at hand, all groups are written before anything is scored or unlearned."""
    run = workflow.copied(tmp_path / "run")
    groups = [run.directory / paths.group(group) for group in run.experiment.groups]
    later = [*map(Path, map(paths.neighbors, run.experiment.groups))]
    later += [Path(paths.elbo(BASE, bucket)) for bucket in (*run.experiment.buckets, CALIBRATION)]
    for file in [*groups, *(run.directory / path for path in later)]:
        file.unlink()
    done = run.snakemake("--cores", "1", *map(str, later))
    assert done.returncode == 0, done.stderr
    first = min((run.directory / path).stat().st_mtime_ns for path in later)
    assert max(file.stat().st_mtime_ns for file in groups) < first


def test_a_typo_in_the_configuration_is_answered_with_the_key_and_the_nearest_name(workflow):
    done = workflow.snakemake("--dry-run", overlays=("trainng: {steps: 3}",))
    assert done.returncode != 0
    said = done.stderr + done.stdout
    assert said.count("trainng: unknown key; did you mean 'training'?") == 1
    assert said.count("Error") == 1
    assert "Traceback" not in said


def test_a_key_given_twice_is_answered_with_file_and_line(workflow):
    done = workflow.snakemake("--dry-run", overlays=("figure:\n  top: 1\n  top: 2\n",))
    assert done.returncode != 0
    said = done.stderr + done.stdout
    assert "overlay-0.yaml: not valid YAML: line 3: the key 'top' stands twice" in said
    assert "Traceback" not in said


def test_a_truncated_file_stops_the_job_that_reads_it_with_its_name(workflow, paths, tmp_path):
    harmed = workflow.copied(tmp_path / "copy")
    file = paths.elbo(unlearned_model("guda", "amber"), next(iter(workflow.experiment.buckets)))
    data = (harmed.directory / file).read_bytes()
    (harmed.directory / file).write_bytes(data[:-5])
    done = harmed.snakemake("--cores", "1", paths.scores("guda"))
    assert done.returncode != 0
    assert f"error: {file}: not a readable safetensors file" in done.stderr, "the log of a failed job is on the screen"
    assert "Traceback" not in done.stderr
    assert not (harmed.directory / paths.scores("guda")).exists()


# --- stages by hand ----------------------------------------------------------------------------------


def run_by_hand(workflow, command):
    done = subprocess.run(command, cwd=workflow.directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_logged_call_trains_the_same_model_again_without_snakemake(workflow, at, paths, first_seed, tmp_path):
    command = logged_call(workflow, "models", logo_model(first_seed, "amber"))
    assert Path(command[0]).parent == Path(sys.executable).parent
    run_by_hand(workflow, with_flags(command, model=tmp_path))
    model = logo_model(first_seed, "amber")
    for file in (paths.model_config(model), paths.model_weights(model)):
        assert sha256_file(tmp_path / Path(file).name) == sha256_file(at(file))


def test_another_batch_size_gives_the_same_terms(workflow, at, paths, tmp_path):
    bucket = next(iter(workflow.experiment.buckets))
    command = logged_call(workflow, "elbo", BASE, bucket)
    output = tmp_path / "elbo.safetensors"
    run_by_hand(
        workflow, with_flags(command, execution={"batch_size": 3}, output=output, record=tmp_path / "record.json")
    )
    (again, _), (before, _) = opened(output), opened(at(paths.elbo(BASE, bucket)))
    assert np.allclose(again["kl"], before["kl"], rtol=1e-4, atol=0)
    assert np.array_equal(again["steps"], before["steps"])


def test_an_interrupted_training_saves_its_state_alone_and_exits_130(workflow, tmp_path):
    command = logged_call(workflow, "models", BASE)
    spec = json.loads((workflow.directory / command[command.index("--spec") + 1]).read_text())
    spec["training"]["steps"] = 10_000_000
    command = with_flags(command, model=tmp_path / "model", spec=json.dumps(spec), execution={"checkpoint_steps": 20})
    log = tmp_path / "log"
    with log.open("w") as stderr:
        # A parent that ignores interrupts (nohup, a background job) would pass that on.
        listen = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
        process = subprocess.Popen(command, cwd=workflow.directory, stderr=stderr, **listen)
        try:
            deadline = time.monotonic() + WAIT_SECONDS
            while "training: " not in log.read_text():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, "no progress in the log"
                time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=WAIT_SECONDS) == 130
        finally:
            process.kill()
    said = re.fullmatch(r"stopped after step (\d+) of 10000000 and saved; .*", log.read_text().splitlines()[-1])
    assert said
    assert "Traceback" not in log.read_text()
    state = tmp_path / "model" / "training_state.safetensors"
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == {log, state}
    _, metadata = load_tensors(state)
    assert metadata["step"] == said[1]


def test_the_page_shows_the_rankings_and_the_nearest_images_of_the_first_groups(at, paths):
    text = at(paths.page()).read_text(encoding="utf-8")
    shown = json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)[1])
    rankings = pd.read_csv(at(paths.rankings())).pivot(index=["method", "query"], columns="group", values="score")
    assert sorted(shown["methods"]) == sorted(rankings.index.unique("method"))
    for method in shown["methods"]:
        expected = rankings.loc[method].loc[shown["queries"], shown["groups"]].to_numpy()
        assert np.array(shown["scores"][method]).reshape(expected.shape) == pytest.approx(expected, rel=1e-4)
    images, _ = opened(at(paths.images()))
    place = {name: row for row, name in enumerate(ids_of(images))}
    queries = {}
    for bucket in sorted(at(paths.query_table()).parent.glob("bucket-*.safetensors")):
        tensors, _ = opened(bucket)
        queries |= dict(zip(ids_of(tensors), tensors["images"].astype(float), strict=True))
    for query, likes in zip(shown["queries"], shown["nearest"], strict=True):
        for group, rows in likes:
            members = json.loads(at(paths.group(shown["groups"][group])).read_text())["members"]
            distance = {name: ((images["images"][place[name]] - queries[query]) ** 2).sum() for name in members}
            nearest = [distance[shown["training"]["ids"][row]] for row in rows]
            assert nearest == sorted(distance.values())[: len(rows)]


def test_images_are_drawn_again_from_their_own_noise_by_the_models_without_their_first_groups(workflow, at, paths):
    tensors, _ = opened(at(paths.redrawn()))
    pairs = list(zip(ids_of(tensors), ids_of({"ids": tensors["groups"]}), strict=True))
    settings = workflow.experiment.config
    assert len(pairs) == len(set(pairs)) == settings.queries.count * len(GROUPS)
    denoiser, _ = load_denoiser(
        at(paths.model_weights(unlearned_model("guda", "amber"))).parent,
        NoiseSchedule.from_config(settings.noise_schedule),
    )
    rows = [row for row, (_, group) in enumerate(pairs) if group == "amber"]
    queries, how = settings.queries, settings.noise_schedule
    ids = [pairs[row][0] for row in rows]
    drawn = generate(denoiser, how, ids, queries.seed, queries.sampling_steps, queries.sampler).numpy()
    assert np.abs(drawn.astype(int) - tensors["images"][rows].astype(int)).max() <= 1


def test_the_readmes_lines_of_python_run_on_the_results(workflow, at, paths):
    """Their scores are the workflow's but for the diffusion steps, which they choose themselves."""
    (lines,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (bucket,) = {at(paths.queries(each)) for each in list(workflow.experiment.buckets)[:1]}
    tensors, _ = opened(bucket)
    names = {"images": tensors["images"]}
    exec(lines.replace("results/models", at(paths.model_weights(BASE)).parents[1].as_posix()), names)
    assert sorted(set(names["scores"]["group"])) == GROUPS
    assert len(names["scores"]) == len(GROUPS) * len(tensors["images"])
    assert np.isfinite(names["scores"]["score"]).all()
