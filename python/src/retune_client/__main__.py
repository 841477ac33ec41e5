"""`python -m retune_client …` is `retune …`: the program of this installation."""

import os
import sys

from .local import find_program

if __name__ == "__main__":
    try:
        program = find_program()
    except FileNotFoundError as missing:
        sys.exit(str(missing))
    os.execv(program, [program, *sys.argv[1:]])
