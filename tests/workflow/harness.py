"""The workflow in a folder of its own, driven through the real snakemake."""

import atexit
import contextlib
import csv
import fcntl
import functools
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from PIL import Image

from guda.config.file import read_yaml
from guda.plan.config import load_config
from guda.plan.experiment import Experiment

ROOT = Path(__file__).resolve().parents[2]
WARM = Path(__file__).with_name("warm")
# Stale or new: what `snakemake --summary` says of a file that a run would leave alone.
UP_TO_DATE = "no update"
# Methods of one network for all groups, or of none.
RIVALS = [
    "conditional_elbo",
    "conditional_posterior",
    "classifier",
    "mixture",
    "guda_scaled",
    "proxy",
    "guda_esd",
    "kernel",
    "ensemble",
]


@dataclass(frozen=True)
class Workflow:
    """The workflow in a folder with config.yaml and tiny.yaml; its results lie there too.

    Its programs are forks of a process that has loaded the libraries, unless they are to be `cold`.
    """

    directory: Path
    experiment: Experiment
    project: Path = ROOT
    cold: bool = False
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def results(self) -> Path:
        return self.directory / self.experiment.config.results

    def snakemake(self, *arguments: str, overlays: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
        """Run snakemake in the folder; `overlays` are YAML texts that are merged over tiny.yaml, in order."""
        command, settings = self.command(*arguments, overlays=overlays)
        return subprocess.run(command, **settings, capture_output=True, text=True, check=False)

    def command(self, *arguments: str, overlays: tuple[str, ...] = ()) -> tuple[list, dict]:
        """The command line of a run, and the folder and environment that it runs in."""
        files = ["tiny.yaml", *(f"overlay-{index}.yaml" for index in range(len(overlays)))]
        for file, text in zip(files[1:], overlays, strict=True):
            (self.directory / file).write_text(text, encoding="utf-8")
        where = ["--snakefile", self.project / "Snakefile", "--directory", self.directory]
        line = [sys.executable, "-m", "snakemake", *where, "--configfile", *files, "--nocolor", *arguments]
        return line, {"cwd": self.directory, "env": self.variables()}

    def variables(self) -> dict[str, str]:
        """The environment of Snakemake and of its jobs. No profile of the user's, so that the project's own holds."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("SNAKEMAKE_", "GUDA_"))}
        return kept | ({} if self.cold else warm()) | self.environment

    def plan(self, overlay: str = "") -> dict[str, bool]:
        """Every file of the configuration, relative to the results, and whether a run would write it now."""
        done = self.snakemake("--summary", overlays=(overlay,) if overlay else ())
        assert done.returncode == 0, done.stderr
        rows = list(csv.DictReader(done.stdout.splitlines(), delimiter="\t"))
        assert rows, done.stderr
        results = self.experiment.config.results
        return {Path(row["output_file"]).relative_to(results).as_posix(): row["plan"] != UP_TO_DATE for row in rows}

    def planned(self, overlay: str = "") -> set[str]:
        """Files, relative to the results, that a run would write now."""
        return {file for file, stale in self.plan(overlay).items() if stale}

    def copied(self, directory: Path) -> "Workflow":
        """The same folder elsewhere, with Snakemake's memory of it, to do harm in."""
        shutil.copytree(self.directory, directory)
        return replace(self, directory=directory)


def merged(base: object, overlay: object) -> object:
    """Snakemake's merging of configurations: mappings key by key, everything else replaced."""
    if not (isinstance(base, dict) and isinstance(overlay, dict)):
        return overlay
    return base | {key: merged(base.get(key), value) for key, value in overlay.items()}


@functools.cache
def warm() -> dict[str, str]:
    """The variables by which programs become forks of a process (warm/server.py) that lives as long as this one."""
    folder = Path(tempfile.mkdtemp(prefix="guda-warm-"))
    command = [sys.executable, WARM / "server.py", folder / "socket"]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    @atexit.register
    def stop() -> None:
        server.stdin.close()
        server.wait()
        shutil.rmtree(folder)

    assert server.stdout.readline() == b"ready\n"
    return {"WARM_PYTHON": str(folder / "socket"), "PYTHONPATH": str(WARM)}


def opened(directory: Path) -> Workflow:
    """The workflow of the config.yaml and the tiny.yaml in this folder."""
    with contextlib.chdir(directory):
        values = merged(read_yaml("config.yaml"), read_yaml("tiny.yaml"))
        workflow = Workflow(directory, Experiment(load_config(values)))
        assert workflow.experiment.buckets
    return workflow


def finished(directory: Path, *targets: str) -> Workflow:
    """The workflow after a run of config.yaml and tiny.yaml in this folder, to the targets in the results or to all."""
    shutil.copy(ROOT / "config.yaml", directory)
    done = opened(directory)
    results = done.experiment.config.results
    run = done.snakemake("--cores", "2", *(f"{results}/{target}" for target in targets))
    assert run.returncode == 0, run.stderr
    return done


def shared(folder: Path, make: Callable[[Path], object]) -> Workflow:
    """A copy, for this process, of the run that `make` finishes in a new folder, for all processes of the tests."""
    several = "PYTEST_XDIST_WORKER" in os.environ
    original = (folder.parents[1] if several else folder.parent) / f"{folder.name}-original"
    whole = original.with_suffix(".whole")
    with original.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            shutil.rmtree(original, ignore_errors=True)
            make(original)
            whole.touch()
    shutil.copytree(original, folder)
    return opened(folder)


def matcher(job: str) -> Callable[[str], bool]:
    """Whether a pattern means the job; a star also stands for several levels of folders."""
    return lambda pattern: fnmatchcase(job, pattern)


def job_of(file: str) -> str:
    """A job's name: that of its main output, without suffix."""
    path = Path(file)
    if path.parts[0] == "models":
        return path.parent.as_posix()
    if path.parts[:2] == ("queries", "images"):
        return "queries/queries"
    return file.removesuffix(".record.json").removesuffix(path.suffix)


def save_image(path: Path, seed: int) -> None:
    """Write a gray image of 8x8 noise."""
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def logged_call(workflow: Workflow, *log: str) -> list[str]:
    """The command that the first line of a job's log holds."""
    line = (workflow.directory / workflow.experiment.paths.log(*log)).read_text().splitlines()[0]
    assert line.startswith("$ ")
    return shlex.split(line[2:])


def with_flags(command: list[str], **flags: object) -> list[str]:
    """The command with the values of some flags replaced, or added; `execution` changes some keys of that flag's."""
    command = list(command)
    if "execution" in flags:
        flags["execution"] = json.dumps(json.loads(command[command.index("--execution") + 1]) | flags["execution"])
    for flag, value in flags.items():
        name = f"--{flag.replace('_', '-')}"
        if name in command:
            command[command.index(name) + 1] = str(value)
        else:
            command += [name, str(value)]
    return command
