"""The exemplar test, through the real snakemake: models tuned on some images of a group, and where that is ranked."""

import pandas as pd
import pytest
from harness import Workflow, job_of, matcher

TUNED = (
    "queries: {{name: tuned, source: exemplars, exemplars: {{{}steps: 3, batch_size: 4, warmup_steps: 1, images: 2}}}}"
)
ASKED = TUNED.format("count: 3, ")
NO_ORACLE = "oracle: {seeds: []}"
MODELS, ANSWERS = ["models/exemplars-tuned/*"], ["*/tuned-bucket-0000", "sets/tuned/*"]


@pytest.fixture(scope="module")
def asked(small: Workflow, tmp_path_factory) -> Workflow:
    """A finished run, and in its results the exemplar test of a configuration that retrains nothing."""
    run = small.copied(tmp_path_factory.mktemp("exemplars") / "run")
    done = run.snakemake("--cores", "2", "all", overlays=(ASKED, NO_ORACLE))
    assert done.returncode == 0, done.stderr
    return run


def test_the_table_says_where_each_method_ranks_the_groups(asked: Workflow):
    answers = asked.results / "sets" / "tuned"
    queries = pd.read_csv(answers / "queries" / "queries.csv")
    assert dict(zip(queries["query"], queries["exemplars_of"], strict=True)) == {
        f"{group}-000{index}": group for group in ("amber", "cedar") for index in range(3)
    }
    table = pd.read_csv(answers / "exemplars.csv")
    assert list(table["method"]) == asked.experiment.config.methods
    rankings = pd.read_csv(answers / "rankings.csv").merge(queries[["query", "exemplars_of"]], on="query")
    true = rankings[rankings["group"] == rankings["exemplars_of"]].groupby("method")["rank"]
    for row in table.itertuples():
        assert (row.n_queries, row.n_groups) == (6, 2)
        assert row.mean_rank == pytest.approx(true.mean()[row.method])
        assert row.top1 == pytest.approx((true.get_group(row.method) == 1).mean())
    assert not (answers / "metrics.csv").exists()


@pytest.mark.parametrize(
    ("overlays", "stale"),
    [
        ((ASKED, NO_ORACLE), []),
        ((ASKED.replace("steps: 3,", "steps: 4,"), NO_ORACLE), [*MODELS, *ANSWERS]),
        ((TUNED.format("count: 4, "), NO_ORACLE), ANSWERS),
        # With the oracle its answers are there, too, and no model is made.
        ((ASKED,), ["elbo/logo-*/tuned-bucket-0000", "sets/tuned/*"]),
    ],
    ids=["nothing changed", "a setting of the tuning", "more queries", "an oracle"],
)
def test_of_what_was_made_before_nothing_is_made_again(asked: Workflow, overlays, stale):
    planned = {job_of(file) for file in asked.planned("\n".join(overlays))}
    assert all(any(matcher(job)(pattern) for pattern in stale) for job in planned), planned
    assert all(any(matcher(job)(pattern) for job in planned) for pattern in stale)


def test_the_table_is_not_there_for_other_queries(asked: Workflow):
    done = asked.snakemake("--dry-run", "exemplars")
    assert done.returncode != 0
    assert "exemplars is not made by this configuration: queries.source is not exemplars" in done.stderr + done.stdout
