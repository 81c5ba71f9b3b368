"""A Slurm of one node on this machine, without systemd and beside whatever else runs here: all it has lies in a folder.

Needs root and Debian's packages slurm-wlm and munge. For a look around, `python tests/slurm/cluster.py` keeps one up
until Ctrl-C.
"""

import contextlib
import os
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

CONFIGURATION = Path(__file__).with_name("slurm.conf")
PROGRAMS = ["munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "sinfo"]
SECONDS_TO_START = 30
SECONDS_TO_STOP = 10
NULL_DEVICE = os.makedev(1, 3)
DEVICES = "devices"


def why_not() -> str | None:
    """What keeps a Slurm from being started here; None when nothing does."""
    missing = [program for program in PROGRAMS if shutil.which(program, path=search_path()) is None]
    if missing:
        return f"no {', '.join(missing)} here: apt-get install slurm-wlm munge"
    return None if os.geteuid() == 0 else "only root can start a Slurm"


def search_path() -> str:
    """PATH with the folders of daemons."""
    return os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])


@contextlib.contextmanager
def cluster() -> Iterator[dict[str, str]]:
    """A running Slurm; gives the environment that its commands need. All jobs and daemons end with the context."""
    with tempfile.TemporaryDirectory(prefix="guda-slurm-") as name, contextlib.ExitStack() as daemons:
        folder = Path(name)
        environment = os.environ | {"PATH": f"{folder / 'bin'}:{search_path()}", "SLURM_CONF": f"{folder}/slurm.conf"}
        configure(folder)
        munge = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munge.pid", "seed-file": "munge.seed"}
        flags = [f"--{flag}={folder / file}" for flag, file in (munge | {"log-file": "munge.log"}).items()]
        # --force: the folder is for root alone, who is the only one here that has to identify itself.
        for command in (["munged", "--foreground", "--force", *flags], ["slurmctld", "-D"], ["slurmd", "-D"]):
            daemons.enter_context(daemon(command, folder, environment))
        wait_until_idle(folder, environment)
        try:
            yield environment
        finally:
            subprocess.run(["scancel", "--user=root"], env=environment, timeout=SECONDS_TO_STOP, check=False)
            time.sleep(1)  # slurmd needs a moment to kill what it was told to


def configure(folder: Path) -> None:
    """Write the configuration, a key, and the graphics cards: device files, since Slurm believes in no others."""
    host = socket.gethostname().split(".")[0]
    controller_port, node_port = free_ports(2)
    values = {"HOST": host, "FOLDER": folder, "CONTROLLER_PORT": controller_port, "NODE_PORT": node_port}
    text = CONFIGURATION.read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace(f"@{key}@", str(value))
    (folder / "slurm.conf").write_text(text, encoding="utf-8")
    (folder / "gres.conf").write_text(f"AutoDetect=off\nName=gpu File={folder}/gpu[0-1]\n", encoding="utf-8")
    for index in range(2):
        os.mknod(folder / f"gpu{index}", 0o666 | stat.S_IFCHR, NULL_DEVICE)
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o400)
    for name in ("state", "spool", "bin"):
        (folder / name).mkdir()
    # Snakemake's plugin takes SLURM_CONF, like all variables of that name, from the srun that it starts in a job.
    srun = shutil.which("srun", path=search_path())
    write_program(folder / "bin" / "srun", f'SLURM_CONF={folder}/slurm.conf exec {srun} "$@"')
    # Slurm runs this in the environment of each task before it starts.
    line = f'echo "$SLURM_JOB_ID ${{CUDA_VISIBLE_DEVICES-none}}" >> {folder}/{DEVICES}'
    write_program(folder / "bin" / "note-devices", line)


def write_program(path: Path, line: str) -> None:
    """A shell script of one line."""
    path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    path.chmod(0o755)


def devices_of_jobs(environment: dict[str, str]) -> dict[str, set[str]]:
    """What each job's tasks saw in CUDA_VISIBLE_DEVICES, by the job's number; `none` where it was not set."""
    devices = {}
    for line in Path(environment["SLURM_CONF"]).with_name(DEVICES).read_text().splitlines():
        job, seen = line.split()
        devices.setdefault(job, set()).add(seen)
    return devices


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextlib.contextmanager
def daemon(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """A program that runs until the context ends."""
    program = shutil.which(command[0], path=environment["PATH"])
    with (folder / f"{command[0]}.output").open("w") as output:
        process = subprocess.Popen([program, *command[1:]], env=environment, stdout=output, stderr=output)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_idle(folder: Path, environment: dict[str, str]) -> None:
    """Return when the node takes jobs. Raises RuntimeError with all that the daemons said when it does not."""
    deadline, state = time.monotonic() + SECONDS_TO_START, ""
    while time.monotonic() < deadline:
        command = ["timeout", "5", "sinfo", "--noheader", "--format=%T"]
        state = subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout.strip()
        if state == "idle":
            return
        time.sleep(0.1)
    said = [file.read_text() for file in sorted(folder.glob("*.output")) + sorted(folder.glob("*.log"))]
    raise RuntimeError(f"the node is {state or 'not there'} after {SECONDS_TO_START} s:\n" + "\n".join(said))


if __name__ == "__main__":
    with cluster() as started, contextlib.suppress(KeyboardInterrupt):
        print(f"export SLURM_CONF={started['SLURM_CONF']}", flush=True)
        while True:
            time.sleep(1)
