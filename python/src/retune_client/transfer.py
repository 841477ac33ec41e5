"""One transfer of a service."""

import hashlib
import json
import time
from pathlib import Path

from . import types
from .report import Report

ENDED = ("succeeded", "failed", "cancelled")
# What one request waits for a change; the service holds it so long.
POLL_SECONDS = 30
CHUNK_BYTES = 1 << 20


class TransferFailed(Exception):
    """A transfer that ended `failed` or `cancelled`. `transfer` is the transfer."""

    def __init__(self, transfer):
        self.transfer = transfer
        error = transfer.state["error"] or {"code": transfer.status, "detail": ""}
        super().__init__(f"transfer {transfer.id} {transfer.status}: {error['code']}: {error['detail']}")


class Transfer:
    """`state` is the transfer as the service last told it; `refresh` and `wait` ask again."""

    def __init__(self, connection, state: types.Transfer):
        self.connection, self.state = connection, state

    @property
    def id(self) -> str:
        return self.state["id"]

    @property
    def path(self):
        return f"/v1/transfers/{self.id}"

    @property
    def status(self) -> types.Status:
        return self.state["status"]

    @property
    def verdict(self) -> types.Verdict | None:
        """`published` or `rejected`, once it has succeeded."""
        return self.state["verdict"]

    @property
    def recommendation(self) -> types.Recommendation | None:
        return self.state["recommendation"]

    @property
    def is_over(self):
        return self.status in ENDED

    @property
    def exit_code(self):
        """As `retune watch` ends: 0 published, 3 rejected, 1 failed or cancelled."""
        if self.status != "succeeded":
            return 1
        return 0 if self.verdict == "published" else 3

    def refresh(self):
        self.state = self.connection.json("GET", self.path)
        return self

    def wait(self, timeout=None, progress=None):
        """Waits until it is over, and returns itself; a rejected one has succeeded. `progress` is called with the
        transfer after every change. Raises `TransferFailed`, or `TimeoutError` after `timeout` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while not self.is_over:
            left = POLL_SECONDS if end is None else int(min(POLL_SECONDS, end - time.monotonic()))
            if left < 0:
                raise TimeoutError(f"transfer {self.id} is still {self.status} after {timeout} s")
            self.state = self.connection.json("GET", f"{self.path}?wait={max(left, 1)}")
            if progress:
                progress(self)
        if self.status != "succeeded":
            raise TransferFailed(self)
        return self

    def events(self, follow=False):
        """Its events, oldest first. With `follow` those to come too, until it is over."""
        after = ""
        while True:
            over = not follow or self.refresh().is_over
            page = self.connection.json("GET", f"{self.path}/events{after}")
            yield from page["data"]
            if page["data"]:
                after = f"?after={page['data'][-1]['seq']}"
            if page["next"] is None and over:
                return
            if page["next"] is None:
                time.sleep(1)

    def report(self) -> Report:
        return Report(self.connection.json("GET", f"{self.path}/report"))

    def download(self, folder):
        """Writes the result's files into a folder, and returns its path. Each file's SHA-256 is checked against the
        manifest, which is written last: a folder with a manifest is whole."""
        folder = Path(folder)
        with self.connection.open("GET", f"{self.path}/files/manifest.json") as answer:
            manifest = answer.read()
        for file in json.loads(manifest)["outputs"]:
            self.download_file(file, folder / file["name"])
        (folder / "manifest.json").write_bytes(manifest)
        return folder

    def download_file(self, file, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part, digest = path.with_name(path.name + ".part"), hashlib.sha256()
        with self.connection.open("GET", f"{self.path}/files/{file['name']}") as answer, part.open("wb") as written:
            while chunk := answer.read(CHUNK_BYTES):
                digest.update(chunk)
                written.write(chunk)
        if digest.hexdigest() != file["sha256"]:
            part.unlink()
            raise OSError(f"{file['name']} has another SHA-256 than the manifest says; download it again")
        part.replace(path)

    def cancel(self):
        self.state = self.connection.json("POST", f"{self.path}/cancel")
        return self

    @property
    def awaits(self) -> str | None:
        """The external gate that its staged result waits for."""
        if self.status != "awaiting_evaluation":
            return None
        return self.state["spec"]["gate"]["external"]["name"]

    def evaluate(self, name, passed, metrics=None, url=None):
        """What the external gate `name` says of its staged result."""
        evaluation: types.Evaluation = {"name": name, "passed": passed, "metrics": metrics or {}}
        if url:
            evaluation["url"] = url
        self.state = self.connection.json("POST", f"{self.path}/evaluations", evaluation)
        return self

    def position(self) -> types.QueuePosition:
        """What stands before it in the queue."""
        return self.connection.json("GET", f"{self.path}/position")

    def delete(self, files=False):
        """Deletes it, once it is over; with `files` its result too."""
        self.connection.json("DELETE", f"{self.path}?files={'true' if files else 'false'}")

    def retry(self):
        """Queues a failed or cancelled transfer again."""
        self.state = self.connection.json("POST", f"{self.path}/retry")
        return self

    def __repr__(self):
        return f"<Transfer {self.id} {self.status}{f' {self.verdict}' if self.verdict else ''}>"
