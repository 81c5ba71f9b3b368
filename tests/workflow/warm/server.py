"""A process that has loaded the libraries and forks for each program that is to run: `server.py SOCKET`.

Most of a short job's time goes into loading torch, diffusers and this project, and half of a plan's into loading
Snakemake. A program of a copy of the project forgets what was loaded of this one and finds its own. The server ends
when its standard input does.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import socket
import sys
import threading
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
SCRIPTS = PROJECT / "workflow_scripts"
LIBRARIES = [
    "torch", "torch._dynamo", "diffusers.models.unets.unet_2d", "diffusers.models.unets.unet_2d_condition",
    "diffusers.models.autoencoders.autoencoder_kl", "transformers.models.clip.modeling_clip", "safetensors.torch",
    "pandas", "scipy.stats", "matplotlib.pyplot", "PIL.Image", "pydantic", "yaml", "snakemake.cli",
]  # fmt: skip


def serve(address):
    """Returns in a process of its own for each program, with what is to be run."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready:
                os._exit(0)
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                return received(connection)
            connection.close()
            with contextlib.suppress(ChildProcessError):  # those that have ended
                while os.waitpid(-1, os.WNOHANG) != (0, 0):
                    pass


def received(connection):
    """Take over the files and the task that a client sends. Returns in a child; the parent tells the client its end."""
    _, files, _, _ = socket.recv_fds(connection, 1, 3)
    with connection.makefile("rb") as sent:
        task = json.loads(sent.read())
    if child := os.fork():
        _, status = os.waitpid(child, 0)
        connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    connection.close()
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    return task


def run(task):
    """Run a task as the interpreter would."""
    os.chdir(task["folder"])
    os.environ.clear()
    os.environ.update(task["environment"])
    first, *arguments = task["words"]
    if not {str(PROJECT / "Snakefile"), str(SCRIPTS / Path(first).name)} & set(task["words"]):
        forget_project()
    if first == "-m":
        module, *arguments = arguments
        sys.argv, sys.path[0] = [module, *arguments], task["folder"]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = task["words"], str(Path(first).resolve().parent)
        runpy.run_path(first, run_name="__main__")


def end(code):
    """End as the interpreter would, but leave all objects alone: to destroy them copies the memory that forks share."""
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def load_project():
    """Load every module of the library in SCRIPTS, which is not left on the path."""
    sys.path.insert(0, str(SCRIPTS))
    for module in pkgutil.walk_packages([str(SCRIPTS / "guda")], "guda."):
        importlib.import_module(module.name)
    sys.path.remove(str(SCRIPTS))


def forget_project():
    """Undo `load_project`."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "guda"]:
        del sys.modules[name]


if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    load_project()
    gc.freeze()
    task = serve(sys.argv[1])
    try:
        run(task)
    except SystemExit as ended:
        end(ended.code)
    end(None)
