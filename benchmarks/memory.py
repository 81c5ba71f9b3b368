"""Peak memory and time of every stage on a large training set of 32x32 color noise in CIFAR-10's format.

Runs the stage programs in sequence, each in its own process, with a minimal network and step counts. `peak` is the
resident memory, including pages of mapped files, which the system reclaims under memory pressure. `own` is the memory
allocated by the process itself (sampled, Linux). Needs about 8 kB per image on disk, deleted at the end.
"""

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SCRIPTS = Path(__file__).resolve().parents[1] / "workflow_scripts"
SMALL, LARGE = "class-0", "class-1"
GB = 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000, metavar="N", help="images (default: %(default)s)")
    parser.add_argument("--folder", help="where to create a temporary folder (default: the system's temporary folder)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="guda-memory-") as folder:
        os.chdir(folder)
        write_cifar(Path("cifar"), args.images)
        write_idx(Path("idx"), args.images)
        print(f"{args.images} images\n\n| stage | seconds | peak (GB) | own (GB) |\n|---|---:|---:|---:|", flush=True)
        for planned, function in [("gray", "plan_gray"), ("color", "plan")]:
            code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import memory; memory.{function}()"
            report(f"planning, {planned} images", [sys.executable, "-c", code])
            for name, command in json.loads(Path("plan.json").read_text()):
                report(name, [sys.executable, *command])
            Path("from_gray.safetensors").unlink(missing_ok=True)


def write_cifar(folder: Path, n_images: int) -> None:
    """Write five batches in CIFAR-10's binary format. One image in a thousand is of the class SMALL."""
    folder.mkdir()
    (folder / "batches.meta.txt").write_text("\n".join(f"class-{label}" for label in range(10)))
    generator = np.random.default_rng(0)
    for number, rows in enumerate(np.array_split(np.arange(n_images), 5), start=1):
        with (folder / f"data_batch_{number}.bin").open("wb") as file:
            for some in np.array_split(rows, -(-len(rows) // 10_000)):
                records = generator.integers(0, 256, (len(some), 3073), dtype=np.uint8)
                records[:, 0] = np.where(some % 1000 == 0, 0, 1 + some % 9)
                file.write(records)


def write_idx(folder: Path, n_images: int) -> None:
    """Write the same number of gray images as an IDX pair."""
    folder.mkdir()
    generator = np.random.default_rng(1)
    with (folder / "train-images-idx3-ubyte").open("wb") as file:
        file.write(struct.pack(">4B3I", 0, 0, 8, 3, n_images, 32, 32))
        for _ in range(0, n_images, 10_000):
            file.write(generator.integers(0, 256, (10_000, 1024), dtype=np.uint8))
        file.truncate(16 + n_images * 1024)
    labels = struct.pack(">4BI", 0, 0, 8, 1, n_images) + bytes(row % 10 for row in range(n_images))
    (folder / "train-labels-idx1-ubyte").write_bytes(labels)


def report(name: str, command: list[str]) -> None:
    """Run a program and print a table row, or its output if it fails."""
    started, own = time.perf_counter(), 0
    with Path("log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": str(SCRIPTS)})
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        own = max(own, own_memory(process.pid))
        time.sleep(0.02)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{name} failed:\n{Path('log').read_text()}")
    seconds, peak = time.perf_counter() - started, usage.ru_maxrss * 1024
    print(f"| {name} | {seconds:.0f} | {peak / GB:.2f} | {own / GB:.2f} |", flush=True)


def own_memory(pid: int) -> int:
    """Bytes of anonymous resident memory; 0 for a process that has just ended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def plan_gray() -> None:
    """Write the command that converts gray images to color to plan.json."""
    from guda.config import Data
    from guda.data.datasets import load_dataset

    data = Data(dataset="idx", folder="idx", group_by="label", channels=3)
    flags = {"data": data.model_dump_json(), "output": "from_gray.safetensors"}
    command = stage("write_images from gray", load_dataset(data).images_spec(), **flags)
    Path("plan.json").write_text(json.dumps([command]))


def plan() -> None:
    """Write the commands of all stages to plan.json, in order."""
    from guda.plan.config import load_config
    from guda.plan.experiment import Experiment

    steps = {"steps": 3, "warmup_steps": 0}
    values = {
        "data": {"dataset": "cifar10", "folder": "cifar", "group_by": "label", "groups": [SMALL, LARGE]},
        "unet": {"block_out_channels": [8, 8]},
        "training": steps,
        "oracle": {"seeds": [1]},
        "unlearn": steps,
        "queries": {"count": 23, "sampling_steps": 2},  # the most queries compared at once with a million images
        "elbo": {"steps": {"count": 2}},
        "methods": ["nearest", "random"],
    }
    experiment = Experiment(load_config(values))
    Path("plan.json").write_text(json.dumps([*until_the_models(experiment), *from_the_queries(experiment)]))


def until_the_models(experiment):
    """Names and commands of the stages that read the training images, up to unlearning."""
    from guda.core.paths import BASE, CALIBRATION, logo_model, unlearned_model

    paths, groups = experiment.paths, experiment.groups
    images, small, neighbors = paths.images(), paths.group(SMALL), paths.neighbors(SMALL)
    data, unlearned = experiment.config.data.model_dump_json(), unlearned_model("guda", SMALL)

    def of_images(name, spec, **flags):
        return stage(name, spec, images=images, **flags)

    yield stage("write_images", experiment.images_spec, data=data, output=images)
    yield stage("write_table", experiment.dataset.table_spec(), data=data, output=paths.table())
    for group in groups:
        yield stage("write_group", experiment.group_spec(group), data=data, output=paths.group(group))
    yield stage("train", experiment.model_spec(BASE), samples=images, model=model_folder(paths, BASE))
    for group in groups:
        oracle = logo_model(1, group)
        flags = {"samples": images, "exclude": paths.group(group), "model": model_folder(paths, oracle)}
        yield stage("train --exclude", experiment.model_spec(oracle), **flags)
    flags = {"group": small, "output": neighbors, "record": paths.neighbors_record(SMALL)}
    yield of_images(f"find_neighbors of {len(groups[SMALL])}", experiment.neighbors_spec(SMALL), **flags)
    yield of_images("sample_calibration", experiment.calibration_spec(), output=paths.queries(CALIBRATION))
    flags = {"base": model_folder(paths, BASE), "samples": images, "group": small, "files": neighbors}
    yield stage("unlearn", experiment.model_spec(unlearned), **flags, model=model_folder(paths, unlearned))


def from_the_queries(experiment):
    """Names and commands of the stages from the queries to the tables."""
    from guda.core.paths import BASE, logo_model
    from guda.plan.reports import rankings_spec, sources_spec

    paths, (bucket,) = experiment.paths, experiment.buckets
    queries, tables = paths.queries(bucket), paths.results
    flags = {"base": model_folder(paths, BASE), "output": queries}
    yield stage("generate", experiment.bucket_spec(bucket), **flags)
    for model in [BASE, *(logo_model(1, group) for group in experiment.groups)]:
        flags = {"output": paths.elbo(model, bucket), "record": paths.elbo_record(model, bucket)}
        spec = experiment.elbo_spec(model, bucket)
        yield stage("compute_elbo", spec, model=model_folder(paths, model), samples=queries, **flags)
    for method in experiment.score_names:
        flags = {"method": method, "output": paths.scores(method), "record": paths.scores_record(method)}
        yield stage(f"attribute {method}", experiment.method_spec(method), results=tables, **flags)
    yield stage("make_table of rankings", rankings_spec(experiment), results=tables, output=paths.rankings())
    flags = {"results": tables, "output": paths.metrics_by_source()}
    yield stage("make_table of metrics by source", sources_spec(experiment), **flags)


def stage(name, spec, **flags):
    """The name in the table, whose first word is the program's name, and the command of a stage."""
    texts = [text for flag, value in flags.items() for text in (f"--{flag}", str(value))]
    return name, [str(SCRIPTS / f"{name.split()[0]}.py"), "--spec", spec.canonical(), *texts]


def model_folder(paths, model):
    return Path(paths.model_weights(model)).parent


if __name__ == "__main__":
    main()
