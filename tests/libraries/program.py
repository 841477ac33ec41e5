"""The program under test: what it answers, as numbers, as a refusal, or as neither."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

SECONDS = 120


@dataclass(frozen=True)
class Numbers:
    loss: float
    accuracy: float

    def __str__(self):
        return f"loss {self.loss:.6g} accuracy {self.accuracy:.4f}"


@dataclass(frozen=True)
class Refused:
    """A refusal, with a code and a sentence."""

    code: str
    detail: str

    def __str__(self):
        return f"refused, {self.code}: {self.detail}"


@dataclass(frozen=True)
class Crashed:
    """Neither an answer nor a refusal of the input."""

    detail: str

    def __str__(self):
        return f"crashed: {self.detail}"


@dataclass(frozen=True)
class Folder:
    """A result that was published."""

    path: Path

    def __str__(self):
        return "published"


class Program:
    def __init__(self, path, folder):
        self.path = path
        (folder / "scratch").mkdir()
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("RETUNE_")} | {
            "RETUNE_WORKER_SCRATCH_DIR": str(folder / "scratch"),
            "RETUNE_WORKER_CACHE_DIR": "none",
            "RETUNE_LOG_LEVEL": "error",
            "RAYON_NUM_THREADS": "1",
        }

    def evaluate(self, model, data):
        """`Numbers`, `Refused` or `Crashed`."""
        answer = self.run("evaluate", str(model), "--data", str(data))
        if not isinstance(answer, dict):
            return answer
        if answer["loss"] is None:
            return Crashed("the loss is null")
        # Of a regression it is R².
        return Numbers(answer["loss"], answer.get("accuracy", answer.get("r2")))

    def transfer(self, spec, file):
        """`Folder`, `Refused` or `Crashed`."""
        file.write_text(json.dumps(spec))
        answer = self.run("transfer", str(file))
        if not isinstance(answer, dict):
            return answer
        return Folder(Path(answer["uri"].removeprefix("file://")))

    def run(self, *arguments):
        command = [self.path, *arguments, "--json"]
        try:
            ran = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return Crashed(f"no answer within {SECONDS} s")
        try:
            answer = json.loads(ran.stdout.strip().splitlines()[-1])
        except (IndexError, json.JSONDecodeError):
            return Crashed(f"exit code {ran.returncode}, {(ran.stderr or ran.stdout).strip()[-200:]}")
        error = answer.get("error")
        if error is None:
            return answer
        if ran.returncode != 2:
            return Crashed(f"exit code {ran.returncode}, {error['code']}: {error['detail']}")
        place = f"{error['pointer']}: " if error.get("pointer") else ""
        return Refused(error["code"], place + error["detail"])
