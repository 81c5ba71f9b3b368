"""One real run of the workflow on tiny.yaml, in a folder of its own, for all tests of this folder."""

import csv
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from guda.config import load_config, read_yaml
from guda.experiment import Experiment

ROOT = Path(__file__).resolve().parents[2]
# Stale or new: what `snakemake --summary` says of a file that a run would leave alone.
UP_TO_DATE = "no update"


@dataclass(frozen=True)
class Workflow:
    """The workflow in a folder with config.yaml and tiny.yaml; its results lie there too."""

    directory: Path
    experiment: Experiment

    @property
    def results(self) -> Path:
        return self.directory / self.experiment.config.results

    def snakemake(self, *arguments: str, overlays: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
        """Run snakemake in the folder; `overlays` are YAML texts that are merged over tiny.yaml, in order."""
        files = ["tiny.yaml", *(f"overlay-{index}.yaml" for index in range(len(overlays)))]
        for file, text in zip(files[1:], overlays, strict=True):
            (self.directory / file).write_text(text, encoding="utf-8")
        # No profile of the user's, so that the project's own is the one in force.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SNAKEMAKE_")}
        where = ["--snakefile", ROOT / "Snakefile", "--directory", self.directory]
        return subprocess.run(
            [sys.executable, "-m", "snakemake", *where, "--configfile", *files, "--nocolor", *arguments],
            cwd=self.directory,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def planned(self, overlay: str = "") -> set[str]:
        """Files, relative to the results, that a run would write now."""
        done = self.snakemake("--summary", overlays=(overlay,) if overlay else ())
        assert done.returncode == 0, done.stderr
        rows = list(csv.DictReader(done.stdout.splitlines(), delimiter="\t"))
        assert rows, done.stderr
        files = {row["output_file"] for row in rows if row["plan"] != UP_TO_DATE}
        return {str(Path(file).relative_to(self.experiment.config.results)) for file in files}

    def copied(self, directory: Path) -> "Workflow":
        """The same folder elsewhere, with Snakemake's memory of it, to do harm in."""
        shutil.copytree(self.directory, directory)
        return Workflow(directory, self.experiment)


def merged(base: object, overlay: object) -> object:
    """Snakemake's merging of configurations: mappings key by key, everything else replaced."""
    if not (isinstance(base, dict) and isinstance(overlay, dict)):
        return overlay
    return base | {key: merged(base.get(key), value) for key, value in overlay.items()}


@pytest.fixture(scope="session")
def workflow(tmp_path_factory) -> Workflow:
    """A finished run of tiny.yaml."""
    directory = tmp_path_factory.mktemp("workflow")
    shutil.copy(ROOT / "config.yaml", directory)
    shutil.copy(ROOT / "tests" / "workflow" / "tiny.yaml", directory)
    values = merged(read_yaml(directory / "config.yaml"), read_yaml(directory / "tiny.yaml"))
    finished = Workflow(directory, Experiment(load_config(values)))
    done = finished.snakemake("--cores", "2")
    assert done.returncode == 0, done.stderr
    return finished
