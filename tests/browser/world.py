"""A service with keys, models and data of its own, on a state of its own."""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "python" / "tests"))

from service import case, put_model


class World:
    """Two keys, a job that works, and what is asked of the service beside the pages."""

    def __init__(self, program):
        self.program = program

    def __enter__(self):
        self.case = case()
        self.home, self.spec = self.case.__enter__()
        objects = self.home / "objects"
        # The same network as the new base, its second class told otherwise.
        put_model(objects / "newer", [0, 1, 1, 0, 0, 1, 0.125, 0])
        state = ["--data-dir", str(self.home / "data")]
        self.environment = {
            name: value for name, value in os.environ.items()
            if not name.startswith("RETUNE_") and name != "DATABASE_URL"
        } | {
            "RETUNE_STORAGE_ROOTS": f"file://{objects}/", "RETUNE_WEBHOOKS_ALLOW_PRIVATE": "true",
            "RETUNE_LOG_LEVEL": "error",
        }
        self.keys = {
            "admin": self.run("keys", "create", "--name", "operator", "--role", "admin", *state),
            "reader": self.run("keys", "create", "--name", "reader", "--role", "read", *state),
        }
        serve = [program := self.program, "serve", "--listen", "127.0.0.1:0", "--workers", "1", *state]
        self.process = subprocess.Popen(serve, stdout=subprocess.PIPE, text=True, env=self.environment)
        line = self.process.stdout.readline()
        if not line.startswith("retune listening on "):
            sys.exit(f"{program} does not serve: {line}")
        self.url = line.split()[-1]
        return self

    def __exit__(self, *failure):
        self.process.terminate()
        self.process.wait()
        self.case.__exit__(*failure)

    def run(self, *arguments):
        ran = subprocess.run(
            [self.program, *arguments], env=self.environment, check=True, stdout=subprocess.PIPE, text=True)
        return ran.stdout.strip()

    def ask(self, method, path, body=None):
        request = urllib.request.Request(
            self.url + path, None if body is None else json.dumps(body).encode(), method=method,
            headers={"Authorization": f"Bearer {self.keys['admin']}", "Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def put_base_model(self):
        """`bases` with its version 1, and a fine-tune of it whose results wait for somebody."""
        description = {"description": "Eight weights, two classes", "licence": "MIT"}
        self.ask("PUT", "/v1/base_models/bases", description)
        self.add_version("1", self.spec["source"]["base"])
        self.put_fine_tune("news", "propose")

    def put_fine_tune(self, name, mode, on="new_version"):
        self.ask("PUT", f"/v1/fine_tunes/{name}", {
            "base_model": "bases", "base_version": "1", "trajectory": self.spec["source"]["trajectory"],
            "data": self.spec["data"], "spec": {"methods": ["weight_matching"], "output": self.spec["output"]},
            "policy": {"on": on, "mode": mode},
        })

    def add_version(self, version, uri):
        body = {"version": version, "uri": uri}
        if version != "1":
            body |= {"parent": "1"}
        return self.ask("POST", "/v1/base_models/bases/versions", body)
