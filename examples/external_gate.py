"""A gate by another program, after the transfer: downloads a fine-tune's version, judges it, promotes it.

    RETUNE_URL=... RETUNE_API_KEY=rt_... python external_gate.py FINE_TUNE VERSION -- COMMAND ... {model} ...

`{model}` is the folder that the result is downloaded into. A command that ends with 0 has the version promoted.
Exit code 0: promoted; 3: the command refused it; 1: the version was rejected by the transfer's own gate. The
fine-tune's policy is `publish`: with `promote` the service would not wait for this program.
"""

import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

if find_spec("retune_client") is None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python/src"))

from retune_client import Client


def judged(client, fine_tune, version, command):
    [found] = [one for one in client.fine_tune_versions(fine_tune) if one["version"] == version]
    if found["verdict"] != "published":
        print(f"{fine_tune} version {version} was rejected by its gate", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        client.get(found["transfer"]).download(folder)
        if subprocess.run([part.replace("{model}", folder) for part in command]).returncode != 0:
            print(f"{fine_tune} version {version} is not promoted: {command[0]} refused it", file=sys.stderr)
            return 3
    client.promote(fine_tune, version)
    print(f"{fine_tune} version {version} is promoted: {found['uri']}")
    return 0


def main():
    divider = sys.argv.index("--")
    fine_tune, version = sys.argv[1:divider]
    return judged(Client(), fine_tune, int(version), sys.argv[divider + 1 :])


if __name__ == "__main__":
    sys.exit(main())
