"""A gate by another program, before anything is published: judges the results that wait for it.

    RETUNE_URL=... RETUNE_API_KEY=rt_... python external_gate.py GATE [TRANSFER] -- COMMAND ... {model} ...

The job says `"gate": {"external": {"name": GATE}}`: its result waits in a staging place. Without TRANSFER everything
that waits for GATE is judged. `{model}` is the folder that the result is downloaded into. A command that ends with 0
lets the result be published; where it prints a JSON object as its last line, that is kept as the metrics.
RETUNE_EVALUATION_URL, if set, is told too: where people find the whole evaluation. The key needs the role `submit`.

Exit code 0: all passed, or nothing waits; 3: the command refused at least one.
"""

import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

if find_spec("retune_client") is None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python/src"))

from retune_client import Client


def waiting(client, gate, transfer):
    found = [client.get(transfer)] if transfer else list(client.transfers(status="awaiting_evaluation"))
    return [one for one in found if one.awaits == gate]


def metrics_of(output):
    """The JSON object of the last line, if there is one."""
    last = (output.strip().splitlines() or [""])[-1]
    try:
        found = json.loads(last)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def judged(transfer, gate, command):
    with tempfile.TemporaryDirectory() as folder:
        transfer.download(folder)
        program = [part.replace("{model}", folder) for part in command]
        ran = subprocess.run(program, stdout=subprocess.PIPE, text=True)
    passed = ran.returncode == 0
    transfer.evaluate(gate, passed, metrics_of(ran.stdout), os.environ.get("RETUNE_EVALUATION_URL"))
    print(f"{transfer.id} {'passed' if passed else 'refused'}")
    return passed


def main():
    divider = sys.argv.index("--")
    gate, *transfer = sys.argv[1:divider]
    command = sys.argv[divider + 1 :]
    found = waiting(Client(), gate, transfer[0] if transfer else None)
    return 0 if all([judged(one, gate, command) for one in found]) else 3


if __name__ == "__main__":
    sys.exit(main())
