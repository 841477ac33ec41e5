"""Tries a service against its own OpenAPI document, in three runs: as an administrator on what the runs
make themselves, as one on things that are there, and without a key.

Usage: python run.py RETUNE [--seconds N] [ARGUMENTS OF SCHEMATHESIS ...]
Exits with 1 where an answer is not as the document says, or the service logs an error.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")


class Service:
    """`retune serve` with a state of its own, and an administrator's key."""

    def __init__(self, retune, folder):
        self.retune, self.folder = retune, folder
        self.environment = {
            name: value for name, value in os.environ.items()
            if not name.startswith("RETUNE_") and name != "DATABASE_URL"
        } | {"RETUNE_STORAGE_ROOTS": f"file://{folder}/objects/", "RETUNE_LOG_LEVEL": "warn"}
        state = ["--data-dir", str(folder / "state")]
        self.environment["RETUNE_API_KEY"] = self.command("keys", "create", *state).strip()
        self.log = open(folder / "log", "wb")
        serve = [retune, "serve", "--listen", "127.0.0.1:0", "--workers", "0", *state]
        self.process = subprocess.Popen(
            serve, stdout=subprocess.PIPE, stderr=self.log, env=self.environment, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("retune listening on "):
            sys.exit((folder / "log").read_text())
        self.url = line.split()[-1]
        self.environment["RETUNE_URL"] = self.url

    def command(self, *arguments):
        ran = subprocess.run(
            [self.retune, *arguments], env=self.environment, check=True, stdout=subprocess.PIPE, text=True)
        return ran.stdout

    def json(self, *arguments):
        return json.loads(self.command(*arguments, "--json"))

    def file(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    def model(self, name):
        self.file(f"objects/{name}/config.json", "{}")
        self.file(f"objects/{name}/model.safetensors", name)
        return f"file://{self.folder}/objects/{name}/"

    def post(self, path, body):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), {
            "Authorization": f"Bearer {self.environment['RETUNE_API_KEY']}",
            "Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def end(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()
        return (self.folder / "log").read_text()


def furnish(service):
    """Makes one of everything; the parameters of paths that lead there."""
    output = f"file://{service.folder}/objects/out/"
    service.command("base-models", "put", "seeded")
    service.command("base-models", "add-version", "seeded", "1", service.model("seeded-1"))
    service.command("base-models", "alias", "seeded", "production", "1")
    fine_tune = {
        "base_model": "seeded", "base_version": "1", "trajectory": service.model("tuned"),
        "spec": {"methods": ["identity"], "output": output},
        "policy": {"on": "new_version", "mode": "propose"},
    }
    service.command("fine-tunes", "put", "seeded", service.file("fine-tune.json", fine_tune))
    added = service.json("base-models", "add-version", "seeded", "2", service.model("seeded-2"))
    spec = {
        "source": {"base": service.model("seeded-1"), "trajectory": service.model("tuned")},
        "target": {"base": service.model("seeded-2")}, "methods": ["identity"], "output": output,
    }
    transfer = service.json("submit", service.file("spec.json", spec))["id"]
    place = "/v1/base_models/seeded/inbound_tokens"
    inbound = service.post(place, {"prefix": f"file://{service.folder}/objects/"})
    endpoint = {"url": "https://example.com/hooks/retune"}
    request = urllib.request.Request(
        f"{service.url}/v1/webhook_endpoints/seeded", json.dumps(endpoint).encode(), {
            "Authorization": f"Bearer {service.environment['RETUNE_API_KEY']}",
            "Content-Type": "application/json"}, method="PUT")
    urllib.request.urlopen(request).close()
    return {
        "/v1/(base_models|fine_tunes|webhook_endpoints)/": {"path.name": "seeded"},
        "/versions/": {"path.version": "1"},
        "/aliases/": {"path.alias": "production"},
        "/v1/inbound/": {"path.token": inbound["token"]},
        "/v1/transfers/": {"path.id": transfer},
        "/v1/retunes/": {"path.id": added["retune"]},
    }


def configuration(parameters, folder):
    """The common settings with fixed parameters for the paths that match."""
    text = (HERE / "schemathesis.toml").read_text()
    for pattern, values in parameters.items():
        text += f"\n[[operations]]\ninclude-path-regex = {json.dumps(pattern)}\n[operations.parameters]\n"
        text += "".join(f"{json.dumps(name)} = {json.dumps(value)}\n" for name, value in values.items())
    path = folder / f"{len(parameters)}.toml"
    path.write_text(text)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("retune", type=Path)
    parser.add_argument("--seconds", type=int, default=60, help="of each run")
    arguments, more = parser.parse_known_args()
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)  # Root's PostgreSQL is another user's.
    (folder / "objects").mkdir()
    service = Service(str(arguments.retune.resolve()), folder)
    failed = False
    try:
        key = ["-H", f"Authorization: Bearer {service.environment['RETUNE_API_KEY']}"]
        alone = ["--phases", "coverage,fuzzing"]
        runs = [("as an administrator", {}, key),
                ("as one, on what is there", furnish(service), key + alone),
                ("without a key", {}, alone)]
        for name, parameters, how in runs:
            print(f"== {name}", flush=True)
            settings = configuration(parameters, folder)
            ran = subprocess.run([
                SCHEMATHESIS, "--config-file", settings, "run", "--url", service.url,
                "--max-time", str(arguments.seconds), *how, *more, f"{service.url}/openapi.json"])
            failed |= ran.returncode != 0
    finally:
        log = service.end()
        shutil.rmtree(folder)
    faults = [line for line in log.splitlines() if " ERROR " in line or "panicked" in line]
    print(*faults, sep="\n")
    sys.exit(1 if failed or faults else 0)


main()
