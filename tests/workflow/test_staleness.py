"""The table of docs/caching.md, row by row: what a change makes stale, and nothing else."""

import hashlib
import os
import re
import shutil
import time
from dataclasses import replace

import pytest
from harness import ROOT, job_of, matcher, save_image

from guda.core.paths import BASE
from guda.data.queries import queries_by_bucket

ELBO_SEED = "elbo: {seed: 7}"
TABLES = ["rankings", "metrics", "metrics_by_source", "significance", "figures/cost", "figures/queries", "report*"]
QUALITY = ["quality", "curves", "figures/curves"]


def documented():
    """Planned jobs as patterns, by the text of the change."""
    text = (ROOT / "docs" / "caching.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?!change|---)(.+?) \| (.+?) \|$", text, flags=re.MULTILINE)
    return {
        change: re.findall(r"`(.+?)`", jobs) + TABLES * ("*tables*" in jobs) + QUALITY * ("*quality*" in jobs)
        for change, jobs in rows
    }


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def project_copy(tmp_path):
    """The project in another folder."""
    target = tmp_path / "project"
    for name in ("rules", "workflow_scripts", "envs", "profiles"):
        shutil.copytree(ROOT / name, target / name)
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, target)
    return target


def bucket_of(query, run):
    return next(iter(queries_by_bucket([query], run.experiment.config.queries.buckets)))


# Each change is made to a copy of a finished run. It gives the overlay to plan with, and what GROUP, SEED, BUCKET are.


def touched(run, tmp_path):
    for path in run.directory.rglob("*"):
        if ".snakemake" not in path.parts:
            path.touch()
    return run, "", {}


def reordered(run, tmp_path):
    text = (run.directory / "tiny.yaml").read_text(encoding="utf-8")
    sections = re.findall(r"^\w.*\n(?:[ #].*\n)*", text, flags=re.MULTILINE)
    assert len(sections) > 5
    (run.directory / "tiny.yaml").write_text("# Another comment\n" + "".join(reversed(sections)), encoding="utf-8")
    return run, "", {}


def moved(run, tmp_path):
    """Everything: the project, the working folder, and the data outside of both."""
    folder, data = tmp_path / "other" / "place", tmp_path / "data"
    folder.parent.mkdir()
    run.directory.rename(folder)
    for name in ("images", "queries", "table.csv"):
        (data / name).parent.mkdir(exist_ok=True)
        (folder / name).rename(data / name)
    overlay = f"data: {{folder: {data}/images, table: {data}/table.csv}}\nqueries: {{folder: {data}/queries}}"
    return replace(run, directory=folder, project=project_copy(tmp_path)), overlay, {}


def released(run, tmp_path):
    """Another release: other version, another wording, another order of a command's flags."""
    project = project_copy(tmp_path)
    edit(project / "workflow_scripts" / "guda" / "__init__.py", '__version__ = "', '__version__ = "9')
    edit(
        project / "rules" / "models.smk",
        '"Unlearning group {wildcards.group} with',
        '"Unlearning {wildcards.group} with',
    )
    flags = "--output {output.file:q}", "--record {output.record:q}"
    edit(project / "rules" / "common.smk", " ".join(flags), " ".join(reversed(flags)))
    return replace(run, project=project), "", {}


def from_elsewhere(overlay, date=None):
    """Without Snakemake's memory of the results, whose dates are all `date(file)`, or those of the copy."""

    def change(run, tmp_path):
        shutil.rmtree(run.directory / ".snakemake")
        for path in run.results.rglob("*") if date else []:
            os.utime(path, (date(path), date(path)))
        return run, overlay, {}

    return change


def ahead(seconds):
    return lambda path: time.time() + seconds


def lost(path):
    """A date that has nothing to do with which file was made from which."""
    return 1e9 + int(hashlib.sha256(path.name.encode()).hexdigest()[:6], 16)


# 10 minutes, 2 days, the year 1980, what archives have for no date
DATES = [ahead(600), ahead(2 * 86400), lambda path: 315532800.0, lambda path: 0.0, lost]


def setting(overlay, **names):
    return lambda run, tmp_path: (run, overlay, names)


def query_count(count):
    def change(run, tmp_path):
        query = f"query-{min(count, run.experiment.config.queries.count):06d}"
        return run, f"queries: {{count: {count}}}", {"BUCKET": bucket_of(query, run)}

    return change


def table_edit(old, new, group):
    def change(run, tmp_path):
        edit(run.directory / "table.csv", old, new)
        return run, "", {"GROUP": group}

    return change


def query_file(kind):
    def change(run, tmp_path):
        buckets = run.experiment.buckets
        query = "new.png" if kind == "added" else max(buckets.values(), key=len)[0]
        path = run.directory / "queries" / query
        path.unlink() if kind == "removed" else save_image(path, 999)
        return run, "", {"BUCKET": bucket_of(query, run)}

    return change


def query_table(run, tmp_path):
    names = sorted(path.name for path in (run.directory / "queries").iterdir())
    (run.directory / "known.csv").write_text("file,medium\n" + "".join(f"{name},ink\n" for name in names))
    return run, "queries: {table: known.csv}", {}


def training_image(run, tmp_path):
    save_image(run.directory / "images" / "new.png", 999)
    with (run.directory / "table.csv").open("a") as table:
        table.write("new.png,\n")
    return run, "", {}


def version_raised(run, tmp_path):
    project = project_copy(tmp_path)
    edit(
        project / "workflow_scripts" / "guda" / "unlearning" / "retrack" / "plan.py",
        'stage, version = "unlearn", 1',
        'stage, version = "unlearn", 2',
    )
    return replace(run, project=project), "", {}


# By the row of the table: the finished run, and one change or several that have the same effect.
CHANGES = {
    "nothing, or every file is touched": ("workflow", setting(""), touched),
    "`config.yaml` is reordered, or has other comments": ("workflow", reordered),
    "`execution`: batch sizes, threads, how often training saves its state": (
        "workflow", setting(
            "execution: {batch_size: 3, threads: 2, checkpoint_steps: 7, checkpoint_minutes: 1, micro_batch_size: 2,"
            " gradient_checkpointing: true}")),
    "the working folder, the project or the data is moved": ("own_data", moved),
    "a new release of this project in which no stage's version was raised": ("workflow", released),
    "`results/` is copied from elsewhere, without `.snakemake`": (
        "workflow", from_elsewhere(""), *(from_elsewhere("", date) for date in DATES[::4])),
    "`results/` is copied from elsewhere, made with another `elbo.seed`": (
        "workflow", from_elsewhere(ELBO_SEED), *(from_elsewhere(ELBO_SEED, date) for date in DATES)),
    "a setting of the figure": ("workflow", setting("figure: {top: 1}")),
    "a setting of `page`": ("workflow", setting("page: {nearest: 2}")),
    "a setting of `metrics`": (
        "workflow", setting("metrics: {bootstrap_samples: 51}"), setting("metrics: {decisive_ratio: 3}")),
    "a method is added to `methods`": ("own_data", setting("methods: [guda, nearest, random]")),
    "a setting of the similarity method": ("workflow", setting("attribution: {nearest: {similarity: cosine}}")),
    "a setting of the conditional network": (
        "rivals", setting("attribution: {conditional: {label_dropout: 0.2}}")),
    "a setting of the classifier": ("rivals", setting("attribution: {classifier: {training: {steps: 13}}}")),
    "a setting of the kernel": ("rivals", setting("attribution: {kernel: {steps: 5}}")),
    "a weight of the ensemble": ("rivals", setting("attribution: {ensemble: {members: {guda: 1, kernel: 1}}}")),
    "a setting of `guda_esd`": ("rivals", setting("attribution: {guda_esd: {guidance: 2}}")),
    "`attribution.guda_scaled.seed`": (
        "rivals", setting("attribution: {guda_scaled: {seed: 101}}", SEED="101")),
    "a setting of the proxies": ("rivals", setting("attribution: {proxy: {length: 0.25}}")),
    "a setting of unlearning": ("workflow", setting("unlearn: {forget_weight: 0.77}"), setting("unlearn: {steps: 4}"),
        setting("unlearn: {last: 500}")),
    "the same for one group, in `unlearn.overrides.GROUP`": (
        "workflow", setting("unlearn: {overrides: {amber: {forget_weight: 0.77}}}", GROUP="amber")),
    "`unlearn.n_neighbors`": ("workflow", setting("unlearn: {n_neighbors: 4}")),
    "a group is added": ("workflow", setting("data: {groups: [amber, birch, cedar]}", GROUP="birch")),
    "a group is removed": ("own_data", setting("data: {groups: [ann, cid]}")),
    "a group is renamed": ("own_data", table_edit(",ann", ",anna", "anna")),
    "an image leaves a group": ("own_data", table_edit("00.png,ann", "00.png,", "ann")),
    "the same groups, defined in another way": ("workflow", setting(
        "data: {conditions: {amber: 'provider == \"amber\"', cedar: 'provider == \"cedar\"'}}")),
    "`data.noisy_partition`": ("workflow", setting("data: {noisy_partition: {block_size: 5}}")),
    "variants in `sweep.unlearn`": ("workflow", setting("sweep: {unlearn: [{steps: [3, 4]}]}")),
    "variants in `sweep.elbo_steps`": ("workflow", setting("sweep: {elbo_steps: [{first: 200}]}")),
    "an oracle seed is added": ("workflow", setting("oracle: {seeds: [1, 2, 3]}", SEED="3")),
    "a seed is added to `unlearn.seeds`": ("workflow", setting("unlearn: {seeds: [0, 7]}", SEED="7")),
    "`oracle.own_base` is set": ("workflow", setting("oracle: {own_base: true}")),
    "`elbo.seed`, `elbo.precision`, or the steps of `elbo`": (
        "workflow", setting(ELBO_SEED), setting("elbo: {precision: bfloat16}"), setting("elbo: {steps: {count: 5}}")),
    "`screen` is set": ("workflow", setting("screen: {method: nearest, groups: 2}")),
    "`likelihood.queries` is set": ("workflow", setting("likelihood: {queries: 2}")),
    "more or fewer generated queries": ("workflow", query_count(7), query_count(5)),
    "a query file is added, removed or edited": (
        "own_data", query_file("added"), query_file("removed"), query_file("painted over")),
    "metadata of the queries (`queries.table`)": ("own_data", query_table),
    "another query set, `queries.name: NAME` (generated, with another seed)": (
        "workflow",
        setting("queries: {name: other, seed: 1}", NAME="other"),
    ),
    "the same from models fine-tuned on exemplars, `queries.source: exemplars`": (
        "workflow",
        setting("queries: {name: other, source: exemplars}", NAME="other"),
    ),
    "`data.held_out`": ("workflow", setting("data: {held_out: {count: 6}}")),
    "`training.seed`": ("workflow", setting("training: {seed: 5}")),
    "a training image is added": ("own_data", training_image),
    "a stage's version is raised (here that of unlearning)": ("workflow", version_raised),
}  # fmt: skip


def test_the_table_and_the_tests_have_the_same_rows():
    assert documented().keys() == CHANGES.keys()


@pytest.mark.parametrize(
    ("row", "change"),
    [
        pytest.param(row, change, id=f"{row} {number}" if len(changes) > 1 else row)
        for row, (_, *changes) in CHANGES.items()
        for number, change in enumerate(changes, start=1)
    ],
)
def test_a_change_makes_stale_what_the_table_says(row, change, request, tmp_path):
    run, overlay, names = change(request.getfixturevalue(CHANGES[row][0]).copied(tmp_path / "run"), tmp_path)
    patterns = documented()[row]
    for name, value in names.items():
        patterns = [pattern.replace(name, value) for pattern in patterns]
    plan = run.plan(overlay)
    planned = {job_of(file) for file, stale in plan.items() if stale}
    assert planned == {job_of(file) for file in plan if any(map(matcher(job_of(file)), patterns))}
    assert all(any(matcher(job)(pattern) for job in planned) for pattern in patterns)


def test_dates_do_not_make_another_configurations_file_pass(workflow, tmp_path):
    """Without Snakemake's memory and with all dates equal, the one file of another configuration is found."""
    run = workflow.copied(tmp_path / "run")
    name = f"elbo/{BASE}/calibration"
    done = run.snakemake("--cores", "1", f"{run.experiment.config.results}/{name}.safetensors", overlays=(ELBO_SEED,))
    assert done.returncode == 0, done.stderr
    shutil.rmtree(run.directory / ".snakemake")
    for path in run.results.rglob("*"):
        os.utime(path, (1e9, 1e9))
    assert {job_of(file) for file in run.planned()} == {
        name,
        "scores/guda",
        "quality",
        "report",
        "report/maps",
        "report/redrawn",
        *TABLES[:-1],
    }


def test_files_that_are_dated_ahead_of_the_clock_are_no_hindrance(workflow, tmp_path):
    """A job whose inputs would be newer than what it makes of them runs, once."""
    run = workflow.copied(tmp_path / "run")
    file = f"{run.experiment.config.results}/elbo/{BASE}/calibration.safetensors"
    for path in run.results.rglob("*"):
        os.utime(path, (time.time() + 86400, time.time() + 86400))
    done = run.snakemake("--cores", "1", file, overlays=(ELBO_SEED,))
    assert done.returncode == 0, done.stderr
    assert "Nothing to be done" in run.snakemake("--dry-run", file, overlays=(ELBO_SEED,)).stdout
