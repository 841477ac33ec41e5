"""Requests to the service: authentication, repetitions, errors. Standard library only."""

import json
import time
import urllib.error
import urllib.request

# Seconds before each repetition where the service is away or asks to wait: about a minute in all.
BACKOFF_SECONDS = (1, 2, 4, 8, 16, 30)
REQUEST_SECONDS = 60
TO_BE_REPEATED = (429, 502, 503, 504)


class RetuneError(Exception):
    """A refusal of the service (RFC 9457), with its stable `code` and the `errors` by JSON pointer."""

    def __init__(self, status, problem):
        self.status = status
        self.code = problem.get("code", "unknown")
        self.detail = problem.get("detail", "")
        self.errors = problem.get("errors", [])
        faults = "".join(f"\n  {fault['pointer']}: {fault['detail']}" for fault in self.errors)
        super().__init__(f"{status} {self.code}: {self.detail}{faults}")


class Connection:
    def __init__(self, url, api_key=None, backoff=BACKOFF_SECONDS):
        self.url, self.api_key, self.backoff = url.rstrip("/"), api_key, backoff

    def json(self, method, path, body=None, headers=None):
        """The answer's body, None where it has none."""
        with self.open(method, path, body, headers) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def open(self, method, path, body=None, headers=None):
        """The answer, to be read and closed. A request is repeated only where that cannot do a thing twice: all of
        the API's are so, those of `POST /v1/transfers` and `/v1/retunes` by their idempotency key."""
        headers = {"Accept": "application/json", **(headers or {})}
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        for wait in (*self.backoff, None):
            try:
                return urllib.request.urlopen(request, timeout=REQUEST_SECONDS)
            except urllib.error.HTTPError as error:
                if error.code not in TO_BE_REPEATED or wait is None:
                    raise refusal(error) from None
                wait = max(wait, seconds_asked(error))
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                if wait is None:
                    raise
            time.sleep(wait)


def refusal(error):
    with error:
        text = error.read()
    try:
        problem = json.loads(text)
    except ValueError:  # of a proxy before the service
        problem = {"detail": text.decode(errors="replace")[:500]}
    return RetuneError(error.code, problem if isinstance(problem, dict) else {})


def seconds_asked(error):
    """`Retry-After`, at most a minute."""
    asked = error.headers.get("Retry-After", "")
    return min(int(asked), 60) if asked.isdigit() else 0
