"""Checks the OpenAPI document of the program: it is valid, and a client generated from it works.

Usage: python check.py RETUNE [SPEC.json]
Needs the packages openapi-spec-validator and openapi-python-client. Without SPEC.json the document is
validated and a client is made. With it the client submits that job, which must have a `fine_tune`, to the
service at RETUNE_URL, waits for its end and lists it. Exits with 1 and a reason where something is wrong.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from openapi_spec_validator import OpenAPIV31SpecValidator

GENERATOR = Path(sys.executable).with_name("openapi-python-client")
PATIENCE = 300


def document(retune):
    """What the program publishes; ends where it is no valid OpenAPI 3.1."""
    text = subprocess.run([retune, "openapi"], check=True, stdout=subprocess.PIPE, text=True).stdout
    published = json.loads(text)
    faults = list(OpenAPIV31SpecValidator(published).iter_errors())
    for fault in faults:
        print("/".join(map(str, fault.absolute_path)), fault.message, file=sys.stderr)
    if faults:
        sys.exit(f"the document has {len(faults)} faults")
    return text


def generate(text, folder):
    """A client's package in `folder`; ends where the generator complains."""
    path = folder / "openapi.json"
    path.write_text(text)
    settings = folder / "settings.yml"
    # No tools to tidy it up.
    settings.write_text("package_name_override: generated\npost_hooks: []\n")
    made = subprocess.run(
        [GENERATOR, "generate", "--path", path, "--config", settings, "--meta", "none",
         "--output-path", folder / "generated"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder)
    complaints = [line for line in made.stdout.splitlines() if "WARNING" in line or "ERROR" in line]
    if made.returncode or complaints:
        sys.exit(made.stdout)


def submit(folder, spec):
    """Submits a job by the generated client, waits for its end and finds it in the list."""
    sys.path.insert(0, str(folder))
    from generated import Client
    from generated.api.transfers import create_transfer, get_transfer, list_transfers
    from generated.models import FineTuneStage, Spec, Transfer, TransferPage

    body = Spec.from_dict(spec)
    if not isinstance(body.fine_tune, FineTuneStage) or body.fine_tune.to_dict() != spec["fine_tune"]:
        sys.exit(f"the client reads fine_tune as {body.fine_tune!r}")
    client = Client(os.environ["RETUNE_URL"])
    made = create_transfer.sync_detailed(client=client, body=body)
    if made.status_code != 202:
        sys.exit(f"{made.status_code}: {made.content.decode()}")

    end = time.monotonic() + PATIENCE
    transfer = made.parsed
    while str(transfer.status) not in ("succeeded", "failed", "cancelled"):
        if time.monotonic() > end:
            sys.exit(f"it is still {transfer.status}")
        transfer = get_transfer.sync(transfer.id, client=client, wait=10)
    if str(transfer.status) != "succeeded" or transfer.spec.fine_tune.epochs != spec["fine_tune"]["epochs"]:
        sys.exit(json.dumps(transfer.to_dict(), indent=2))

    page = list_transfers.sync(client=client)
    if not isinstance(page, TransferPage) or not all(isinstance(row, Transfer) for row in page.data):
        sys.exit(f"the list is {page!r}")
    if transfer.id not in [row.id for row in page.data]:
        sys.exit("the transfer is not in the list")


def main():
    retune, *spec = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(document(retune), folder)
        print("the document is valid, and a client was made")
        if spec:
            submit(folder, json.loads(Path(spec[0]).read_text()))
            print("the client has submitted a job, and it succeeded")


if __name__ == "__main__":
    main()
