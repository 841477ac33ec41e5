"""A service of a test's own: a free port, a private database, files as storage."""

import json
import os
import struct
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

GRAPH = {
    "model_type": "graph",
    "input": {"kind": "features", "shape": [2]},
    "nodes": [{"op": "linear", "param": "a"}, {"op": "relu"}, {"op": "linear", "param": "b"}],
}

# Of a case's job: what its gate rejects.
REJECTED = {"methods": ["identity"], "options": {"alpha": 1.0}, "gate": {"min": 1.0}}


def put_safetensors(path, tensors):
    """Tensors `{name: (dtype, shape, values)}`."""
    header, body = {}, b""
    for name, (dtype, shape, values) in tensors.items():
        data = struct.pack(f"<{len(values)}{'f' if dtype == 'F32' else 'q'}", *values)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def put_model(folder, values):
    """Eight weights: a.weight [2, 2] and b.weight [2, 2]."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(GRAPH))
    tensors = {"a.weight": ("F32", [2, 2], values[:4]), "b.weight": ("F32", [2, 2], values[4:])}
    put_safetensors(folder / "model.safetensors", tensors)


@contextmanager
def case():
    """The folder of old base, tuning, new base and data, and the job that carries the tuning.

    The bases are one network with its units exchanged, and half as sure of the second class. The tuning is what
    makes both right: carried by its units it is, carried by names it is not."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        # The private PostgreSQL may run as another user.
        home.chmod(0o755)
        objects = home / "objects"
        objects.mkdir()
        put_model(objects / "old", [1, 0, 0, 1, 1, 0, 0, 0.5])
        put_model(objects / "tuned", [1, 0, 0, 1, 1, 0, 0, 1])
        put_model(objects / "new", [0, 1, 1, 0, 0, 1, 0.25, 0])
        points = [point for i in range(32) for point in ((1 + i % 7, 0.7), (0.7 * (1 + i % 7), 1 + i % 7))]
        inputs, labels = [float(x) for point in points for x in point], [0, 1] * 32
        data = {"inputs": ("F32", [64, 2], inputs), "labels": ("I64", [64], labels)}
        put_safetensors(objects / "data.safetensors", data)
        spec = {
            "source": {"base": f"file://{objects}/old/", "trajectory": f"file://{objects}/tuned/"},
            "target": {"base": f"file://{objects}/new/"},
            "data": {"train": f"file://{objects}/data.safetensors"},
            "methods": ["weight_matching"],
            "output": f"file://{objects}/out/",
        }
        yield home, spec


@contextmanager
def served(program, home):
    """The address of a service over a case's folder."""
    command = [program, "serve", "--listen", "127.0.0.1:0", "--workers", "1", "--data-dir", str(home / "data")]
    environment = os.environ | {
        "RETUNE_STORAGE_ROOTS": f"file://{home}/objects/",
        # The receiver of a test listens on this machine.
        "RETUNE_WEBHOOKS_ALLOW_PRIVATE": "true",
        "RETUNE_LOG_LEVEL": "error",
    }
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as service:
        try:
            yield service.stdout.readline().split()[-1]
        finally:
            service.terminate()
