"""The DAG runs in Airflow itself: one run submits a transfer to a service of this test's and waits for its
model; another, whose job names a base that is not there, fails.

    python test_airflow.py path/to/retune        # make test-airflow
"""

import json
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

GRAPH = {
    "model_type": "graph",
    "input": {"kind": "features", "shape": [2]},
    "nodes": [{"op": "linear", "param": "a"}, {"op": "relu"}, {"op": "linear", "param": "b"}],
}


def put_model(folder, values):
    """Six weights: a.weight [2, 2] and b.weight [1, 2]."""
    tensors = {"a.weight": ([2, 2], [0, 16]), "b.weight": ([1, 2], [16, 24])}
    header = json.dumps({
        name: {"dtype": "F32", "shape": shape, "data_offsets": offsets} for name, (shape, offsets) in tensors.items()
    }).encode()
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(GRAPH))
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<6f", *values))


def main(program):
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        # The private PostgreSQL may run as another user.
        home.chmod(0o755)
        objects = home / "objects"
        objects.mkdir()
        put_model(objects / "old", [1, 0, 0, 1, 1, 1])
        put_model(objects / "tuned", [1, 0.5, 0, 1, 1, 2])
        put_model(objects / "new", [0, 1, 1, 0, 1, 1])
        spec = {
            "source": {"base": f"file://{objects}/old/", "trajectory": f"file://{objects}/tuned/"},
            "target": {"base": f"file://{objects}/new/"},
            "methods": ["weight_matching"],
            "output": f"file://{objects}/out/",
        }
        command = [program, "serve", "--listen", "127.0.0.1:0", "--workers", "1", "--data-dir", str(home / "data")]
        environment = {**os.environ, "RETUNE_STORAGE_ROOTS": f"file://{objects}/"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as service:
            try:
                os.environ["RETUNE_URL"] = service.stdout.readline().split()[-1]
                os.environ |= {
                    "AIRFLOW_HOME": str(home / "airflow"),
                    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                    "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).parent),
                }
                subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, stdout=subprocess.DEVNULL)
                import airflow_dag

                dag = airflow_dag.retune()
                done = dag.test(run_conf={"spec": spec})
                assert done.state == "success", done.state
                [result] = (objects / "out").iterdir()
                assert (result / "manifest.json").exists()
                spec["target"]["base"] = f"file://{objects}/nothing/"
                failed = dag.test(run_conf={"spec": spec})
                assert failed.state == "failed", failed.state
                print(f"airflow: {result.name} published; a broken job fails its run")
            finally:
                service.terminate()


# Airflow starts processes that import this file again.
if __name__ == "__main__":
    main(sys.argv[1])
