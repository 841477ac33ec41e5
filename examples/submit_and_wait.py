"""Submits a transfer and waits for its end: one step of an Airflow, Argo or cron pipeline.

    RETUNE_URL=http://127.0.0.1:8080 RETUNE_API_KEY=rt_... python submit_and_wait.py spec.json KEY

KEY names the run (Airflow's `{{ run_id }}`, Argo's `{{workflow.uid}}`): a step that is tried again waits for
the transfer that it has submitted before. Prints the finished transfer; exit code 0: a model was
published; 1: the transfer failed or was cancelled; 3: its gate rejected the model. Standard library only.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request

URL = os.environ.get("RETUNE_URL", "http://127.0.0.1:8080").rstrip("/")
OVER = ("succeeded", "failed", "cancelled")


def request(method, path, body=None, headers=None):
    """One request, tried again for a minute where the service is away or asks to wait."""
    headers = {"content-type": "application/json", **(headers or {})}
    if key := os.environ.get("RETUNE_API_KEY"):
        headers["authorization"] = f"Bearer {key}"
    data = None if body is None else json.dumps(body).encode()
    for wait in (1, 2, 4, 8, 16, 30, None):
        try:
            asked = urllib.request.Request(URL + path, data, headers, method=method)
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code not in (429, 500, 502, 503, 504) or wait is None:
                raise SystemExit(f"{error.code}: {error.read().decode()}") from None
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            if wait is None:
                raise
        time.sleep(wait)


def submit(spec, key):
    return request("POST", "/v1/transfers", spec, {"idempotency-key": key})["id"]


def wait(transfer):
    """Long-polls until the transfer is over."""
    while True:
        found = request("GET", f"/v1/transfers/{transfer}?wait=30")
        if found["status"] in OVER:
            return found


def main():
    with open(sys.argv[1]) as file:
        found = wait(submit(json.load(file), sys.argv[2]))
    print(json.dumps(found, indent=1))
    if found["status"] != "succeeded":
        return 1
    return 0 if found["verdict"] == "published" else 3


if __name__ == "__main__":
    sys.exit(main())
