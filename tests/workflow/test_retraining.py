"""Evaluation by retraining through the real snakemake: what it leaves behind, and that only new sets are trained on."""

import json
import shutil

import pandas as pd
import pytest
from harness import ROOT, finished

from guda.core.artifacts import load_tensors
from guda.core.paths import WEIGHTS, unlearned_model
from guda.core.seeding import chosen
from guda.evaluation.removal import CONTROL

EFFECTS = ["loss_rise", "mse", "ssim"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run with both sections on."""
    directory = tmp_path_factory.mktemp("retrained")
    shutil.copy(ROOT / "tests" / "workflow" / "retrained.yaml", directory / "tiny.yaml")
    return finished(directory)


@pytest.fixture(scope="module")
def sets(run):
    return pd.read_csv(run.results / "removal" / "sets.csv")


def test_groups_of_any_name_are_unlearned_and_ranked(run):
    group = "AC/DC"
    done = run.snakemake("--cores", "1", run.experiment.paths.model_weights(unlearned_model("guda", group)))
    assert done.returncode == 0, done.stderr
    weights = run.results / "models" / "guda" / "AC_DC-5a5abe39" / WEIGHTS
    load_tensors(weights, run.experiment.model_digest(unlearned_model("guda", group)))
    ranked = pd.read_csv(run.results / "rankings.csv")
    assert set(ranked["group"]) == {group, "Georgia O'Keeffe <logs>", "हिन्दी"} == set(run.experiment.groups)


def test_every_method_has_a_datamodeling_score(run):
    frame = pd.read_csv(run.results / "lds.csv")
    columns = ["method", "n_queries", "n_subsets", "sizes", "alpha", "lds", "lds_low", "lds_high", "health_worst"]
    assert list(frame.columns) == columns
    assert frame["health_worst"].between(0.5, 1.5).all()
    assert frame["method"].tolist() == ["logo", "nearest"]
    settings = frame[["n_queries", "n_subsets", "sizes", "alpha"]].to_numpy().tolist()
    assert settings == [[2, 2, "fixed", 0.5]] * 2
    assert frame["lds"].between(-1, 1).all()


def test_every_method_removes_groups_and_the_instance_level_one_images_too(run, sets):
    frame = pd.read_csv(run.results / "removal.csv")
    assert list(frame.columns) == [
        "method", "unit", "k", "n_queries", "loss_rise", "loss_rise_low", "loss_rise_high", "mse", "ssim",
        "others_loss_rise", "others_mse", "others_ssim", "health_worst",
    ]  # fmt: skip
    of_groups = [(method, "groups", k) for method in ("logo", "nearest", CONTROL) for k in (1, 2)]
    of_images = [(method, "images", 5) for method in ("nearest", CONTROL)]
    assert [*frame[["method", "unit", "k"]].itertuples(index=False, name=None)] == of_groups + of_images
    assert (frame["n_queries"] == 1).all()
    assert frame["health_worst"].between(0.5, 1.5).all()
    assert frame[["mse", "others_mse"]].gt(0).all(axis=None)
    assert frame[["ssim", "others_ssim"]].abs().lt(1).all(axis=None)
    queries = run.experiment.queries
    assert set(sets["query"]) == {queries[row] for row in chosen(queries, 1, "removal", 0)}
    assert (run.results / "figures" / "removal.png").stat().st_size > 0


def test_the_oracles_first_group_raises_the_loss_by_the_oracles_first_score(run, sets):
    ranked = pd.read_csv(run.results / "rankings.csv")
    first = ranked[(ranked["method"] == "logo") & (ranked["rank"] == 1) & ranked["query"].isin(sets["query"])]
    frame = pd.read_csv(run.results / "removal.csv").set_index(["method", "unit", "k"])
    assert frame.loc[("logo", "groups", 1), "loss_rise"] == pytest.approx(first["score"].mean(), rel=1e-6)


def test_a_set_is_trained_once_whoever_asks_for_it_and_single_groups_not_at_all(run, sets):
    single = sets[(sets["unit"] == "groups") & (sets["k"] == 1)]
    assert single["model"].str.startswith("logo-1/").all()
    others = set(sets["model"]) - set(single["model"])
    trained = {f"removed-1/{path.name}" for path in (run.results / "models" / "removed-1").iterdir()}
    assert trained == others
    for model in others:
        members = json.loads((run.results / "exclusions" / f"{model}.json").read_text())["members"]
        removed = sets[sets["model"] == model].iloc[0]
        if removed["unit"] == "images":
            assert len(members) == 5
        else:
            pairs = [set().union(*pair) for pair in pairs_of(run.experiment.groups)]
            assert set(members) in pairs


def pairs_of(groups):
    members = list(groups.values())
    return [(members[a], members[b]) for a in range(len(members)) for b in range(a)]


def test_a_second_run_plans_nothing(run):
    assert run.planned() == set()


def test_one_subset_more_is_the_only_one_trained(run):
    elbo = {f"elbo/subset-0/2/bucket-0000{suffix}" for suffix in (".safetensors", ".record.json")}
    model = {
        f"models/subset-0/2/{name}" for name in ("config.json", "diffusion_pytorch_model.safetensors", "record.json")
    }
    table = {"lds.csv", "lds.record.json"}
    assert run.planned("lds: {subsets: 3}") == elbo | model | table | {"exclusions/subset-0/2.json"}


def test_without_the_sections_nothing_of_them_is_in_the_plan(run):
    plan = run.plan("lds: {subsets: 0}\nremoval: {queries: 0}")
    assert not any(plan.values())
    new = ("exclusions", "regenerated", "models/subset", "models/removed", "lds", "removal", "figures/removal")
    assert not [file for file in plan if file.startswith(new)]


def test_another_choice_of_what_to_remove_trains_no_known_set_again(run, tmp_path):
    """Two groups only: what to remove is chosen again, and all that this takes is there."""
    again, overlay = run.copied(tmp_path / "run"), "removal: {groups: [2]}"
    before = {path: path.stat().st_mtime_ns for path in (again.results / "models").rglob("*")}
    done = again.snakemake("--cores", "2", overlays=(overlay,))
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in (again.results / "models").rglob("*")} == before
    assert pd.read_csv(again.results / "removal.csv")["k"].unique().tolist() == [2, 5]
    assert again.planned(overlay) == set()
