"""The pipeline step and the examples that rest on the client, against the service itself; the files for CI.

    python test_pipelines.py path/to/retune        # make test-python
"""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python/src"))

from service import REJECTED, case, served

from retune_client import Client

PATIENCE_SECONDS = 60


def step(spec, home, key, *arguments):
    """The exit code and the table of a step, as CI runs it."""
    (home / "spec.json").write_text(json.dumps(spec))
    table = home / "table.md"
    command = [sys.executable, "-m", "retune_client.pipeline", home / "spec.json", "--key", key, "--table", table]
    path = {"PYTHONPATH": str(ROOT / "python/src"), "GITHUB_OUTPUT": str(home / "output")}
    code = subprocess.run([*command, *arguments], env=os.environ | path, stdout=subprocess.DEVNULL).returncode
    assert (home / "output").read_text().endswith(f"code={code}\n")
    return code, table.read_text()


def steps(home, spec):
    """Every end has its code."""
    target = spec["target"]["base"]
    elsewhere = spec | {"target": {"base": "file:///x/"}}
    code, table = step(elsewhere, home, "1", "--target", target, "--download", home / "got")
    assert code == 0 and "| weight_matching | 100.0 % |" in table and target in table, table
    assert (home / "got/model.safetensors").exists()

    code, table = step(spec | REJECTED, home, "2")
    assert code == 3 and table.startswith("**Rejected by the gate**"), table
    code, table = step(spec, home, "3", "--target", target.replace("/new/", "/nothing/"))
    assert code == 1 and "not_found" in table, table
    code, table = step(spec | {"methods": ["magic"]}, home, "4")
    assert code == 2 and "/methods" in table, table
    code, table = step([], home, "5")
    assert code == 2 and table.startswith("**Refused.**"), table


@contextmanager
def receiving(client, home):
    """The receiver of promotions, which writes down what it is told, and its subscription."""
    write = "import os; print(os.environ['RETUNE_ALIAS'], os.environ['RETUNE_URI'], file=open(os.environ['NOTE'], 'a'))"
    endpoint, events = "/v1/webhook_endpoints/serving", ["fine_tune.version.*"]
    made = client.put(endpoint, {"url": "http://127.0.0.1:9/", "events": events})
    command = [sys.executable, "-B", ROOT / "examples/promotion_webhook.py", "0", "--", sys.executable, "-c", write]
    environment = os.environ | {"WEBHOOK_SECRET": made["secret"], "NOTE": str(home / "note")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as receiver:
        try:
            url = f"http://127.0.0.1:{receiver.stdout.readline().split()[-1]}/"
            client.put(endpoint, {"url": url, "events": events})
            yield url
        finally:
            receiver.terminate()


def gate(*command):
    program = [sys.executable, "-B", ROOT / "examples/external_gate.py", "judge", "--", *command]
    return subprocess.run(program).returncode


def until(wanted):
    end = time.monotonic() + 300
    while not wanted():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


def gate_and_hand_over(client, home, spec):
    """Another program refuses a result before it is published, then takes one; it is promoted, and handed over."""
    client.put_base_model("bases")
    client.add_base_version("bases", "1", spec["source"]["base"])
    fine_tune = {
        "base_model": "bases", "base_version": "1", "trajectory": spec["source"]["trajectory"], "data": spec["data"],
        "spec": {
            "methods": ["weight_matching"], "output": spec["output"],
            "gate": {"external": {"name": "judge", "deadline_hours": 1}},
        },
        "policy": {"on": "new_version", "mode": "promote"},
    }
    client.put_fine_tune("tuned", fine_tune)
    version = client.add_base_version("bases", "2", spec["target"]["base"])
    [transfer] = client.transfers(retune=version["retune"])
    until(lambda: transfer.refresh().awaits)
    assert client.get_retune(version["retune"])["counts"]["awaiting_evaluation"] == 1

    assert gate("false") == 3
    refused = transfer.wait(timeout=300)
    assert (refused.verdict, refused.exit_code) == ("rejected", 3), refused.state
    assert refused.report().document["evaluation"] == {"answered": True, "name": "judge", "passed": False}
    assert "production" not in client.fine_tune("tuned")["aliases"]

    again = client.retune({"fine_tunes": ["tuned"], "targets": [spec["target"]["base"]]})
    [transfer] = client.transfers(retune=again["id"])
    until(lambda: transfer.refresh().awaits)
    judge = ["sh", "-c", "test -f {model}/model.safetensors && echo '{\"score\": 0.75}'"]
    assert gate(*judge) == 0
    taken = transfer.wait(timeout=300)
    assert taken.verdict == "published" and taken.state["evaluation"]["answer"]["metrics"] == {"score": 0.75}
    with receiving(client, home) as url:
        client.promote("tuned", 2)
        note, end = home / "note", time.monotonic() + PATIENCE_SECONDS
        while not note.exists() or not note.read_text().endswith("\n"):
            assert time.monotonic() < end, "nothing was handed over"
            time.sleep(0.2)
        assert note.read_text().split() == ["production", client.fine_tune_alias("tuned")["uri"]]
        forged = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-d", "{}", "-H", "webhook-timestamp: 1", url]
        assert subprocess.run(forged, stdout=subprocess.PIPE, text=True).stdout == "401"


def kserve(client, home, spec):
    """The adapter of a promoted version comes into a service of its base, and into no other. Without a cluster."""
    name, path = "adapted", home / "llm.yaml"
    service = yaml.safe_load((ROOT / "examples/kserve/llm.yaml").read_text())
    environment = os.environ | {"RETUNE_FINE_TUNE": name, "RETUNE_ALIAS": "production"}

    def hand_over(base):
        service["spec"]["model"]["uri"] = base
        path.write_text(yaml.safe_dump(service))
        command = [sys.executable, "-B", ROOT / "examples/kserve_adapters.py", path, "touch", home / "applied"]
        return subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True)

    fine_tune = client.fine_tune("tuned")
    job = {"methods": ["weight_matching"], "output": spec["output"]}
    copied = {key: fine_tune[key] for key in ("base_model", "base_version", "trajectory", "data")}
    for number, update in enumerate([None, {"format": "lora", "rank": 1}], 1):
        options = {"options": {"update": update}} if update else {}
        client.put_fine_tune(name, copied | {"spec": job | options, "policy": {"on": "manual", "mode": "publish"}})
        retune = client.retune({"fine_tunes": [name], "targets": [spec["target"]["base"]]})
        [transfer] = client.transfers(retune=retune["id"])
        transfer.wait(timeout=300)
        client.promote(name, number)
        if not update:
            assert "options.update" in hand_over(spec["target"]["base"]).stderr

    other = hand_over(spec["source"]["base"])
    assert other.returncode == 1 and spec["target"]["base"] in other.stderr, other
    assert not (home / "applied").exists()
    assert hand_over(spec["target"]["base"]).returncode == 0 and (home / "applied").exists()
    written = yaml.safe_load(path.read_text())["spec"]["model"]["lora"]["adapters"]
    adapters = {one["name"]: one["uri"] for one in written}
    assert adapters.keys() == {"summaries", name}
    assert Path(adapters[name].removeprefix("file://"), "adapter_config.json").is_file(), adapters


def scripted(script, home, variables):
    """The exit code of a shell script of a CI file, without its installation of the client."""
    lines = [line for line in script.splitlines() if " pip install " not in line]
    assert len(lines) == len(script.splitlines()) - 1
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "python/src"), "PATH": path} | variables
    command = ["bash", "-eo", "pipefail", "-c", "\n".join(lines)]
    return subprocess.run(command, cwd=home, env=environment, stdout=subprocess.DEVNULL).returncode


def github(home, target):
    """The scripts of the action, as a runner runs them: that of the transfer, then that of the code."""
    action = yaml.safe_load((ROOT / "examples/ci/github-action/action.yml").read_text())["runs"]
    commands = [one for one in action["steps"] if "run" in one]
    assert action["using"] == "composite" and all(one["shell"] == "bash" for one in commands)
    transfer, comment, judge = (one["run"] for one in commands)
    subprocess.run(["bash", "-n"], input=comment, text=True, check=True)

    (home / "summary").unlink(missing_ok=True)
    files = {"GITHUB_OUTPUT": str(home / "github"), "GITHUB_STEP_SUMMARY": str(home / "summary")}
    files["RUNNER_TEMP"] = str(home)
    variables = {"SPEC": "spec.json", "TARGET": target, "KEY": f"github-{target}"}
    assert scripted(transfer, home, files | variables) == 0
    assert (home / "summary").read_text() == (home / "retune.md").read_text()
    code = (home / "github").read_text().strip().rpartition("=")[2]
    return subprocess.run(["bash", "-e", "-c", judge], env=os.environ | {"CODE": code}).returncode


def gitlab(home, target):
    header, component = yaml.safe_load_all((ROOT / "examples/ci/gitlab/retune.yml").read_text())
    assert {"spec", "target_file", "client"} <= header["spec"]["inputs"].keys()
    (home / "base.txt").write_text(target)
    variables = {"SPEC": "spec.json", "TARGET_FILE": "base.txt", "CI_PROJECT_ID": "7", "CI_COMMIT_SHA": target}
    return scripted("\n".join(component["retune"]["script"]), home, variables)


def hosts(home, spec):
    """The scripts of both hosts end as the transfer does, with a table. The hosts themselves are not here."""
    target = spec["target"]["base"]
    for host in (github, gitlab):
        (home / "spec.json").write_text(json.dumps(spec))
        assert host(home, target) == 0
        assert "| weight_matching | 100.0 % |" in (home / "retune.md").read_text()
        (home / "spec.json").write_text(json.dumps(spec | REJECTED))
        # Another location of the same base, hence another key.
        assert host(home, target.removesuffix("/")) == 3
        assert (home / "retune.md").read_text().startswith("**Rejected by the gate**")


def main(program):
    with case() as (home, spec), served(program, home) as url:
        os.environ["RETUNE_URL"] = url
        steps(home, spec)
        hosts(home, spec)
        client = Client(url)
        gate_and_hand_over(client, home, spec)
        kserve(client, home, spec)
    print("the step tells every end apart; a version is judged, promoted and handed over")


if __name__ == "__main__":
    main(sys.argv[1])
