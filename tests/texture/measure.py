"""What can be counted of how the sources read: sizes, bodies, closures, arguments, ties between files.

    python tests/texture/measure.py [ROOT]        # a table in Markdown; ROOT is a checkout, this one by default

Tests are left out: files of tests, and modules marked `#[cfg(test)]`. Comments, strings and characters are masked before
anything is counted, so a brace within them is none. Figures are good to a few per cent: this reads text, it parses no Rust.
"""

import re
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path

# From the ground up: a folder may import those before it. `contract` is everybody's.
LAYERS = ["contract", "engine", "storage", "artifacts", "pipeline", "service", "cli"]

MASKED = re.compile(
    r"//[^\n]*|/\*.*?\*/"  # comments
    r'|b?r(?P<hashes>#*)".*?"(?P=hashes)|b?"(?:\\.|[^"\\])*"'  # strings
    r"|b?'(?:\\(?:u\{[^}]*\}|x..|.)|[^'\\\n])'",  # characters, not lifetimes
    re.DOTALL,
)
FUNCTION = re.compile(r"\bfn\s+\w+\s*(?:<(?:[^<>]|<[^<>]*>|->)*>)?\s*\(")
RECEIVER = re.compile(r"\s*(?:&\s*(?:'\w+\s*)?)?(?:mut\s+)?self\b")
CLOSURE = re.compile(r"\blet\s+(?:mut\s+)?\w+\s*=\s*(?:async\s+)?(?:move\s+)?\|")
TEST_MODULE = re.compile(r"#\[cfg\(test\)\]\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*([;{])")


def masked(text: str) -> str:
    """The text with comments, strings and characters blanked: as long, with the same lines."""
    return MASKED.sub(lambda found: re.sub(r"[^\n]", " ", found.group(0)), text)


def end_of(code: str, opened: int) -> int:
    """The position behind the bracket that closes the one at `opened`."""
    closing, depth = {"(": ")", "{": "}", "[": "]"}[code[opened]], 0
    for at in range(opened, len(code)):
        if code[at] == code[opened]:
            depth += 1
        elif code[at] == closing:
            depth -= 1
            if depth == 0:
                return at + 1
    return len(code)


@dataclass
class File:
    """A file of `src` without its tests."""

    module: tuple
    text: str
    code: str
    functions: list = field(default_factory=list)


@dataclass
class Function:
    lines: int
    arguments: int
    has_tuple: bool
    body: int
    blank: int


def split(text: str) -> list:
    """Parts between commas that no bracket holds."""
    parts, depth, start = [], 0, 0
    for at, letter in enumerate(text):
        if letter in "([{<":
            depth += 1
        elif letter in ")]}" or (letter == ">" and text[at - 1] != "-"):
            depth -= 1
        elif letter == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    return [part for part in [*parts, text[start:]] if part.strip()]


def functions(text: str, code: str) -> list:
    found = []
    for match in FUNCTION.finditer(code):
        closed = end_of(code, match.end() - 1)
        body = re.compile(r"[;{]").search(code, closed)
        if body is None or body.group() == ";":
            continue
        end = end_of(code, body.start())
        inside = text[body.start() : end].split("\n")[1:-1]
        arguments = split(code[match.end() : closed - 1])
        has_tuple = any(re.search(r":\s*&?\s*(?:mut\s+)?\([^()]*,", argument) for argument in arguments)
        others = [argument for argument in arguments if not RECEIVER.match(argument)]
        found.append(
            Function(
                lines=code.count("\n", match.start(), end) + 1,
                arguments=len(others),
                has_tuple=has_tuple,
                body=len(inside),
                blank=sum(not line.strip() for line in inside),
            )
        )
    return found


def without_tests(text: str, code: str) -> tuple:
    """The text and the code without modules of tests, and the names of those that are files."""
    files = []
    while found := TEST_MODULE.search(code):
        if found.group(2) == ";":
            files.append(found.group(1))
            end = found.end()
        else:
            end = end_of(code, found.end() - 1)
        text, code = text[: found.start()] + text[end:], code[: found.start()] + code[end:]
    return text, code, files


def read(source: Path) -> list:
    files, tests = [], set()
    for path in sorted(source.rglob("*.rs")):
        module = path.relative_to(source).with_suffix("").parts
        text = path.read_text()
        text, code, named = without_tests(text, masked(text))
        # A package's own file stands beside its modules.
        module = module[:-1] if module[-1] in ("lib", "main") else module
        tests.update((*module, name) for name in named)
        if path.name != "main.rs":
            files.append(File(module, text, code, functions(text, code)))
    return [file for file in files if not any(file.module[: len(test)] == test for test in tests)]


def paths_of(tree: str, before: tuple = ()) -> list:
    """The paths of a `use` tree."""
    tree = tree.strip()
    head, brace, rest = tree.partition("{")
    start = (*before, *[part.strip() for part in head.split("::") if part.strip()])
    if not brace:
        return [tuple(part.split(" as ")[0] for part in start)]
    return [path for part in split(rest[: rest.rindex("}")]) for path in paths_of(part, start)]


def ties(files: list) -> dict:
    """The modules that each module imports, parents and children left out."""
    modules = {file.module for file in files}
    # What a module gives on counts for where it comes from.
    exports = {}
    for file in files:
        for use in re.findall(r"\bpub(?:\([^)]*\))?\s+use\s+([^;]+);", file.code):
            for path in paths_of(use):
                if target := absolute(path, file.module, modules):
                    exports[(*file.module, path[-1])] = target

    found = {module: set() for module in modules}
    for file in files:
        uses = re.findall(r"\buse\s+([^;]+);", file.code)
        inline = re.findall(r"\b(?:crate|super|self)(?:::\w+)+", re.sub(r"\buse\s+[^;]+;", "", file.code))
        for path in [path for use in [*uses, *inline] for path in paths_of(use)]:
            target = home(absolute(path, file.module, modules), modules, exports)
            if target and not is_related(target, file.module):
                found[file.module].add(target)
    return found


def is_related(one: tuple, other: tuple) -> bool:
    """Whether one module is the other, or stands below it."""
    both = min(len(one), len(other))
    return one[:both] == other[:both]


def absolute(path: tuple, module: tuple, modules: set):
    """A path that `module` names, from the root of `src`; none for what is another package's."""
    root = ("engine",) if module[:1] == ("engine",) else ()
    if path[0] == "crate":
        return (*root, *path[1:])
    if path[0] == "retune_engine":
        return ("engine", *path[1:])
    if path[0] in ("super", "self"):
        here = module
        while path and path[0] in ("super", "self"):
            here = here[:-1] if path[0] == "super" else here
            path = path[1:]
        return (*here, *path)
    return (*module, *path) if (*module, path[0]) in modules else None


def home(path, modules: set, exports: dict):
    """The module that a path leads to, through what others give on: the longest that is a file."""
    for _ in range(8):
        starts = (path[:end] for end in range(len(path or ()), 0, -1))
        given = next((start for start in starts if start in exports and start not in modules), None)
        if given is None:
            break
        path = (*exports[given], *path[len(given) :])
    while path and path not in modules:
        path = path[:-1]
    return path or None


def circles(ties: dict) -> list:
    """The sizes of sets of modules that import each other, by Tarjan's algorithm."""
    order, low, stack, sizes = {}, {}, [], []

    def visit(module):
        order[module] = low[module] = len(order)
        stack.append(module)
        for other in ties[module]:
            if other not in order:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], order[other])
        if low[module] == order[module]:
            size = len(stack) - stack.index(module)
            del stack[-size:]
            sizes.extend([size] if size > 1 else [])

    for module in ties:
        if module not in order:
            visit(module)
    return sorted(sizes, reverse=True)


def against_layers(ties: dict) -> set:
    """The pairs of top folders of which the lower one imports the higher one."""
    rank = LAYERS.index
    pairs = {(m[0], t[0]) for m, targets in ties.items() for t in targets if m and m[0] in LAYERS and t[0] in LAYERS}
    return {(low, high) for low, high in pairs if rank(low) < rank(high)}


def spread(values: list) -> str:
    """Median, ninth decile and largest."""
    ordered = sorted(values)
    return f"{statistics.median_high(ordered)} / {ordered[int(0.9 * (len(ordered) - 1))]} / {ordered[-1]}"


def share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def measured(root: Path) -> dict:
    files = read(root / "src")
    if not files:
        sys.exit(f"no Rust files under {root / 'src'}; ROOT is a checkout")
    lines = [line for file in files for line in file.text.splitlines()]
    all_functions = [function for file in files for function in file.functions]
    closures = sum(len(CLOSURE.findall(file.code)) for file in files)
    tuples = sum(function.has_tuple for function in all_functions)
    long = sum(function.lines > 60 for function in all_functions)
    imports = ties(files)
    sizes = circles(imports)
    widths = [len(line) for line in lines if line.strip()]
    return {
        "files": len(files),
        "lines": len(lines),
        "lines of a file, median / p90 / largest": spread([len(file.text.splitlines()) for file in files]),
        "files over 400 lines": sum(len(file.text.splitlines()) > 400 for file in files),
        "functions": len(all_functions),
        "lines of a function, median / p90 / largest": spread([function.lines for function in all_functions]),
        "functions over 60 lines": f"{long} ({share(long, len(all_functions))})",
        "arguments beside `self`, most": max(function.arguments for function in all_functions),
        "functions with a tuple for an argument": f"{tuples} ({share(tuples, len(all_functions))})",
        "blank lines in bodies": share(
            sum(function.blank for function in all_functions), sum(function.body for function in all_functions)
        ),
        "named closures": f"{closures} ({1000 * closures / len(lines):.1f} per 1000 lines)",
        "lines over 90 columns": share(sum(width > 90 for width in widths), len(widths)),
        "circles of files": f"{len(sizes)}{' of ' + ', '.join(map(str, sizes)) if sizes else ''}",
        "arrows of top folders against the layers": len(against_layers(imports)),
        "words of README.md": len((root / "README.md").read_text().split()),
    }


if __name__ == "__main__":
    sys.setrecursionlimit(10_000)
    chosen = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2]
    table = measured(chosen)
    print("| measure | |\n|---|---:|")
    for name, value in table.items():
        print(f"| {name} | {value} |")
