"""The licences of everything that the program is built from, as their terms ask of whoever hands it on."""

from collections import defaultdict
from pathlib import Path

from sbom import packages

NAMES = ("LICEN", "COPYING", "NOTICE", "UNLICENSE", "COPYRIGHT")
HEAD = "retune is built from the packages below. Each text stands once, under the packages that it came with.\n"


def notices(target, features):
    """One text for all packages. A package without any file of a licence is named with its expression."""
    used = packages(target, features)
    holders, bare = defaultdict(list), []
    for package in (used.described[one] for one in sorted(used.described)):
        title = f"{package['name']} {package['version']} ({package['license'] or 'no expression'})"
        texts = texts_of(Path(package["manifest_path"]).parent) if package["source"] else []
        for text in texts:
            holders[text].append(title)
        if package["source"] and not texts:
            bare.append(title)

    parts = [HEAD]
    parts += ["\n".join([*titles, "", text, "", "-" * 80]) for text, titles in holders.items()]
    parts.append("\n".join(["Without a text of their own:", "", *bare]))
    return "\n\n".join(parts) + "\n"


def texts_of(folder):
    files = sorted(one for one in folder.iterdir() if one.is_file() and one.name.upper().startswith(NAMES))
    return [one.read_text(errors="replace").strip() for one in files]
