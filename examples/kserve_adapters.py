"""Puts the adapter of a promoted version into a KServe LLMInferenceService: a command for promotion_webhook.py.

    python promotion_webhook.py 8081 -- python kserve_adapters.py llm.yaml [COMMAND ...]

The adapter is called like the fine-tune. Where the file has changed, COMMAND runs, `kubectl apply -f llm.yaml` or a
`git commit`. Exit code 1, and nothing is written, where the adapter is for another base than the service has: such an
adapter may load and change nothing. Needs PyYAML and the client; reads RETUNE_URL, RETUNE_API_KEY, RETUNE_FINE_TUNE and
RETUNE_ALIAS.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import yaml

if find_spec("retune_client") is None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python/src"))

from retune_client import Client


def adapter_of(version):
    """Where the adapter of a version lies. Its job must have asked for one."""
    return f"{version['uri'].rstrip('/')}/adapter/"


def objection(service, version, report):
    """Why the adapter must not be served there, if it must not."""
    served, target = service["spec"]["model"]["uri"], version["target_base"]
    if served.rstrip("/") != target.rstrip("/"):
        return f"the adapter is for {target}, and the service has {served}"
    if not report.get("update"):
        return "the result has no adapter; its job needs options.update"
    return None


def put_adapter(service, name, uri):
    """Whether the service did not have it yet."""
    adapters = service["spec"]["model"].setdefault("lora", {}).setdefault("adapters", [])
    entry = next((one for one in adapters if one["name"] == name), None)
    if entry is None:
        adapters.append({"name": name, "uri": uri})
        return True
    changed = entry["uri"] != uri
    entry["uri"] = uri
    return changed


def main(path, *command):
    client, name = Client(), os.environ["RETUNE_FINE_TUNE"]
    version = client.fine_tune_alias(name, os.environ["RETUNE_ALIAS"])
    service = yaml.safe_load(Path(path).read_text())
    refused = objection(service, version, client.get(version["transfer"]).report().document)
    if refused:
        print(f"{name} {version['version']} is not handed over: {refused}", file=sys.stderr)
        return 1
    if not put_adapter(service, name, adapter_of(version)):
        return 0

    part = Path(f"{path}.part")
    part.write_text(yaml.safe_dump(service, sort_keys=False))
    part.replace(path)
    return subprocess.run(command).returncode if command else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
