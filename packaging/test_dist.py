"""What `make dist` made, as who installs it meets it: in clean folders, without cargo, checkout or index.

    python packaging/test_dist.py dist ''        # make test-dist

Needs PostgreSQL's programs. The wheel is installed into a fresh venv.
"""

import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import venv
from pathlib import Path

from dist import COMPLETIONS, DIGESTS, REPOSITORY

# Runs in the fresh venv, in an empty folder that has the README's job.
USER = """
import json, sys
from pathlib import Path
from retune_client import find_program, serve

assert find_program() == sys.argv[1], find_program()
spec = json.loads(Path("job.json").read_text())
here = Path.cwd()
with serve(here / "state", roots=[f"file://{here}/"]) as client:
    done = client.transfer(spec).wait(timeout=600)
    assert (done.status, done.verdict) == ("succeeded", "published"), done.state
    print(done.report().markdown())
    done.download(here / "carried")
"""


def the(folder, pattern):
    [found] = folder.glob(pattern)
    return found


def digests(folder):
    listed = dict(reversed(line.split("  ")) for line in (folder / DIGESTS).read_text().splitlines())
    assert set(listed) == {one.name for one in folder.iterdir()} - {DIGESTS}, listed
    for name, digest in listed.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name


def archive(folder, home):
    """The program runs alone, and beside it stands what an operator needs."""
    path = the(folder, "*.tar.gz")
    with tarfile.open(path) as packed:
        packed.extractall(home, filter="data")
    place = home / path.name.removesuffix(".tar.gz")
    said = subprocess.run([place / "retune", "--version"], check=True, capture_output=True, text=True).stdout
    assert said.split()[1] in path.name, said
    for name in COMPLETIONS.values():
        assert "retune" in (place / "completions" / name).read_text(), name
    subprocess.run(["bash", "-n", place / "completions/retune.bash"], check=True)
    for unit in (REPOSITORY / "docker/systemd").iterdir():
        assert (place / "systemd" / unit.name).read_bytes() == unit.read_bytes(), unit
    assert (place / "LICENSE").read_text().startswith("MIT License")
    assert "ring 0." in (place / "THIRD-PARTY.txt").read_text()
    return said.split()[1]


def bill(folder, version, features):
    """The bill has what is linked and what builds, and nothing of tests. `dist.py` has checked it by the schema."""
    document = json.loads(the(folder, "*.cdx.json").read_text())
    root = document["metadata"]["component"]
    assert (root["name"], root["version"]) == ("retune", version), root
    scopes = {one["name"]: one["scope"] for one in document["components"]}
    expected = {"retune-engine": "required", "sqlx-postgres": "required", "ring": "required", "cc": "excluded"}
    assert expected.items() <= scopes.items(), {name: scopes.get(name) for name in expected}
    assert not {"proptest", "s3s"} & set(scopes)
    assert ("wgpu" in scopes) == ("wgpu" in features)
    without = [one["name"] for one in document["components"] if "hashes" not in one]
    assert without == ["retune-engine"], without


def readme_job(home, scripts):
    """`job.json` by the README's own words, up to where it runs the job."""
    [block] = [one for one in re.findall(r"```sh\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)]
    script = block.partition("retune plan")[0]
    assert "job.json" in script, block
    environment = clean(home) | {"PATH": f"{scripts}:/usr/bin:/bin"}
    subprocess.run(["bash", "-euc", script], cwd=home, env=environment, check=True)


def clean(home):
    """The environment of somebody who has neither a checkout nor settings of the service."""
    return {"HOME": str(home), "PATH": "/usr/bin:/bin", "TMPDIR": tempfile.gettempdir(), "RETUNE_LOG_LEVEL": "error"}


def wheel(folder, home):
    path = the(folder, "*.whl")
    assert re.search(r"-py3-none-(manylinux_\d+_\d+|macosx)_", path.name), path.name
    environment = home / "venv"
    venv.create(environment, with_pip=True)
    python = environment / "bin/python"
    install = [python, "-m", "pip", "install", "--quiet", "--no-index", path]
    subprocess.run(install, cwd=home, env=clean(home), check=True)

    readme_job(home, environment / "bin")
    program = str((environment / "bin/retune").resolve())
    subprocess.run([python, "-c", USER, program], cwd=home, env=clean(home), check=True)
    assert (home / "carried/model.safetensors").stat().st_size > 0

    command = [python, "-m", "retune_client", "--version"]
    said = subprocess.run(command, cwd=home, env=clean(home), check=True, capture_output=True, text=True).stdout
    assert said.split()[1] in path.name, said


def main(folder, features=""):
    digests(folder)
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        # The private PostgreSQL may run as another user.
        home.chmod(0o755)
        version = archive(folder, home)
        bill(folder, version, features)
        wheel(folder, home)
    print("archive, wheel and bill of materials are whole; the README's job was done by the wheel alone")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), *sys.argv[2:])
