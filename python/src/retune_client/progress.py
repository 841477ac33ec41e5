"""A line that says how far a transfer is, on a terminal and in a notebook."""

import sys

CELLS = 24


def line_of(state):
    """`transferring [######      ] 5/20 steps until 12:03:10 UTC`"""
    words = [state["phase"] or state["status"]]
    if progress := state["progress"]:
        done, total = progress["done"], progress["total"]
        filled = CELLS * done // total if total else 0
        words.append(f"[{'#' * filled}{' ' * (CELLS - filled)}] {done}/{total} {progress['unit']}")
        if finish := progress.get("estimated_finish"):
            words.append(f"until {finish[11:19]} UTC")
    return " ".join(words)


def show_progress(transfer):
    """For `Transfer.wait(progress=show_progress)`: one line on stderr, written over until the transfer ends."""
    end = "\n" if transfer.is_over else ""
    print(f"\r{line_of(transfer.state):<100}", end=end, file=sys.stderr, flush=True)
