"""Hands a promoted version over to where it is served: a receiver of webhooks.

    RETUNE_URL=... RETUNE_API_KEY=rt_... WEBHOOK_SECRET=whsec_... python promotion_webhook.py PORT -- COMMAND ...

The endpoint subscribes to `fine_tune.version.*`. For each event that moves an alias the command runs with
RETUNE_FINE_TUNE, RETUNE_ALIAS, RETUNE_VERSION, RETUNE_URI (the folder of the model) and RETUNE_MANIFEST_SHA256 in its
environment. Events come at least once and in no promised order: the program asks the service where the alias stands,
and the command must bear to be run twice for one version. Where it fails the answer is 500, and the service tries
again. Standard library and the client only.
"""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Lock

if find_spec("retune_client") is None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python/src"))

from retune_client import Client

MOVES = ("fine_tune.version.promoted", "fine_tune.version.rolled_back")
# Older posts may be ones that somebody has kept.
TOLERANCE_SECONDS = 300
MAX_BODY_BYTES = 1 << 20


def is_genuine(secret, headers, body):
    """Whether a post was signed with the secret, lately (Standard Webhooks)."""
    said = headers.get("webhook-timestamp", "")
    if not said.isdigit() or abs(time.time() - int(said)) > TOLERANCE_SECONDS:
        return False
    signed = f"{headers.get('webhook-id', '')}.{said}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    found = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(one.encode(), expected.encode()) for one in found)


def hand_over(client, data, command):
    """Runs the command for the version that the alias stands on now."""
    version = client.fine_tune_alias(data["fine_tune"], data["alias"])
    environment = os.environ | {
        "RETUNE_FINE_TUNE": data["fine_tune"],
        "RETUNE_ALIAS": data["alias"],
        "RETUNE_VERSION": str(version["version"]),
        "RETUNE_URI": version["uri"],
        "RETUNE_MANIFEST_SHA256": version["manifest_sha256"],
    }
    return subprocess.run(command, env=environment).returncode == 0


def receiver(secret, client, command):
    one_at_a_time = Lock()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            size = int(self.headers.get("content-length") or 0)
            body = self.rfile.read(size) if size <= MAX_BODY_BYTES else b""
            self.send_response(self.answer(body))
            self.end_headers()

        def answer(self, body):
            if not is_genuine(secret, self.headers, body):
                return 401
            event = json.loads(body)
            if event["type"] not in MOVES:
                return 204
            with one_at_a_time:
                return 204 if hand_over(client, event["data"], command) else 500

    return Receiver


def main():
    divider = sys.argv.index("--")
    [port] = sys.argv[1:divider]
    handler = receiver(os.environ["WEBHOOK_SECRET"], Client(), sys.argv[divider + 1 :])
    with ThreadingHTTPServer(("", int(port)), handler) as server:
        print(f"listening on port {server.server_port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
