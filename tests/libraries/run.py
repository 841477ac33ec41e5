"""Compares the program with the libraries whose models it reads: transformers, timm and peft.

    python run.py PROGRAM [--only FAMILY] [--all] [--folder FOLDER]        # make test-libraries

Small random models are made by the library itself, saved as it saves them, and judged twice: by the
library in f64 and by the program. Each comparison must come out equal, or be refused by the name of the key
that the program does not know. Prints a table of what differs (`--all`: of everything) and a line
`N passed, N failed`; exits with 1 where anything failed. `--folder` keeps models and data, and shows the command
of each that failed.
"""

import argparse
import logging
import os
import sys
import tempfile
import time
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "critical", "TOKENIZERS_PARALLELISM": "false"}
sys.path.insert(0, str(Path(__file__).parent))

import torch
import transformers

import adapters
import adapters_written
import families
import heads
import images
import table
import text
import transfers
from program import Program

# The program runs beside the library, which computes the next expectation.
AT_ONCE = 2


def sources(program, folder):
    """Checks by family; each is made when it is asked for."""
    for family in families.TEXT:
        yield family.name, lambda family=family: of_text(family, program, folder)
    for family in families.IMAGE:
        yield family.name, lambda family=family: of_images(family, program, folder)
    for family in families.PICTURES:
        place = folder / family.name
        yield family.name, lambda family=family, place=place: images.HuggingFace(family, program, place).all()
    for family in images.TIMM:
        place = folder / f"timm-{family[0].strip('_*')}"
        yield family[0], lambda family=family, place=place: images.ByName(family, program, place).all()


def of_text(family, program, folder):
    """Evaluations, transfers and adapters of a family of token ids."""
    yield from text.Cases(family, program, folder / family.name).all()
    yield from transfers.of_text(family, program, folder / f"{family.name}-transfers")
    if family.classifier:
        yield from heads.Cases(family, program, folder / f"{family.name}-heads").all()
    yield from adapters.Cases(family, program, folder / f"{family.name}-adapters").all()


def of_images(family, program, folder):
    yield from images.HuggingFace(family, program, folder / family.name).all()
    yield from transfers.of_images(family, program, folder / f"{family.name}-transfers")
    yield from adapters.Cases(family, program, folder / f"{family.name}-adapters").all()


def rows(checks, pool):
    """Rows of a family's checks, in order, with the program at work while checks are made."""
    asked = [(check, pool.submit(check.ask)) for check in checks]
    # Judged here, for the libraries do not load models in several threads.
    return [check.row(answer.result()) for check, answer in asked]


def run(program, folder, only):
    """Rows of every family, and the names of those whose checks could not be made."""
    found, broken = [], []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for name, checks in sources(Program(program, folder), folder):
            if only and name not in only:
                continue
            start = time.monotonic()
            try:
                of_family = rows(checks(), pool)
            except Exception:  # The other families are compared all the same.
                traceback.print_exc()
                broken.append(name)
                continue
            failed = sum(not row.passed for row in of_family)
            print(
                f"{name}: {len(of_family)} checks, {failed} failed, {time.monotonic() - start:.0f} s", file=sys.stderr
            )
            found += of_family
    return found, broken


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--only", action="append", metavar="FAMILY")
    parser.add_argument("--all", action="store_true", help="show what passed, too")
    parser.add_argument("--folder", type=Path, help="keep models and data here")
    arguments = parser.parse_args()
    program = str(Path(arguments.program).resolve())
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found, broken = run(program, folder, arguments.only)
    passed = table.show(found, only_failures=not arguments.all, commands=arguments.folder is not None)
    for name in broken:
        print(f"{name}: its checks could not be made")
    wrong = adapters_written.main(program, arguments.only)
    return 0 if passed and found and not broken and not wrong else 1


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    sys.exit(main())
