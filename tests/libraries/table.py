"""The table of all comparisons."""

TITLES = ("family", "case", "what", "theirs", "ours", "verdict")
WIDTHS = (12, 52, 9, 36, 70, 20)


def line(cells):
    return "  ".join(cut(str(cell), width).ljust(width) for cell, width in zip(cells, WIDTHS)).rstrip()


def cut(text, width):
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"


def show(rows, only_failures, commands):
    """Prints the table and the summary, with the commands of what failed; whether everything passed."""
    print(line(TITLES))
    for row in rows:
        if not (only_failures and row.passed):
            print(line((row.family, row.case, row.what, row.theirs, row.ours, row.verdict)))
        if commands and not row.passed:
            print(f"    {row.ours}\n    {row.command}")
    failed = sum(not row.passed for row in rows)
    print(f"{len(rows) - failed} passed, {failed} failed")
    return failed == 0
