"""What was computed of single queries, through the real snakemake: a new query or step costs itself alone."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from harness import Workflow

from guda.core.artifacts import load_tensors, unpack_ids
from guda.core.paths import STORE
from guda.core.records import read_record

MODEL = "guda/amber"
STEPS = 4


def terms(run: Workflow) -> dict[tuple[str, int], float]:
    """Of the model's files each term by query and diffusion step."""
    found = {}
    for file in sorted((run.results / "elbo" / MODEL).glob("bucket-*.safetensors")):
        tensors, _ = load_tensors(file, framework="np")
        for query, row in zip(unpack_ids(tensors["ids"]), tensors["kl"], strict=True):
            found |= {(query, step): value for step, value in zip(tensors["steps"].tolist(), row, strict=True)}
    return found


def scored(run: Workflow, overlay: str) -> tuple[int, int]:
    """Terms of the model that had to be computed for this configuration, and all of them."""
    logs = run.results / "logs"
    shutil.rmtree(logs)
    shutil.rmtree(run.results / "elbo" / MODEL)
    shutil.rmtree(run.results / "scores")
    done = run.snakemake(
        "--cores", "2", "results/tiny/scores/guda_uncalibrated.csv", overlays=(overlay,) if overlay else ()
    )
    assert done.returncode == 0, done.stderr
    records = [read_record(file) for file in (run.results / "elbo" / MODEL).glob("bucket-*.record.json")]
    asked = sum(record["evaluations"] for record in records)
    assert all(record["seconds"] > 0 for record in records)
    texts = [file.read_text() for file in (logs / "elbo" / MODEL).glob("bucket-*.log")]
    taken = sum(int(number) for text in texts for number in re.findall(r"taken from the store: (\d+) of", text))
    return asked - taken, asked


def test_what_was_computed_before_is_not_computed_again(workflow: Workflow, tmp_path):
    """Neither where files were deleted nor in other buckets; a query more costs its own, other noise or bits all."""
    run = workflow.copied(tmp_path / "run")
    assert scored(run, "") == (0, 6 * STEPS)
    assert scored(run, "queries: {buckets: 1}") == (0, 6 * STEPS)
    assert scored(run, "queries: {count: 7}") == (STEPS, 7 * STEPS)
    ours, anew = terms(run), workflow.copied(tmp_path / "anew")
    shutil.rmtree(anew.results / STORE)
    assert scored(anew, "queries: {count: 7}") == (7 * STEPS, 7 * STEPS)
    theirs = terms(anew)
    assert ours.keys() == theirs.keys()
    assert [ours[key] for key in theirs] == pytest.approx([*theirs.values()], rel=1e-5)
    assert scored(run, "elbo: {seed: 1}") == (6 * STEPS, 6 * STEPS)
    assert scored(run, "elbo: {precision: bfloat16}") == (6 * STEPS, 6 * STEPS)
    rounded = terms(run)
    assert all(rounded[key] != ours[key] for key in rounded)
    assert [*rounded.values()] == pytest.approx([ours[key] for key in rounded], rel=0.05)


def test_a_generated_query_more_is_drawn_alone(workflow: Workflow, tmp_path):
    run = workflow.copied(tmp_path / "run")
    shutil.rmtree(run.results / "logs")
    done = run.snakemake("--cores", "2", "results/tiny/queries/queries.csv", overlays=("queries: {count: 7}",))
    assert done.returncode == 0, done.stderr
    texts = [file.read_text() for file in (run.results / "logs" / "queries").glob("bucket-*.log")]
    (told,) = [told for text in texts if (told := re.search(r"taken from the store: (\d+) of (\d+) values", text))]
    assert int(told[1]) == int(told[2]) - 1


def test_experiments_share_terms_beside_their_models(workflow: Workflow, tmp_path):
    """With GUDA_CACHE set, a second folder with the same configuration computes no term."""
    shared = {"GUDA_CACHE": str(tmp_path / "shared")}
    first = replace(workflow.copied(tmp_path / "first"), environment=shared)
    second = replace(workflow.copied(tmp_path / "second"), environment=shared)
    assert scored(first, "") == (6 * STEPS, 6 * STEPS)
    assert (tmp_path / "shared" / STORE).is_dir()
    assert scored(second, "") == (0, 6 * STEPS)
    assert np.array_equal([*terms(first).values()], [*terms(second).values()])
