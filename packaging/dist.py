"""Makes what is installed from a built program: an archive, a wheel, a bill of materials, and their digests.

    python packaging/dist.py path/to/retune --features '' dist        # make dist

Needs hatchling, cyclonedx-python-lib[json-validation], cargo and readelf.
"""

import argparse
import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from notices import notices
from sbom import REPOSITORY, bill

DIGESTS = "SHA256SUMS"
COMPLETIONS = {"bash": "retune.bash", "zsh": "_retune", "fish": "retune.fish"}
COPIED = ["LICENSE", "README.md", "CHANGELOG.md", "config/default.toml"]


def said(*command):
    return subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout.strip()


def version_of(program):
    return said(program, "--version").split()[1]


def host():
    return re.search(r"^host: (.+)$", said("rustc", "-vV"), re.MULTILINE)[1]


def epoch():
    """The time of everything that is made: of the last commit, unless SOURCE_DATE_EPOCH says another."""
    return int(os.environ.get("SOURCE_DATE_EPOCH") or said("git", "log", "-1", "--format=%ct"))


def contents(program, third_party):
    """The files of the archive by name: bytes and mode."""
    files = {"retune": (program.read_bytes(), 0o755), "THIRD-PARTY.txt": (third_party.encode(), 0o644)}
    for shell, name in COMPLETIONS.items():
        files[f"completions/{name}"] = (f"{said(program, 'completions', shell)}\n".encode(), 0o644)
    for name in COPIED:
        files[name] = ((REPOSITORY / name).read_bytes(), 0o644)
    for unit in (REPOSITORY / "docker/systemd").iterdir():
        files[f"systemd/{unit.name}"] = (unit.read_bytes(), 0o644)
    for page in said("git", "ls-files", "docs").splitlines():
        files[page] = ((REPOSITORY / page).read_bytes(), 0o644)
    return files


def write_archive(path, files, time):
    """The same files give the same bytes."""
    folder = path.name.removesuffix(".tar.gz")
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=time) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name, (content, mode) in sorted(files.items()):
                entry = tarfile.TarInfo(f"{folder}/{name}")
                entry.size, entry.mode, entry.mtime = len(content), mode, time
                archive.addfile(entry, io.BytesIO(content))


def write_wheel(folder, program, third_party, time):
    """The client's package with the program in it."""
    package = REPOSITORY / "python"
    extra = [package / "LICENSE", package / "THIRD-PARTY.txt"]
    environment = os.environ | {"RETUNE_PROGRAM": str(program), "SOURCE_DATE_EPOCH": str(time)}
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    try:
        extra[0].write_bytes((REPOSITORY / "LICENSE").read_bytes())
        extra[1].write_text(third_party)
        subprocess.run(command, cwd=package, env=environment, check=True, stdout=sys.stderr)
    finally:
        for file in extra:
            file.unlink(missing_ok=True)


def make_anew(folder):
    """Empties a folder that an earlier run has filled; no other."""
    if folder.exists() and any(folder.iterdir()) and not (folder / DIGESTS).exists():
        sys.exit(f"{folder} has other files: it is no folder of this program's")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def write_digests(folder):
    lines = [f"{hashlib.sha256(one.read_bytes()).hexdigest()}  {one.name}\n" for one in sorted(folder.iterdir())]
    (folder / DIGESTS).write_text("".join(lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=Path)
    parser.add_argument("folder", type=Path, help="its files are replaced")
    parser.add_argument("--features", default="", help="that the program was built with, comma-separated")
    arguments = parser.parse_args()
    program, folder = arguments.program.resolve(strict=True), arguments.folder.resolve()
    version, target, time = version_of(program), host(), epoch()
    make_anew(folder)

    name = f"retune-{version}-{target}"
    third_party = notices(target, arguments.features)
    write_archive(folder / f"{name}.tar.gz", contents(program, third_party), time)
    write_wheel(folder, program, third_party, time)
    (folder / f"{name}.cdx.json").write_text(bill(target, arguments.features, time) + "\n")
    write_digests(folder)
    for one in sorted(folder.iterdir()):
        print(f"{one.stat().st_size:>12}  {one.name}")


if __name__ == "__main__":
    main()
