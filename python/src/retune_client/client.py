"""The service, from Python."""

import os
import uuid
from pathlib import Path
from urllib.parse import quote, urlencode

from . import types
from .http import Connection
from .transfer import Transfer


def key_of_environment():
    key, path = os.environ.get("RETUNE_API_KEY"), os.environ.get("RETUNE_API_KEY_FILE")
    return Path(path).read_text().rstrip("\r\n") if path and not key else key


class Client:
    """`url` and `api_key` default to `RETUNE_URL` and `RETUNE_API_KEY` (or the file that `RETUNE_API_KEY_FILE` names), as
    for the command line."""

    def __init__(self, url=None, api_key=None):
        url = url or os.environ.get("RETUNE_URL", "http://127.0.0.1:8080")
        self.connection = Connection(url, api_key or key_of_environment())

    # Transfers

    def transfer(self, spec: types.Spec, key=None) -> Transfer:
        """Submits a job. The same `key` and job again give the same transfer; a fresh key is drawn where none is
        given."""
        return Transfer(self.connection, self.post("/v1/transfers", spec, key or str(uuid.uuid4())))

    def plan(self, spec: types.Spec) -> types.Plan:
        """Checks a job by the headers of its inputs, and estimates its cost."""
        return self.post("/v1/transfers:plan", spec)

    def get(self, transfer) -> Transfer:
        """A transfer by its id."""
        return Transfer(self.connection, self.connection.json("GET", f"/v1/transfers/{quote(transfer, safe='')}"))

    def transfers(self, **filters):
        """Transfers, newest first: `status`, `base`, `name`, `retune`, and `metadata={"team": "x"}`."""
        for name, value in filters.pop("metadata", {}).items():
            filters[f"metadata.{name}"] = value
        for state in self.pages("/v1/transfers", **filters):
            yield Transfer(self.connection, state)

    # Base models

    def put_base_model(self, name, base_model: types.NewBaseModel | None = None) -> types.BaseModel:
        return self.put(f"/v1/base_models/{quote(name, safe='')}", base_model or {})

    def base_models(self):
        return self.pages("/v1/base_models")

    def add_base_version(self, name, version, uri, **fields) -> types.BaseVersion:
        """Registers a version. It begins a retune of the fine-tunes that follow the model."""
        body = {"version": version, "uri": uri, **fields}
        return self.post(f"/v1/base_models/{quote(name, safe='')}/versions", body)

    def base_versions(self, name):
        return self.pages(f"/v1/base_models/{quote(name, safe='')}/versions")

    def put_base_alias(self, name, alias, version) -> types.BaseAlias:
        path = f"/v1/base_models/{quote(name, safe='')}/aliases/{quote(alias, safe='')}"
        return self.put(path, {"version": version})

    # Fine-tunes

    def put_fine_tune(self, name, fine_tune: types.NewFineTune) -> types.FineTune:
        return self.put(f"/v1/fine_tunes/{quote(name, safe='')}", fine_tune)

    def fine_tune(self, name) -> types.FineTune:
        return self.connection.json("GET", f"/v1/fine_tunes/{quote(name, safe='')}")

    def fine_tunes(self):
        return self.pages("/v1/fine_tunes")

    def fine_tune_versions(self, name):
        return self.pages(f"/v1/fine_tunes/{quote(name, safe='')}/versions")

    def fine_tune_alias(self, name, alias="production") -> types.FineTuneAlias:
        """The version that an alias stands on."""
        return self.connection.json("GET", f"/v1/fine_tunes/{quote(name, safe='')}/aliases/{quote(alias, safe='')}")

    def promote(self, name, version, alias=None) -> types.FineTuneAlias:
        """Moves an alias, `production` where none is named, to a version."""
        return self.moved(name, version, "promote", alias)

    def roll_back(self, name, version, alias=None) -> types.FineTuneAlias:
        return self.moved(name, version, "rollback", alias)

    def moved(self, name, version, how, alias):
        path = f"/v1/fine_tunes/{quote(name, safe='')}/versions/{version}/{how}"
        return self.post(path, {"alias": alias} if alias else {})

    # Retunes

    def retune(self, retune: types.NewRetune, key=None) -> types.Retune:
        """Begins a retune by hand: fine-tunes onto targets."""
        return self.post("/v1/retunes", retune, key or str(uuid.uuid4()))

    def retunes(self):
        return self.pages("/v1/retunes")

    def get_retune(self, retune) -> types.Retune:
        return self.connection.json("GET", f"/v1/retunes/{retune}")

    # Requests

    # The tenant

    def me(self) -> types.Me:
        """Who calls: the tenant, the role, when the key ends, and where the service reads and writes."""
        return self.connection.json("GET", "/v1/me")

    def events(self, after=0):
        """All events of the tenant after a place in its feed, oldest first; ends when there are no more."""
        while True:
            page = self.connection.json("GET", f"/v1/events?after={after}")
            yield from page["data"]
            if page["next"] is None:
                return
            after = page["next"]

    def post(self, path, body, key=None):
        return self.connection.json("POST", path, body, {"Idempotency-Key": key} if key else None)

    def put(self, path, body):
        return self.connection.json("PUT", path, body)

    def pages(self, path, **query):
        """What a list has, page after page."""
        while True:
            asked = urlencode({name: value for name, value in query.items() if value is not None})
            page = self.connection.json("GET", f"{path}?{asked}" if asked else path)
            yield from page["data"]
            if page["next"] is None:
                return
            query["after"] = page["next"]
