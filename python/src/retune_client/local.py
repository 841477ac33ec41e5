"""The program that came with this package, and a service of it on this machine."""

import os
import shutil
import subprocess
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from .client import Client

READY = "retune listening on "


def find_program():
    """The path of `retune`: of this installation, otherwise of the search path.

    A wheel without the program has none (`FileNotFoundError`)."""
    found = next(filter(Path.is_file, carried()), None) or shutil.which("retune")
    if not found:
        raise FileNotFoundError("this installation came without the program retune, and none is on the path")
    return str(found)


def carried():
    """Where this installation put the program, if it has one."""
    try:
        files = metadata.files("retune-client") or []
    except metadata.PackageNotFoundError:
        # Imported from a folder of sources.
        return
    for file in files:
        if file.name == "retune":
            yield Path(file.locate()).resolve()


@contextmanager
def serve(data_dir, roots=(), workers=1, program=None):
    """Runs `retune serve` on a free port of this machine and gives a client of it.

    `roots` are the locations that jobs may read and write, `<data_dir>/objects/` where there are none. Logs go to
    stderr. At the end a running transfer is handed back; the next service over `data_dir` goes on with it."""
    command = [program or find_program(), "serve", "--listen", "127.0.0.1:0", "--workers", str(workers)]
    command += ["--data-dir", str(data_dir)]
    environment = os.environ | ({"RETUNE_STORAGE_ROOTS": ",".join(roots)} if roots else {})
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as service:
        try:
            line = service.stdout.readline()
            if not line.startswith(READY):
                raise RuntimeError(f"retune serve did not start: exit code {service.wait()}, see above")
            yield Client(line.removeprefix(READY).strip())
        finally:
            service.terminate()
