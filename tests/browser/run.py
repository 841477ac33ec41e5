"""The dashboard in Chromium: what a person does with it, as administrator and as reader, with scripts and without.

    python run.py path/to/retune [--shots FOLDER]        # make test-browser

Every page is then looked at in light and dark, wide and narrow: axe finds nothing, nothing is wider than the window,
and a picture of it is kept where --shots says.
"""

import argparse
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

import journeys
from browser import ARGUMENTS, CHROMIUM, Window, look
from world import World

# A reader's pages are an administrator's with less on them.
LOOKS = [("admin", scheme, width) for scheme in ("light", "dark") for width in (1280, 390)]
LOOKS += [("reader", "light", 1280), ("reader", "dark", 390)]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("program")
    arguments.add_argument("--shots", type=Path)
    arguments = arguments.parse_args()

    with World(arguments.program) as world, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        pages = journeys.as_administrator(chromium, world)
        journeys.as_reader(chromium, world, pages)
        looked = faults = 0
        for role, scheme, width in LOOKS:
            window = Window(chromium, world.url, world.keys[role], scheme=scheme, width=width)
            for name, path in pages.items():
                looked += 1
                faults += look(window, name, path, role, arguments.shots)
            window.close()
        chromium.close()

    print(f"{looked} looks at {len(pages)} pages, {faults} with a fault")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
