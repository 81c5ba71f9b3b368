"""Models that were made before or elsewhere are used, not made again."""

import json
import shutil
from dataclasses import replace

import pandas as pd
import pytest
from harness import logged_call

from guda.core.artifacts import sha256_file
from guda.core.paths import BASE, MODEL_FILES, logo_model, unlearned_model

TWO = "data: {groups: [ann, bob]}"
THREE = "data: {groups: [ann, bob, cid]}"


def clone(run, directory, **changes):
    """The same configuration and data in another folder, without any results."""
    shutil.copytree(run.directory, directory, ignore=shutil.ignore_patterns("results", ".snakemake"))
    return replace(run, directory=directory, **changes)


def models_of(groups):
    return [BASE, *(logo_model(1, group) for group in groups), *(unlearned_model("guda", group) for group in groups)]


def make_models(run, overlay, groups):
    """Make the models of these groups; which of them were taken from the cache."""
    paths, models = run.experiment.paths, models_of(groups)
    done = run.snakemake("--cores", "2", *map(paths.model_weights, models), overlays=(overlay,))
    assert done.returncode == 0, done.stderr
    logs = {model: (run.directory / paths.log("models", model)).read_text() for model in models}
    return {model for model, log in logs.items() if "taken from the cache" in log}


@pytest.fixture(scope="module")
def shared(own_data, tmp_path_factory):
    """A cache, and the folder of the first user, who made the models of two groups."""
    folder = tmp_path_factory.mktemp("shared")
    first = clone(own_data, folder / "first", environment={"GUDA_CACHE": str(folder / "cache")})
    assert make_models(first, TWO, ["ann", "bob"]) == set()
    return first, folder


def test_a_second_clone_trains_and_unlearns_nothing(shared):
    first, folder = shared
    second = clone(first, folder / "second")
    assert make_models(second, TWO, ["ann", "bob"]) == set(models_of(["ann", "bob"]))
    for model in models_of(["ann", "bob"]):
        for file in MODEL_FILES:
            where = f"results/models/{model}/{file}"
            assert sha256_file(second.directory / where) == sha256_file(first.directory / where)
    assert "Nothing to be done" in second.snakemake("--dry-run", "results/models/base/config.json").stdout
    shutil.rmtree(folder / "second")


def test_a_clone_with_one_group_more_makes_that_groups_models_only(shared):
    first, folder = shared
    third = clone(first, folder / "third")
    assert make_models(third, THREE, ["ann", "bob", "cid"]) == set(models_of(["ann", "bob"]))
    shutil.rmtree(folder / "third")


def test_queries_of_any_name_have_a_picture_that_their_table_names(own_data):
    table = pd.read_csv(own_data.results / "queries" / "queries.csv", index_col="query")["file"]
    assert table["5<logs>{b}.png"] == "images/5_logs__b_.png-d61289ad.png"
    assert table["0.png"] == "images/0.png"
    assert all((own_data.results / "queries" / file).is_file() for file in table)


def test_jobs_are_given_no_cache_unless_there_is_one(own_data):
    call = logged_call(own_data, "models", BASE)
    assert json.loads(call[call.index("--execution") + 1])["cache"] == ""


def test_models_brought_along_give_the_scores_that_they_gave_where_they_were_made(own_data, tmp_path):
    run = clone(own_data, tmp_path / "other")
    models = own_data.results / "models"
    brought = json.dumps({"ann": str(models / "guda" / "ann")})
    overlay = f"model: {{pretrained: {models / BASE}}}\nunlearn: {{import: {brought}}}\n{TWO}"
    scores = run.experiment.paths.scores("guda")
    plan = {file for file, stale in run.plan(overlay).items() if stale}
    assert "models/imported/ann/config.json" in plan
    assert not {file for file in plan if file.startswith(("models/guda/ann", "neighbors/ann"))}
    done = run.snakemake("--cores", "2", scores, overlays=(overlay,))
    assert done.returncode == 0, done.stderr
    assert "train_base" not in done.stderr
    made = pd.read_csv(own_data.directory / scores)
    expected = made[made["group"].isin(["ann", "bob"])].reset_index(drop=True)
    columns = ["query", "group", "score", "se"]
    pd.testing.assert_frame_equal(pd.read_csv(run.directory / scores)[columns], expected[columns], check_exact=True)


def test_a_brought_model_of_another_architecture_is_answered_with_its_settings(own_data, tmp_path):
    run = clone(own_data, tmp_path / "other")
    base = own_data.results / "models" / BASE
    overlay = f"model: {{pretrained: {base}}}\nunet: {{block_out_channels: [8, 16]}}"
    done = run.snakemake("--cores", "1", run.experiment.paths.model_weights(BASE), overlays=(overlay,))
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert f"model.pretrained: {base} has other settings than the configuration; to use it, write\nunet:\n" in said
    assert "  block_out_channels: [8, 8]" in said
    assert "Traceback" not in said
    assert "rule " not in said, "a job was started"
