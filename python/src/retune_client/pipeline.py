"""One step of a pipeline: submits a job, waits, and writes its table.

    python -m retune_client.pipeline spec.json --key RUN [--target URI] [--table table.md] [--download DIR]

Exit codes: 0 a model was published; 3 the gate rejected it; 1 the transfer failed or was cancelled; 2 the job was
refused. A step that is tried again with the same `--key` waits for the transfer that it submitted before.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from .client import Client
from .http import RetuneError
from .transfer import TransferFailed


def arguments_of(command):
    parser = argparse.ArgumentParser(prog="python -m retune_client.pipeline", description=__doc__.splitlines()[0])
    parser.add_argument("spec", help="the job, a JSON file")
    parser.add_argument("--key", required=True, help="names the run of the pipeline")
    parser.add_argument("--target", metavar="URI", help="the new base, instead of the job's")
    parser.add_argument("--table", type=Path, help="write the report's table here, as Markdown")
    parser.add_argument("--download", type=Path, metavar="DIR", help="write a published result here")
    return parser.parse_args(command)


def job_of(arguments):
    """The job of the file; `ValueError` where it is none."""
    spec = json.loads(Path(arguments.spec).read_text())
    if not isinstance(spec, dict):
        raise ValueError(f"{arguments.spec} is no JSON object")
    if arguments.target:
        spec["target"] = {"base": arguments.target}
    return spec


def run(arguments, client):
    """The exit code, and the table."""
    spec = job_of(arguments)
    transfer = client.transfer(spec, arguments.key)
    print(f"transfer {transfer.id}", file=sys.stderr)
    try:
        transfer.wait(progress=lambda one: print(one.state["phase"] or one.status, file=sys.stderr))
    except TransferFailed as failure:
        return transfer.exit_code, f"**Not carried.** {failure}\n"

    title = "Carried" if transfer.verdict == "published" else "Rejected by the gate"
    place = (transfer.state["result"] or {}).get("uri", "")
    table = f"**{title}** onto `{spec['target']['base']}`\n\n{transfer.report().markdown()}\n\n{place}\n"
    if arguments.download and transfer.verdict == "published":
        transfer.download(arguments.download)
    return transfer.exit_code, table


def main(command=None):
    arguments = arguments_of(command)
    try:
        code, table = run(arguments, Client())
    except RetuneError as refused:
        code, table = 2 if refused.status < 500 else 1, f"**Refused.** {refused}\n"
    except (FileNotFoundError, ValueError) as fault:
        code, table = 2, f"**Refused.** {fault}\n"
    print(table)
    if arguments.table:
        arguments.table.write_text(table)
    # What GitHub's later steps read.
    if output := os.environ.get("GITHUB_OUTPUT"):
        with open(output, "a") as written:
            written.write(f"code={code}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
