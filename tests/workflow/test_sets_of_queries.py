"""Several sets of queries in one results folder, through the real snakemake."""

from pathlib import Path

import pandas as pd
import pytest
from harness import Workflow, save_image

MINE = "queries: {name: mine, folder: asked, buckets: 1}"
UNNAMED = "queries: {folder: asked, buckets: 1}"
ANSWERS = [
    "rankings.csv",
    "metrics.csv",
    "significance.csv",
    "figures/queries.png",
    "figures/cost.png",
    "queries/queries.csv",
]


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and "logs" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def asked(workflow: Workflow, tmp_path_factory) -> Workflow:
    """A finished run with pictures to ask about."""
    run = workflow.copied(tmp_path_factory.mktemp("asked") / "run")
    for index in range(3):
        save_image(run.directory / "asked" / f"{index}.png", index)
    return run


def test_another_set_of_queries_stands_beside_the_first(asked: Workflow, tmp_path):
    """It makes no model, no file of the first set is touched, and it gives what it gives as the only one."""
    before = contents(asked.results)
    planned = asked.planned(MINE)
    assert {f"sets/mine/{name}" for name in ANSWERS} <= planned
    assert "elbo/guda/amber/mine-bucket-0000.safetensors" in planned
    assert not [file for file in planned if file.startswith("models/") or "calibration" in file]
    done = asked.snakemake("--cores", "2", "all", overlays=(MINE,))
    assert done.returncode == 0, done.stderr
    after = contents(asked.results)
    assert {name: after[name] for name in before} == before
    assert asked.planned() == asked.planned(MINE) == set()

    alone = asked.copied(tmp_path / "alone")
    assert alone.snakemake("--cores", "2", "all", overlays=(UNNAMED,)).returncode == 0
    for name in ANSWERS[:3]:
        ours, theirs = (pd.read_csv(alone.results / folder / name) for folder in ("sets/mine", "."))
        timed = [column for column in ours.columns if "seconds" in column]
        pd.testing.assert_frame_equal(ours.drop(columns=timed), theirs.drop(columns=timed))
    assert sorted(pd.read_csv(asked.results / "sets/mine/rankings.csv")["query"].unique()) == [
        "0.png",
        "1.png",
        "2.png",
    ]


def test_the_table_of_another_set_is_not_taken_for_this_ones(asked: Workflow):
    table = asked.experiment.paths.rankings()
    done = asked.snakemake("--dry-run", table, overlays=(MINE,))
    said = done.stderr + done.stdout
    assert done.returncode != 0
    own = "results/tiny/sets/mine"
    assert f"{table}: the results of this configuration are in {own}; ask for {own}/rankings.csv" in said
