"""scipy's linear_sum_assignment on the matrices that `cargo bench --bench assignment -- --write DIR` leaves.

    python benches/reference/assignment_scipy.py DIR [FILE.json]      # numpy, scipy
"""

import json
import pathlib
import sys
import time

import numpy as np
from scipy.optimize import linear_sum_assignment

rows = []
for file in sorted(pathlib.Path(sys.argv[1]).glob("*.f32"), key=lambda f: int(f.stem.rsplit("-", 1)[1])):
    name, n = file.stem.rsplit("-", 1)
    a = np.fromfile(file, "<f4").reshape(int(n), int(n)).astype(float)
    seconds = []
    for _ in range(1 if int(n) > 2048 else 3):
        start = time.perf_counter()
        j, i = linear_sum_assignment(a, maximize=True)
        seconds.append(time.perf_counter() - start)
    rows.append({"matrix": name, "n": int(n), "scipy_ms": round(min(seconds) * 1e3, 2), "value": a[j, i].sum()})
    print(f"{name:<12} {n:>5}  {rows[-1]['scipy_ms']:>9.1f} ms  {rows[-1]['value']:.6f}", flush=True)
if len(sys.argv) > 2:
    pathlib.Path(sys.argv[2]).write_text("[\n" + ",\n".join("  " + json.dumps(row) for row in rows) + "\n]\n")
