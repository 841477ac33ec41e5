"""Windows of Chromium, and what is looked at in each."""

import os
from pathlib import Path

import axe_playwright_python

CHROMIUM = os.environ.get("RETUNE_TEST_CHROMIUM", "/usr/bin/chromium")

# Nothing is asked of the network but the service.
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()

# What only those may see who may not merely look.
FORBIDDEN_TO_READERS = {"new", "webhooks", "webhook", "keys", "audit"}


class Window:
    """A browser of its own: no cookie but what it is given at the form."""

    def __init__(self, chromium, url, key=None, scripts=True, scheme="light", width=1280):
        self.url, self.scheme, self.width = url, scheme, width
        self.context = chromium.new_context(
            java_script_enabled=scripts, color_scheme=scheme, viewport={"width": width, "height": 900})
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.complaints = []
        self.page.on("console", self.hear)
        if key:
            self.sign_in(key)

    def hear(self, message):
        # A refused page is told by its status.
        if message.type == "error" and "the server responded with a status" not in message.text:
            self.complaints.append(message.text)

    def sign_in(self, key):
        self.open("/login")
        self.page.get_by_label("Key").fill(key)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_role("heading", name="Overview").wait_for()

    def open(self, path):
        return self.page.goto(self.url + path)

    def until(self, text, path, tries=120):
        """Reloads the page as somebody without scripts does, until it says this."""
        for _ in range(tries):
            self.open(path)
            if text in self.page.locator("main").inner_text():
                return
            self.page.wait_for_timeout(500)
        raise AssertionError(f"{path} never said {text!r}: {self.page.locator('main').inner_text()}")

    def close(self):
        assert not self.complaints, self.complaints
        self.context.close()


def look(window, name, path, role, shots):
    """1 where a page has a fault, which is printed."""
    page = window.page
    answer = window.open(path)
    told = f"{name} as {role}, {window.scheme}, {window.width} px"
    expected = 403 if role == "reader" and name in FORBIDDEN_TO_READERS else 200
    faults = [] if answer.status == expected else [f"answered with {answer.status}"]
    if shots:
        shots.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=shots / f"{name}-{role}-{window.scheme}-{window.width}.png", full_page=True)
    if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
        faults.append("is wider than the window")
    if role == "reader" and expected == 200 and name != "login":
        buttons = page.locator("main form[method=post]").count()
        faults += [f"shows a reader {buttons} buttons"] if buttons else []

    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    for violation in found["violations"]:
        where = [node["target"] for node in violation["nodes"]][:3]
        faults.append(f"{violation['id']} ({violation['impact']}) at {where}")
    for fault in faults:
        print(f"{told}: {fault}")

    return int(bool(faults))
