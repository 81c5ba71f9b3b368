"""Whatever harm comes to a file under results/, the stage that reads it says so in one line and writes nothing."""

import ast
import json
import os
import pickle
import random
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from harms import HARMS, another_configuration, pickled, pickled_by_torch, planted_at
from harness import ROOT, logged_call, with_flags

from guda import specs
from guda.core.artifacts import load_tensors, save_tensors, sha256_file, write_json
from guda.core.errors import ArtifactError
from guda.core.paths import BASE, MODEL_FILES, STATE, WEIGHTS, record_of
from guda.core.records import read_record, write_record
from guda.data.groups import read_members
from guda.data.training_set import read_training_set
from guda.models.cache import ModelCache
from guda.models.noise_schedule import NoiseSchedule
from guda.training.loop import train
from guda.training.state import Execution, TrainingState


@dataclass(frozen=True)
class Artifact:
    """A file, relative to the results; the log of a job that reads it; a like file to swap it with; further flags."""

    file: str
    reader: str
    other: str | None
    flags: dict[str, object] = field(default_factory=dict)


RESUMED = {"model": "results/tiny/resumed", "execution": {"checkpoint_steps": 500}}
CACHED = {"execution": {"cache": "results/tiny/caches/amber"}}
AMBER, CEDAR = "caches/amber/models/*", "caches/cedar/models/*"
ARTIFACTS = {
    "images": Artifact("data/images.safetensors", "scores/nearest", "queries/calibration.safetensors"),
    "table": Artifact("data/table.csv", "metrics_by_source", "queries/queries.csv"),
    "group": Artifact("groups/amber.json", "scores/nearest", "groups/cedar.json"),
    "neighbors": Artifact("neighbors/amber.safetensors", "models/guda/amber", "neighbors/cedar.safetensors"),
    "neighbors_record": Artifact("neighbors/amber.record.json", "scores/guda", "neighbors/cedar.record.json"),
    "base_weights": Artifact(f"models/base/{WEIGHTS}", "queries/bucket-0000", f"models/logo-1/amber/{WEIGHTS}"),
    "weights": Artifact(f"models/guda/amber/{WEIGHTS}", "elbo/guda/amber/bucket-0000", f"models/guda/cedar/{WEIGHTS}"),
    "model_config": Artifact("models/logo-1/amber/config.json", "elbo/logo-1/amber/bucket-0000", None),
    "model_record": Artifact("models/guda/amber/record.json", "scores/guda", "models/guda/cedar/record.json"),
    "queries": Artifact("queries/bucket-0000.safetensors", "scores/random", "queries/bucket-0001.safetensors"),
    "last_queries": Artifact("queries/bucket-0001.safetensors", "queries/table", "queries/calibration.safetensors"),
    "calibration": Artifact("queries/calibration.safetensors", "elbo/base/calibration",
                            "queries/bucket-0000.safetensors"),
    "elbo": Artifact("elbo/guda/amber/bucket-0000.safetensors", "scores/guda",
                     "elbo/guda/cedar/bucket-0000.safetensors"),
    "elbo_record": Artifact("elbo/base/bucket-0000.record.json", "scores/logo-1", "elbo/base/bucket-0001.record.json"),
    "scores": Artifact("scores/guda.csv", "rankings", "scores/guda_uncalibrated.csv"),
    "scores_record": Artifact("scores/guda.record.json", "metrics", "scores/random.record.json"),
    "rankings": Artifact("rankings.csv", "metrics", "metrics.csv"),
    "rankings_record": Artifact("rankings.record.json", "query_figure", "metrics.record.json"),
    "training_state": Artifact(f"resumed/{STATE}", "models/base", f"models/base/{WEIGHTS}", RESUMED),
    "cached_weights": Artifact(f"{AMBER}/{WEIGHTS}", "models/guda/amber", f"{CEDAR}/{WEIGHTS}", CACHED),
    "cached_config": Artifact(f"{AMBER}/config.json", "models/guda/amber", None, CACHED),
    "cached_record": Artifact(f"{AMBER}/record.json", "models/guda/amber", f"{CEDAR}/record.json", CACHED),
}  # fmt: skip
# Further readers, to each of which a flipped bit is shown.
READERS = {
    "images": ["models/base", "models/logo-1/amber", "models/guda/amber", "neighbors/amber", "queries/calibration",
               "metrics_by_source"],
    "group": ["models/logo-1/amber", "models/guda/amber", "neighbors/amber", "scores/guda", "metrics_by_source"],
    "base_weights": ["models/guda/amber", "elbo/base/bucket-0000"],
    "queries": ["elbo/base/bucket-0000", "scores/nearest", "metrics_by_source", "query_figure"],
    "elbo_record": ["scores/guda"],
    "scores_record": ["rankings", "metrics_by_source"],
    "rankings": ["query_figure", "metrics_by_source", "significance"],
    "rankings_record": ["metrics", "metrics_by_source", "significance"],
}  # fmt: skip


def rows():
    """The matrix: every artifact and harm. All are slow but for one harm an artifact, by a fixed seed."""
    chance = random.Random(2)
    for name, artifact in ARTIFACTS.items():
        harms = list(HARMS[Path(artifact.file).suffix])
        if artifact.other is None:
            harms.remove("swapped")  # all models of an experiment have the same config.json
        if name == "training_state":
            harms.remove("another configuration")  # passed over, see below
        sampled = chance.choice(harms)
        for harm in harms:
            marks = [] if harm == sampled else [pytest.mark.slow]
            yield pytest.param(name, harm, id=f"{name}-{harm.replace(' ', '-')}", marks=marks)


# --- refused by the stage that reads it --------------------------------------------------------------


@pytest.fixture(scope="module")
def prepared(workflow, tmp_path_factory):
    """The finished run, with two caches of a model each, and the state of the base training at step 10 of 12."""
    run = workflow.copied(tmp_path_factory.mktemp("prepared") / "copy")
    base, results = run.experiment.model_spec(BASE), run.results
    parent = sha256_file(results / "models" / "base" / WEIGHTS)
    for group in ("amber", "cedar"):
        cache = ModelCache(str(results / "caches" / group))
        cache.store(results / "models" / "guda" / group, run.experiment.model_spec(f"guda/{group}"), parent)
    training_set = read_training_set(results / "data" / "images.safetensors", base.images)
    state = TrainingState(results / "resumed", base, interval=10)
    threads = torch.get_num_threads()
    torch.set_num_threads(run.experiment.config.execution.threads)
    train(
        training_set.images, base.unet, NoiseSchedule.from_config(base.noise_schedule), base.training, Execution(state)
    )
    torch.set_num_threads(threads)
    return run


def matching(folder, pattern):
    """The one file that matches."""
    (file,) = folder.glob(pattern)
    return file


def command_of(run, reader, out, **flags):
    """The job's logged command, with all that it writes under `out` but where `flags` say otherwise."""
    command = logged_call(run, *reader.split("/"))
    elsewhere = {"output": out / "output.csv", "record": out / "record.json"}
    elsewhere = {flag: path for flag, path in elsewhere.items() if f"--{flag}" in command}
    if Path(command[1]).name in ("train.py", "unlearn.py"):
        elsewhere["model"] = out / "model"
    return with_flags(command, **elsewhere | flags)


def snapshot(folder):
    return {
        path.relative_to(folder): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def call(run, command):
    where = {"cwd": run.directory, "env": run.variables()}
    return subprocess.run(command, **where, capture_output=True, text=True, timeout=300, check=False)


def error_of(done):
    """The one message after the line that repeats the call."""
    assert done.returncode == 1, done.stderr
    echo, message = done.stderr.splitlines()
    assert echo.startswith("$ ")
    assert message.startswith("error: ")
    return message


def harmed_and_refused(prepared, tmp_path, name, harm, reader):
    artifact, run = ARTIFACTS[name], prepared.copied(tmp_path / "copy")
    file = matching(run.results, artifact.file)
    HARMS[file.suffix][harm](file, artifact.other and matching(run.results, artifact.other))
    before = snapshot(tmp_path)
    message = error_of(call(run, command_of(run, reader, tmp_path / "out", **artifact.flags)))
    assert snapshot(tmp_path) == before
    assert not planted_at(file).exists()
    assert "Delete" in message
    by_record = file.suffix == ".csv" and harm == "another configuration"
    named = Path(record_of(file)) if by_record else file
    assert str(named.relative_to(run.directory)) in message


@pytest.mark.parametrize(("name", "harm"), list(rows()))
def test_a_harmed_file_is_refused_by_name_and_nothing_is_written(prepared, tmp_path, name, harm):
    harmed_and_refused(prepared, tmp_path, name, harm, ARTIFACTS[name].reader)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "reader"), [(name, reader) for name in READERS for reader in READERS[name]])
def test_every_stage_that_reads_a_file_refuses_it(prepared, tmp_path, name, reader):
    place = "flip in the data" if ARTIFACTS[name].file.endswith(".safetensors") else "flip in the middle"
    harmed_and_refused(prepared, tmp_path, name, place, reader)


@pytest.mark.slow
def test_a_cached_model_of_another_base_checkpoint_is_refused(prepared, tmp_path):
    """It lies where a model of the same spec would that was unlearned from this base model's very weights."""
    run = prepared.copied(tmp_path / "copy")
    folder = matching(run.results, AMBER)
    tensors, metadata = load_tensors(folder / WEIGHTS)
    spec, config = run.experiment.model_spec("guda/amber"), metadata["config_sha256"]
    save_tensors(folder / WEIGHTS, tensors, spec, config_sha256=config, parent_sha256="0" * 64)
    record = read_record(folder / "record.json")
    write_record(folder / "record.json", spec, [folder / name for name in MODEL_FILES], seconds=record["seconds"])
    message = error_of(call(run, command_of(run, "models/guda/amber", tmp_path / "out", **CACHED)))
    assert str((folder / WEIGHTS).relative_to(run.directory)) in message
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("whole", [True, False], ids=["its own", "of another configuration"])
def test_a_training_state_leads_to_the_same_model_or_is_passed_over(prepared, tmp_path, whole):
    run = prepared.copied(tmp_path / "copy")
    if not whole:
        another_configuration(run.results / "resumed" / STATE, None)
    done = call(run, command_of(run, "models/base", tmp_path / "out", **RESUMED))
    assert done.returncode == 0, done.stderr
    assert ("resuming from step 10" if whole else "from another configuration; starting from step 0") in done.stderr
    assert sha256_file(run.results / "resumed" / WEIGHTS) == sha256_file(run.results / "models" / "base" / WEIGHTS)


@pytest.mark.parametrize(
    "members", [[1], [None], [["a"]], {}, "ab", None], ids=lambda members: json.dumps(members).strip('"')
)
def test_group_files_with_members_of_another_shape_are_refused(tmp_path, members):
    spec = specs.GroupSpec(dataset="d", group="a", members=specs.digest_lines(["a", "b"]))
    write_json(tmp_path / "a.json", {"spec": spec.canonical(), "members": members})
    with pytest.raises(ArtifactError, match=r"a\.json: not a group's file"):
        read_members(tmp_path / "a.json", spec.digest())


# --- a full disk -------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("there is no mount")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mounting a tmpfs is not permitted: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


def fill(disk, room):
    """A file that leaves this much room."""
    free = os.statvfs(disk)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(free.f_bavail * free.f_frsize - room))
    return ballast


MODEL = {f"model/{name}": f"models/base/{name}" for name in MODEL_FILES}


@pytest.mark.parametrize(
    ("job", "room", "flags", "written"),
    [
        pytest.param("models/base", 40_960, {"execution": {"checkpoint_steps": 500}}, MODEL, id="model"),
        pytest.param(
            "models/base", 40_960, {"execution": {"checkpoint_steps": 5}}, MODEL, id="state", marks=pytest.mark.slow
        ),
        pytest.param("elbo/base/bucket-0000", 0, {}, "safetensors", id="elbo", marks=pytest.mark.slow),
        pytest.param("scores/random", 0, {}, "csv", id="scores", marks=pytest.mark.slow),
    ],
)
def test_a_full_disk_is_said_and_once_there_is_room_the_same_call_works(
    workflow, small_disk, job, room, flags, written
):
    """`written` are the files of the job and those of the finished run that they must equal, or the latter's suffix."""
    written = written if isinstance(written, dict) else {"output.csv": f"{job}.{written}"}
    command, ballast = command_of(workflow, job, small_disk, **flags), fill(small_disk, room)
    done = call(workflow, command)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    message = done.stderr.splitlines()[-1]
    assert message.startswith(f"error: {small_disk}/")
    assert "No space left on device" in message
    # A model's config.json may stand there, whole; without weights it is no model.
    left = {path for path in small_disk.rglob("*") if path.is_file()} - {ballast, small_disk / "model" / "config.json"}
    assert left == set()

    ballast.unlink()
    done = call(workflow, command)
    assert done.returncode == 0, done.stderr
    for file, original in written.items():
        assert sha256_file(small_disk / file) == sha256_file(workflow.results / original)


# --- nothing is unpickled ----------------------------------------------------------------------------


# It reads CIFAR's python release, and writes down what a pickle names instead of calling it.
INERT = ROOT / "workflow_scripts" / "guda" / "data" / "datasets" / "inert_pickle.py"


def test_no_program_can_unpickle():
    """Neither by a module for it, nor by the functions of torch, numpy and pandas that do. One may, see below.

    transformers takes pickles too, unless it is told not to.
    """
    sources = list((ROOT / "workflow_scripts").rglob("*.py"))
    assert len(sources) > 30
    modules = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
    names = {"torch.load", "np.load", "numpy.load", "allow_pickle", "read_pickle", "to_pickle", "use_safetensors"}
    for source in sources:
        used = set()
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                used |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                used |= {(node.module or "").split(".")[0]} | {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Attribute):
                used |= {node.attr, ast.unparse(node)}
            elif isinstance(node, ast.keyword) and ast.unparse(node) != "use_safetensors=True":
                used.add(node.arg)
        permitted = {"pickle"} if source == INERT else set()
        assert not used & (modules | names) - permitted, source


def test_the_one_reader_of_pickles_takes_nothing_from_pickle_but_a_base_class():
    """And what that class finds for a name is never what pickle's own would find."""
    nodes = list(ast.walk(ast.parse(INERT.read_text(encoding="utf-8"))))
    imported = [ast.unparse(node) for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert [statement for statement in imported if "pickle" in statement] == ["import pickle"]
    (reader,) = (node for node in nodes if isinstance(node, ast.ClassDef) and node.bases)
    assert [ast.unparse(base) for base in reader.bases] == ["pickle.Unpickler"]
    assert "find_class" in {node.name for node in reader.body if isinstance(node, ast.FunctionDef)}
    assert sum(isinstance(node, ast.Name) and node.id == "pickle" for node in nodes) == 1
    names = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    assert not names & {"find_class", "persistent_load", "import_module", "modules"}
    assert not {node.id for node in nodes if isinstance(node, ast.Name)} & {"eval", "exec", "getattr", "__import__"}


def test_the_planted_pickles_would_have_worked(tmp_path):
    for harm, load in ((pickled, lambda file: pickle.loads(file.read_bytes())), (pickled_by_torch, torch.load)):
        file = tmp_path / harm.__name__ / "x"
        file.parent.mkdir()
        harm(file, None)
        load(file, **({"weights_only": False} if load is torch.load else {}))
        assert planted_at(file).exists()
