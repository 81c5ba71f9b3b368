"""Python runs this file when it starts with its folder on PYTHONPATH.

Snakemake and the jobs' programs are then left to the process that listens at $WARM_PYTHON and has loaded the libraries
already (see server.py): a fork of it runs the program, with the files of this process, which waits and ends as it did.
"""

import os
import sys

ADDRESS = os.environ.get("WARM_PYTHON")
WORDS = sys.orig_argv[1:]

if ADDRESS and (WORDS[:2] == ["-m", "snakemake"] or "workflow_scripts/" in "".join(WORDS[:1])):
    import json
    import socket

    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(ADDRESS)
        socket.send_fds(connection, [b"."], [0, 1, 2])
        task = {"words": WORDS, "folder": os.getcwd(), "environment": dict(os.environ)}  # noqa: PTH109
        connection.sendall(json.dumps(task).encode())
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(16)
    status = int(answer) if answer else -9
    if status < 0:
        os.kill(os.getpid(), -status)
    os._exit(status)
