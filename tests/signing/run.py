"""Signatures of results against the package of OpenSSF's model-signing: each accepts the other's, and refuses a change.

    python tests/signing/run.py path/to/retune        # make test-signing

Needs model-signing with pyopenssl, and openssl.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python/tests"))

from service import case

# Files of every signed result.
SIGNED = {"README.md", "config.json", "model.safetensors", "report.json"}


def run(*command, **environment):
    said = subprocess.run([str(one) for one in command], env=os.environ | environment, capture_output=True, text=True)
    return said.returncode, said.stdout + said.stderr


def key_pair(home):
    """A private key and its public half, by openssl."""
    private, public = home / "key.pem", home / "public.pem"
    made = run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", private)
    assert made[0] == 0, made
    assert run("openssl", "pkey", "-in", private, "-pubout", "-out", public)[0] == 0
    return private, public


class Checks:
    """Both programs' words on a folder."""

    def __init__(self, program, public):
        self.program, self.public = program, public

    def ours(self, folder):
        return run(self.program, "verify", folder, "--key", self.public)

    def theirs(self, folder):
        arguments = ["verify", "key", "--signature", folder / "model.sig", "--public_key", self.public, folder]
        return run(sys.executable, "-m", "model_signing", *arguments)

    def accept(self, folder):
        for code, said in (self.ours(folder), self.theirs(folder)):
            assert code == 0, said

    def refuse(self, folder, name, who=("ours", "theirs")):
        for check in who:
            code, said = getattr(self, check)(folder)
            assert code == 1 and name in said, (check, code, said)


def refusals(checks, folder):
    """Every way to change a folder is refused by the name of the file."""
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    checks.refuse(folder, "model.safetensors")
    weights.unlink()
    checks.refuse(folder, "model.safetensors")
    weights.write_bytes(content)
    (folder / "modeling_custom.py").write_text("import os")
    checks.refuse(folder, "modeling_custom.py")
    (folder / "modeling_custom.py").unlink()
    checks.accept(folder)


def by_us(program, home, spec, keys):
    private, public = keys
    (home / "spec.json").write_text(json.dumps(spec | {"gate": {"min": 0.9}}))
    signing = {"RETUNE_SIGNING_KEY_FILE": str(private), "RETUNE_LOG_LEVEL": "error"}
    code, said = run(program, "transfer", home / "spec.json", "--json", **signing)
    assert code == 0, said
    folder = Path(json.loads(said)["uri"].removeprefix("file://"))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert SIGNED | {"model.sig"} <= {file["name"] for file in manifest["outputs"]}, manifest["outputs"]

    checks = Checks(program, public)
    checks.accept(folder)
    refusals(checks, folder)
    # The manifest lists the signature, so that only our own program can check it.
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace("weight_matching", "identity"))
    checks.refuse(folder, "manifest.json", who=("ours",))
    (folder / "manifest.json").write_text(text)
    return folder


def by_them(program, folder, keys):
    private, public = keys
    (folder / "model.sig").unlink()
    signed = run(sys.executable, "-m", "model_signing", "sign", "key", "--private_key", private,
                 "--signature", folder / "model.sig", folder)
    assert signed[0] == 0, signed
    checks = Checks(program, public)
    checks.accept(folder)
    refusals(checks, folder)


def refused_keys(program, home, spec):
    """A key that is none ends a job before it begins, and says where it was looked for."""
    (home / "none.pem").write_text("no key")
    (home / "spec.json").write_text(json.dumps(spec))
    for name in ("none.pem", "missing.pem"):
        code, said = run(program, "transfer", home / "spec.json", RETUNE_SIGNING_KEY_FILE=str(home / name))
        assert code == 2 and name in said and "signing.key_file" in said, said


def main(program):
    with case() as (home, spec):
        keys = key_pair(home)
        refused_keys(program, home, spec)
        folder = by_us(program, home, spec, keys)
        by_them(program, folder, keys)
    print("retune and model-signing accept each other's signatures, and refuse each change by name")


if __name__ == "__main__":
    main(sys.argv[1])
