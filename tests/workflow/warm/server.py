"""A process that has loaded the libraries and forks for each program that is to run: `server.py SOCKET`.

Most of a short job's time goes into loading torch and diffusers, and half of a plan's into loading Snakemake. Nothing
of this project is loaded here, so that each program finds its own. The server ends when its standard input does.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import socket
import sys
from pathlib import Path

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
    if first == "-m":
        module, *arguments = arguments
        sys.argv, sys.path[0] = [module, *arguments], task["folder"]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = task["words"], str(Path(first).resolve().parent)
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()
    run(serve(sys.argv[1]))
