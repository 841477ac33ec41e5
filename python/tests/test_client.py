"""The client against the service itself.

    python test_client.py path/to/retune        # make test-python
"""

import json
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PACKAGE / "src"))

from service import REJECTED, case, served

from retune_client import Client, Report, RetuneError, TransferFailed
from retune_client.http import Connection
from retune_client.progress import line_of


def a_transfer(client, home, spec):
    seen = []
    transfer = client.transfer(spec, key="run-1")
    assert client.transfer(spec, key="run-1").id == transfer.id
    done = transfer.wait(timeout=300, progress=lambda one: seen.append(one.status))
    assert (done.status, done.verdict, done.exit_code) == ("succeeded", "published", 0), done.state
    assert seen[-1] == "succeeded"

    kinds = [event["kind"] for event in done.events(follow=True)]
    assert kinds[0] == "transfer.queued" and kinds[-1] == "transfer.succeeded", kinds
    assert [one.id for one in client.transfers(status="succeeded")] == [transfer.id]
    assert client.get(transfer.id).state == done.state

    report = done.report()
    names = {row.name for row in report.rows()}
    assert {"old tuned model", "new base as it is", "weight_matching"} <= names, names
    assert [row.name for row in report.rows() if row.is_winner] == ["weight_matching"]
    accuracy = {row.name: row.accuracy for row in report.rows()}
    assert accuracy["weight_matching"] == accuracy["old tuned model"] == 1.0, accuracy
    assert accuracy["new base as it is"] < 1.0, accuracy
    assert "<td>100.0 %</td>" in report._repr_html_()
    assert "| weight_matching | 100.0 % |" in report.markdown()

    folder = done.download(home / "carried")
    manifest = json.loads((folder / "manifest.json").read_text())
    for file in manifest["outputs"]:
        assert (folder / file["name"]).stat().st_size == file["size"], file
    written = Path(done.state["result"]["uri"].removeprefix("file://"))
    assert (folder / "model.safetensors").read_bytes() == (written / "model.safetensors").read_bytes()


def refusals(client, spec):
    rejected = client.transfer(spec | REJECTED).wait(timeout=300)
    assert (rejected.status, rejected.verdict, rejected.exit_code) == ("succeeded", "rejected", 3), rejected.state

    missing = spec | {"target": {"base": spec["target"]["base"].replace("/new/", "/nothing/")}}
    try:
        client.transfer(missing).wait(timeout=300)
    except TransferFailed as failure:
        assert failure.transfer.exit_code == 1 and failure.transfer.state["error"]["code"] in str(failure)
    else:
        raise AssertionError("a base that is not there")

    try:
        client.transfer(spec | {"method": ["identity"]})
    except RetuneError as refused:
        assert refused.status == 422 and refused.errors[0]["pointer"] == "/method", refused
    else:
        raise AssertionError("an unknown field")
    assert client.plan(spec)["parameters"] == 8


def a_retune(client, home, spec):
    """A new version of the base carries the fine-tune that follows it, which is promoted by hand."""
    client.put_base_model("bases")
    client.add_base_version("bases", "1", spec["source"]["base"])
    fine_tune = {
        "base_model": "bases", "base_version": "1", "trajectory": spec["source"]["trajectory"], "data": spec["data"],
        "spec": {"methods": ["weight_matching"], "output": spec["output"]},
        "policy": {"on": "new_version", "mode": "publish"},
    }
    client.put_fine_tune("tuned", fine_tune)
    version = client.add_base_version("bases", "2", spec["target"]["base"])
    assert [one["version"] for one in client.base_versions("bases")] == ["2", "1"]

    [transfer] = client.transfers(retune=version["retune"])
    transfer.wait(timeout=300)
    assert client.get_retune(version["retune"])["status"] == "succeeded"
    [made] = client.fine_tune_versions("tuned")
    assert made["transfer"] == transfer.id
    client.promote("tuned", made["version"])
    assert client.fine_tune("tuned")["aliases"]["production"] == made["version"]


def types_are_of_this_program(program):
    command = [sys.executable, "-B", str(PACKAGE / "generate.py"), program, "--check"]
    assert subprocess.run(command).returncode == 0


def no_service():
    try:
        Connection("http://127.0.0.1:9", backoff=()).json("GET", "/v1/transfers")
    except OSError:
        return
    raise AssertionError("nobody listens there")


def html_is_escaped():
    row = {"method": "<b>", "step": 1, "alpha": 1.0}
    document = {"verdict": "published", "winner": "fgmt", "baselines": {}, "candidates": [row], "warnings": ["<i>"]}
    document["recommendation"] = {"action": "transfer", "reasons": []}
    assert "<b>" not in Report(document)._repr_html_() and "<i>" not in Report(document)._repr_html_()


def progress_is_a_line():
    progress = {"done": 5, "total": 20, "unit": "steps", "estimated_finish": "2026-01-02T12:03:10.5Z"}
    state = {"status": "running", "phase": "transferring", "progress": progress}
    expected = f"transferring [{'#' * 6}{' ' * 18}] 5/20 steps until 12:03:10 UTC"
    assert line_of(state) == expected, line_of(state)
    assert line_of({"status": "queued", "phase": None, "progress": None}) == "queued"


def main(program):
    types_are_of_this_program(program)
    no_service()
    html_is_escaped()
    progress_is_a_line()
    with case() as (home, spec), served(program, home) as url:
        client = Client(url)
        a_transfer(client, home, spec)
        refusals(client, spec)
        a_retune(client, home, spec)
    print("the client submits, waits, reads, downloads, is refused and retunes")


if __name__ == "__main__":
    main(sys.argv[1])
